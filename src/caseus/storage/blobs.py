"""What a store hands out: bytes of one file, between two offsets."""

from __future__ import annotations

import io
import os
from typing import Self

from caseus.errors import BadRange, Unavailable
from caseus.storage import State


def resolve_range(size: int, start: int, stop: int | None) -> tuple[int, int]:
    """(first byte, one behind the last) in a file of `size` bytes.

    A negative start counts from the end and ends at 0 (RFC 9110 section 14.1.2: a suffix longer than the file is the
    whole of it); a stop behind the end is the end. BadRange if the range begins behind the end; an empty file has one
    good beginning, 0.
    """
    if start < 0:
        start = max(0, size + start)
    if start >= size and (size or start):
        raise BadRange(size)
    return start, max(start, size if stop is None else min(stop, size))


class FileBlob:
    """Bytes of a plain file; owns the descriptor it is given. Unavailable where the file got shorter meanwhile."""

    sha256: str | None = None
    stored = True

    def __init__(self, fd: int, start: int = 0, stop: int | None = None) -> None:
        self._file = io.FileIO(fd, "rb")
        try:
            self._size = os.fstat(fd).st_size
            self._start, self._stop = resolve_range(self._size, start, stop)
        except BaseException:
            self._file.close()
            raise
        self._at = self._start

    def with_sha256(self, sha256: str | None) -> Self:
        """This blob, now telling the digest of the whole file (hex), for callers that know it."""
        self.sha256 = sha256
        return self

    @property
    def size(self) -> int:
        return self._size

    @property
    def start(self) -> int:
        return self._start

    @property
    def stop(self) -> int:
        return self._stop

    def fileno(self) -> int:
        """The open descriptor, for sendfile; its own offset is not the blob's."""
        return self._file.fileno()

    def read(self, n: int = 262_144, /) -> bytes:
        wanted = min(n, self._stop - self._at)
        if wanted <= 0:
            return b""
        try:
            data = os.pread(self._file.fileno(), wanted, self._at)
        except OSError as error:
            raise Unavailable(f"the store can't read a file: {error.strerror}", kind="local") from error
        if not data:
            raise Unavailable("a file of the store is shorter than it was: run `caseus verify`", kind="local")
        self._at += len(data)
        return data

    def available(self, n: int = 262_144, /) -> tuple[bytes, State]:
        data = self.read(n)
        return data, State.END if self._at >= self._stop else State.MORE

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class BytesBlob:
    """Bytes that are in memory already."""

    sha256: str | None = None
    stored = True

    def __init__(self, data: bytes, start: int = 0, stop: int | None = None) -> None:
        self._data = data
        self._start, self._stop = resolve_range(len(data), start, stop)
        self._at = self._start

    def with_sha256(self, sha256: str | None) -> Self:
        """This blob, now telling the digest of the whole file (hex), for callers that know it."""
        self.sha256 = sha256
        return self

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def start(self) -> int:
        return self._start

    @property
    def stop(self) -> int:
        return self._stop

    def read(self, n: int = 262_144, /) -> bytes:
        data = self._data[self._at : min(self._at + max(n, 0), self._stop)]
        self._at += len(data)
        return data

    def available(self, n: int = 262_144, /) -> tuple[bytes, State]:
        data = self.read(n)
        return data, State.END if self._at >= self._stop else State.MORE

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
