"""A file of an upstream as something seekable that fetches only what is read."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, Protocol

from caseus.errors import Unavailable
from caseus.upstream.response import Response

_TAIL = 65_536
"""Bytes that are fetched first, from the end: a wheel's directory is there, and mostly its METADATA."""

_LEAST = 16_384
_REQUESTS = 64


class RangesRefused(Exception):
    """The server sends the whole file only."""


class Fetch(Protocol):
    """A request for the bytes from `start` to `stop`; a negative start counts from the end."""

    def __call__(self, *, start: int, stop: int | None, etag: str | None) -> Response: ...


def open_ranged(fetch: Fetch, *, limit: int) -> BinaryIO:
    """The file, seekable, of which at most `limit` bytes are fetched in all. RangesRefused, Unavailable, NotFound."""
    return io.BufferedReader(RangedFile(fetch, limit=limit), 8192)  # zipfile wants full reads


class RangedFile(io.RawIOBase):
    """Read-only. Refuses to fetch more than `limit` bytes in all, and any answer of another file than the first one.

    RangesRefused when made, if the server has no ranges; later Unavailable.
    """

    def __init__(self, fetch: Fetch, *, limit: int) -> None:
        self._fetch = fetch
        self._left = limit
        self._requests = 0
        self._at = 0
        self._pieces: list[tuple[int, bytes]] = []
        self._etag: str | None = None
        self._last_modified: str | None = None
        self.size = 0
        self.fetched = 0
        with self._asked(-_TAIL, None) as response:
            if response.status != 206 or response.size is None:
                raise RangesRefused
            self.size = response.size
            # Some mirrors send neither: then the length, and the archive's own checksums, tell that it is one file.
            self._etag, self._last_modified = response.strong_etag, response.header("Last-Modified")
            self._keep(response, response.start)
            if response.start + self.fetched != self.size:
                raise RangesRefused

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self.size - self._at))
        data = self._read(wanted) if wanted else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, n: int) -> bytes:
        """At least one byte at the position, at most n."""
        for start, piece in self._pieces:
            if start <= self._at < start + len(piece):
                return piece[self._at - start : self._at - start + n]
        later = [start for start, _ in self._pieces if start > self._at]
        stop = min([self.size, self._at + max(n, _LEAST), *later])
        with self._asked(self._at, stop) as response:
            same = response.strong_etag == self._etag and response.header("Last-Modified") == self._last_modified
            if response.status != 206 or response.size != self.size or not same:
                raise Unavailable("the upstream's file changed while it was read: try again", kind="upstream")
            self._keep(response, self._at)
        return self._read(n)

    def _asked(self, start: int, stop: int | None) -> Response:
        self._requests += 1
        if self._requests > _REQUESTS or (0 if stop is None else stop - start) > self._left:
            raise Unavailable("the upstream's file needs too many reads to find its metadata", kind="upstream")
        return self._fetch(start=start, stop=stop, etag=self._etag)

    def _keep(self, response: Response, start: int) -> None:
        piece = response.body(self._left)
        self._left -= len(piece)
        self.fetched += len(piece)
        if not piece:
            raise Unavailable("the upstream sends an empty range", kind="upstream")
        self._pieces.append((start, piece))
