"""The digest that tells texts apart; `hashlib` has it too, but loads OpenSSL, which takes as long as a short list."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # of a Python that was built without
    from hashlib import blake2b

DIGEST = 16
"""Bytes of one."""

__all__ = ["DIGEST", "blake2b", "digest_of"]


def digest_of(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST).digest()
