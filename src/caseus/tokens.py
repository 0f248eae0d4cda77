"""API tokens: `caseus_`, 32 random bytes in base62, and 6 characters of checksum.

The prefix lets secret scanners find a leaked one; the checksum tells a typing error from a revoked token without
asking the catalog. Only `digest(token)` is stored.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Callable

from caseus.errors import Invalid

PREFIX = "caseus_"
SHOWN = len(PREFIX) + 6
"""So many characters tell tokens apart in lists."""

_LIKE_ONE = re.compile(PREFIX + "[0-9A-Za-z]+")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY = 43  # 62**43 > 2**256 > 62**42
_CHECKSUM = 6  # 62**6 > 2**32


def make_token(randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new token, 56 characters."""
    body = _base62(int.from_bytes(randomness(32), "big"), _BODY)
    return PREFIX + body + _checksum(body)


def check_token(text: str) -> str:
    """The token itself if it is one by its form and checksum, else Invalid (which never repeats it)."""
    body, checksum = text[len(PREFIX) : -_CHECKSUM], text[-_CHECKSUM:]
    whole = text.startswith(PREFIX) and len(body) == _BODY and all(letter in _ALPHABET for letter in body)
    if not whole or checksum != _checksum(body):
        raise Invalid("malformed token: copy it whole, from `caseus_` on")
    return text


def digest(token: str) -> str:
    """What is stored of a token: its sha256 in hex. A plain hash is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def hide_tokens(text: str) -> str:
    """The text with nothing left of what looks like a token but its prefix: for logs, and for errors that repeat what
    they were asked for."""
    return _LIKE_ONE.sub(PREFIX + "***", text) if PREFIX in text else text


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM)


def _base62(number: int, width: int) -> str:
    letters = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        letters.append(_ALPHABET[rest])
    return "".join(reversed(letters))
