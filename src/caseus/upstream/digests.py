"""The digests that an index may tell of a file, and how they are computed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

_ALGORITHMS: dict[str, tuple[int, Callable[[], Any]]] = {
    "sha256": (64, hashlib.sha256),
    "sha512": (128, hashlib.sha512),
    "sha384": (96, hashlib.sha384),
    "blake2b": (128, hashlib.blake2b),
    "blake2b_256": (64, lambda: hashlib.blake2b(digest_size=32)),
    "sha3_512": (128, hashlib.sha3_512),
    "sha3_384": (96, hashlib.sha3_384),
    "sha3_256": (64, hashlib.sha3_256),
    "blake2s": (64, hashlib.blake2s),
    "sha224": (56, hashlib.sha224),
    "sha3_224": (56, hashlib.sha3_224),
    "sha1": (40, lambda: hashlib.sha1(usedforsecurity=False)),
    "md5": (32, lambda: hashlib.md5(usedforsecurity=False)),
}
"""Name to (hex digits, constructor), the strongest and most usual first."""

WEAK = frozenset({"sha1", "md5"})
"""These find damage, not malice: a file with nothing better must also have the right length."""

_HEX = re.compile(r"[0-9a-f]+\Z")


def known_hashes(told: Mapping[str, str]) -> dict[str, str]:
    """Those digests whose algorithm is known and whose value has its length, in lower case."""
    hashes = {}
    for name, value in told.items():
        algorithm, digest = name.lower().replace("-", "_"), value.lower()
        if algorithm in _ALGORITHMS and len(digest) == _ALGORITHMS[algorithm][0] and _HEX.match(digest):
            hashes[algorithm] = digest
    return hashes


def strongest(hashes: Mapping[str, str]) -> str | None:
    """The algorithm to check by, None if there is no digest."""
    return next((algorithm for algorithm in _ALGORITHMS if algorithm in hashes), None)


def new_hash(algorithm: str) -> Any:
    """A hash object with `update` and `hexdigest`."""
    return _ALGORITHMS[algorithm][1]()


def digest_of(algorithm: str, data: bytes) -> str:
    hasher = new_hash(algorithm)
    hasher.update(data)
    return str(hasher.hexdigest())
