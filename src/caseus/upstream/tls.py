"""By which certificates an upstream is known, and by which we are known to it."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from urllib3.exceptions import SSLError

from caseus.errors import Invalid
from caseus.upstream.deadline import TimedTlsSocket

_SEQUENCE, _VERSION = 0x30, 0xA0


class Tls(NamedTuple):
    """`ca`: a PEM bundle, instead of the system's, for all hosts that the upstream leads to.

    For the upstream's own origin only: a client certificate (PEM; the key may be in the same file), and `pins`, sha256
    of the keys (SubjectPublicKeyInfo, RFC 7469 section 2.4) of which the server must have one.
    """

    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    pins: frozenset[bytes] = frozenset()


PLAIN = Tls()
"""The system's certificates, and nothing of our own."""


class WrongKey(SSLError):
    """The certificate is trusted, but its key is none of the pinned ones."""


def parse_pin(text: str) -> bytes:
    """sha256 as 64 hex digits or base64, with or without `sha256//` (as curl writes it) before it; else ValueError."""
    told = text.strip().removeprefix("sha256//").removeprefix("sha256/")
    if re.fullmatch(r"[0-9A-Fa-f]{64}", told):
        return bytes.fromhex(told)
    try:
        digest = base64.b64decode(told, validate=True)
    except ValueError:  # binascii.Error is one
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError(f"{text!r} is no sha256 of a key: write 64 hex digits, or base64 such as sha256//…=")
    return digest


def make_context(tls: Tls, *, own: bool) -> ssl.SSLContext:
    """For connections to the upstream's own origin, or to others. Invalid where a file can't be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except OSError as error:
        raise Invalid(f"ca: {tls.ca} can't be used: {_reason(error)}: give a PEM file of certificates") from None
    if own and tls.client_cert is not None:
        try:
            context.load_cert_chain(tls.client_cert, tls.client_key, password=_none)
        except OSError as error:
            raise Invalid(
                f"client_cert: {tls.client_cert} can't be used: {_reason(error)}: give PEM files of a certificate and "
                "of its key without a password"
            ) from None
    context.sslsocket_class = TimedTlsSocket
    return context


def _none() -> str:
    """The password of a key: without this OpenSSL asks for one on the terminal."""
    return ""


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or "it can't be read"


def check_pin(sock: ssl.SSLSocket, pins: frozenset[bytes]) -> None:
    """WrongKey unless there are no pins, or the server's certificate has one of the keys."""
    if not pins:
        return
    certificate = sock.getpeercert(binary_form=True)
    digest = hashlib.sha256(public_key(certificate)).digest() if certificate else b""
    if digest not in pins:
        raise WrongKey(f"its key is sha256//{base64.b64encode(digest).decode()}")


def public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a DER certificate, as it is in it (RFC 5280 section 4.1). ValueError."""
    _, whole, _ = next(_elements(certificate))
    _, signed, _ = next(_elements(whole))
    fields = list(_elements(signed))
    first = 1 if fields[0][0] == _VERSION else 0
    # serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
    tag, _, element = fields[first + 5]
    if tag != _SEQUENCE:
        raise ValueError("no certificate")
    return element


def _elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, content and whole of the DER elements that lie one after another (X.690 section 8.1)."""
    at = 0
    while at < len(data):
        tag, length, begin = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[begin : begin + size], "big")
            begin += size
        if begin + length > len(data):
            raise ValueError("cut off")
        yield tag, data[begin : begin + length], data[at : begin + length]
        at = begin + length
