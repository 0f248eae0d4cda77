"""TLS: certificates that can be replaced while connections are open.

`load_cert_chain` on a living context has two faults. It keeps one certificate for each kind of key, so that after a
change from ECC to RSA clients still get the old one; and a certificate that its key does not fit replaces the old one
before it is refused. So each certificate gets a context of its own, and the outer context, which the loop has, hands
each new connection to the newest.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from caseus.errors import Invalid

ALPN = "http/1.1"
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secret and authenticated (RFC 9325 section 4.2). Those of 1.3 all are."""


class Certificate(msgspec.Struct, frozen=True):
    """PEM: the certificate with those above it, and its key. They fit each other."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Certificate(***)"


def read_certificate(cert: Path, key: Path | None) -> Certificate:
    """Read now, so that what is checked is what is used. `key`: None where it is in `cert`. Invalid with the reason."""
    certificate = Certificate(_read(cert, "certificate"), _read(key or cert, "key"))
    try:
        _context(certificate)
    except ssl.SSLError as error:
        raise Invalid(f"{_where(cert, key)} can't be used: {_reason(error)}") from None
    except _HasPassword:
        raise Invalid(f"the key {key or cert} has a password: take it off by `openssl pkey`") from None
    return certificate


class _HasPassword(Exception):
    """The key is encrypted."""


class Tls:
    """What a server needs to speak TLS. `context` is for the loop; `replace` is seen by connections made after it."""

    def __init__(self, certificate: Certificate) -> None:
        self._current = self.context = _context(certificate)
        self.context.sni_callback = self._choose  # called for each hello, whether or not it names a server

    def replace(self, certificate: Certificate) -> None:
        self._current = _context(certificate)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current


def _context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols([ALPN])
    with _in_memory(certificate.chain) as chain, _in_memory(certificate.key) as key:
        context.load_cert_chain(chain, key, password=_refuse)
    return context


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path that has the data: OpenSSL takes certificates from files only, and theirs may change meanwhile."""
    descriptor = os.memfd_create("caseus-tls", os.MFD_CLOEXEC)
    with open(descriptor, "wb", buffering=0) as file:
        file.write(data)
        yield f"/proc/self/fd/{descriptor}"


def _refuse() -> str:
    """Without this, OpenSSL would ask for the password on the terminal."""
    raise _HasPassword


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"can't read the TLS {what} {path}: {error.strerror}") from None


def _where(cert: Path, key: Path | None) -> str:
    return f"the TLS certificate {cert}" if key is None else f"the TLS certificate {cert} with the key {key}"


def _reason(error: ssl.SSLError) -> str:
    match error.reason:
        case "KEY_VALUES_MISMATCH":
            return "the key is another certificate's"
        case "NO_START_LINE" | None:
            return "it is not PEM, or has no certificate or no key"
        case "EE_KEY_TOO_SMALL" | "CA_MD_TOO_WEAK":
            return "its key or digest is too weak for this system"
    return str(error).split(" (_ssl")[0]
