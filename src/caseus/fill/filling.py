"""The bytes of one part: what is there already, what comes in, and whether they are the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Any

import msgspec

from caseus.errors import Unavailable
from caseus.storage import file_key
from caseus.upstream import Origin, Response
from caseus.upstream.digests import WEAK, new_hash, strongest

_CHUNK = 1 << 20


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Which file is wanted: where it is and what its page says that it is.

    `linked`: the https origins that the page links; `size` in bytes.
    """

    tree: str
    project: str
    filename: str
    url: str
    hashes: dict[str, str] = {}
    size: int | None = None
    linked: frozenset[Origin] = frozenset()

    @property
    def key(self) -> str:
        return file_key(self.tree, self.project, self.filename)


class Wrong(Unavailable):
    """What the upstream sends is not the file: to ask for the rest of it is no use."""

    def __init__(self, source: Source, what: str) -> None:
        super().__init__(f"the upstream's {source.filename} {what}: it was not kept", kind="upstream")


class Filling:
    """Writes one part; `lock` is its locked descriptor. `bound`: the sha256 that was seen first, if ever."""

    def __init__(self, source: Source, lock: int, bound: str | None) -> None:
        self._source, self._lock, self._bound = source, lock, bound
        self._algorithm = strongest(source.hashes)
        self._hashes: dict[str, Any] = {name: new_hash(name) for name in {"sha256", self._algorithm or "sha256"}}
        self.size: int | None = source.size
        self.done = 0
        """Bytes that are in the part and in the digests."""

    @property
    def sha256(self) -> str:
        return str(self._hashes["sha256"].hexdigest())

    @property
    def has_digest(self) -> bool:
        """Whether a digest tells the right bytes from any others."""
        return self._bound is not None or (self._algorithm is not None and self._algorithm not in WEAK)

    @property
    def complete(self) -> bool:
        """Whether what is there is the file already, as its digest tells; never known without one."""
        return self.has_digest and (self.size is None or self.done == self.size) and self._fault() is None

    def take_stock(self) -> None:
        """Reads what a filler before us left."""
        while data := os.pread(self._lock, _CHUNK, self.done):
            self._count(data)

    def accept(self, response: Response) -> None:
        """Judges the head of an answer before its body is taken. OSError where there is no space for the rest of it."""
        if response.media_type in ("text/html", "application/xhtml+xml"):
            raise Wrong(self._source, "is an HTML page (a login or error page?)")
        encoding = response.header("Content-Encoding")
        if encoding and encoding.strip().lower() != "identity" and not self.has_digest:
            raise Wrong(self._source, "is sent encoded, without a digest to know it by")
        told = response.size
        if told is not None and self.size is not None and told != self.size:
            raise Wrong(self._source, f"has {told} bytes instead of {self.size}")
        self.size = self.size if told is None else told
        if self.size is None and not self.has_digest:
            raise Wrong(self._source, "has neither a digest nor a length to know it by")
        if self.size is not None:
            _need_space(self._lock, self.size - self.done)

    def receive(self, chunks: Iterable[bytes], start: int) -> None:
        """Appends a body that begins at byte `start`; what is there already must be the same in it."""
        at = start
        for chunk in chunks:
            known = min(len(chunk), max(0, self.done - at))
            if known and os.pread(self._lock, known, at) != chunk[:known]:
                raise Wrong(self._source, "changed while it was fetched")
            self._append(chunk[known:])
            at += len(chunk)
        if self.size is not None and self.done < self.size:
            raise Unavailable(f"the upstream's {self._source.filename} is cut off: try again", kind="upstream")

    def check(self) -> None:
        """Raises unless these are the right bytes, all of them."""
        fault = self._fault()
        if fault:
            raise Wrong(self._source, fault)

    def _fault(self) -> str | None:
        if not self.done and not self.has_digest:  # would be bound for good, though it is a hiccup: no archive is empty
            return "is empty"
        if self.size is not None and self.done != self.size:
            return f"has {self.done} bytes instead of {self.size}"
        if self._algorithm and self._hashes[self._algorithm].hexdigest() != self._source.hashes[self._algorithm]:
            return f"has the wrong {self._algorithm}"
        if self._bound is not None and self.sha256 != self._bound:
            return "has other bytes than when it was first fetched"
        return None

    def _append(self, data: bytes) -> None:
        if self.size is not None and self.done + len(data) > self.size:
            raise Wrong(self._source, f"has more than its {self.size} bytes")
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._lock, rest, self.done)
            self._count(rest[:written])
            rest = rest[written:]

    def _count(self, data: bytes | memoryview) -> None:
        for hasher in self._hashes.values():
            hasher.update(data)
        self.done += len(data)


def _need_space(fd: int, size: int) -> None:
    """Raises what a write would, before a reader is told that the file comes; not of a file system that tells nothing.

    What is kept for root counts, for we may be root.
    """
    told = os.fstatvfs(fd)
    if told.f_blocks and size > told.f_bfree * told.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
