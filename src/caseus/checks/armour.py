"""Detached OpenPGP signatures in ASCII armour (RFC 9580 section 6.2), as `gpg --armor --detach-sign` writes them."""

from __future__ import annotations

import base64
import binascii
import re

from caseus.checks.limits import MAX_SIGNATURE
from caseus.errors import Invalid

_FIRST, _LAST = "-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----"
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*:( .*)?\Z", re.ASCII)
_CHECKSUM = re.compile(r"=[A-Za-z0-9+/]{4}\Z", re.ASCII)


def check_signature(data: bytes) -> None:
    """Invalid, with words that complete "the signature ...", unless it is one armoured signature and nothing else.

    Who made it, and of what, is not looked at.
    The checksum at the end may be absent, and RFC 9580 forbids to refuse a signature for a wrong one.
    """
    if len(data) > MAX_SIGNATURE:
        raise Invalid(f"is larger than {MAX_SIGNATURE >> 10} KiB")
    if not data.isascii():
        raise Invalid("is not ASCII-armoured")
    lines = [line.rstrip() for line in data.decode("ascii").strip().splitlines()]
    if len(lines) < 3 or lines[0] != _FIRST:
        raise Invalid("is not ASCII-armoured")
    if lines[-1] != _LAST:
        raise Invalid("ends before its armour does: a part of it is missing")
    body = _without_headers(lines[1:-1])
    if body and _CHECKSUM.match(body[-1]):
        body.pop()
    try:
        packets = base64.b64decode("".join(body), validate=True)
    except binascii.Error:
        packets = b""
    if not packets:
        raise Invalid("has no base64 in its armour")


def _without_headers(lines: list[str]) -> list[str]:
    """What comes behind the headers and the blank line that ends them."""
    for number, line in enumerate(lines):
        if not line:
            return lines[number + 1 :]
        if not _HEADER.match(line):
            break
    raise Invalid("has no blank line between the headers of its armour and the base64")
