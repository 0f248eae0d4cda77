"""The file with the bytes of a list: it only grows, so that who reads an older list of it still finds it whole."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Self
from zlib import crc32

from caseus import durability, gzips
from caseus.lists.listing import Part, Shard
from caseus.lists.shards import Cut
from caseus.render import ListForm

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Bytes:
    """To be written to under the lock of all lists only. OSError."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd, self.name = fd, name
        self.size = os.fstat(fd).st_size  # with what a killed process may have left

    @classmethod
    def new(cls, folder: Path, list_name: str) -> Self:
        name = f"{list_name}.{secrets.token_hex(8)}"
        return cls(os.open(folder / name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600), name)

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        return cls(os.open(folder / name, _FLAGS), name)

    def add(self, form: ListForm, found: Cut, before: Shard | None = None) -> Shard:
        """A shard of these names; `before`, if it has the same bytes."""
        plain = form.entries(found.names)
        if before is not None and before.closed == found.closed and before.plain.digest == _digest(plain):
            return before
        parts = self._append(plain), self._append(gzips.deflate(plain))
        return Shard(found.names[-1], found.closed, crc32(plain), *parts)

    def copy(self, shard: Shard, source: Bytes) -> Shard:
        parts = [self._append(os.pread(source._fd, part.length, part.start)) for part in (shard.plain, shard.deflated)]
        return Shard(shard.last, shard.closed, shard.crc, *parts)

    def sync(self) -> None:
        durability.sync(self._fd)

    def _append(self, data: bytes) -> Part:
        start, left = self.size, memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        self.size += len(data)
        return Part(start, len(data), _digest(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
