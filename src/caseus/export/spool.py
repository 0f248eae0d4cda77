"""The bytes of a list, read once and then by their places; any number of processes may read at once."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from caseus.errors import NotFound, Unavailable

_IN_MEMORY: Final = 64 << 20
_CHUNK: Final = 1 << 20


class Spool:
    """An open file that nobody changes; kept in memory where it is small."""

    def __init__(self, file: BinaryIO) -> None:
        self._data: bytes | None = None
        try:
            self._fd = file.fileno()
        except io.UnsupportedOperation:
            self._data = file.read()
            self.size = len(self._data)
            return
        self.size = os.fstat(self._fd).st_size
        if self.size <= _IN_MEMORY:
            self._data = os.pread(self._fd, self.size, 0)
            self.size = len(self._data)

    def read(self, start: int, stop: int) -> bytes:
        """Unavailable if the file became shorter meanwhile."""
        if self._data is not None:
            return self._data[start:stop]
        data = os.pread(self._fd, stop - start, start)
        if len(data) < stop - start:
            raise Unavailable("the list became shorter while it was read: give one that is finished", kind="local")
        return data

    def sha256(self) -> str:
        """Hex, of the whole."""
        if self._data is not None:
            return hashlib.sha256(self._data).hexdigest()
        digest = hashlib.sha256()
        for start in range(0, self.size, _CHUNK):
            digest.update(self.read(start, min(start + _CHUNK, self.size)))
        return digest.hexdigest()

    def pieces(self, size: int) -> list[tuple[int, int]]:
        """(start, stop) of about `size` bytes each that end where lines end."""
        found, start = [], 0
        while start < self.size:
            stop = self._line_end(min(start + size, self.size))
            found.append((start, stop))
            start = stop
        return found

    def _line_end(self, at: int) -> int:
        while at < self.size:
            data = self.read(at - 1, min(at + _CHUNK, self.size))
            end = data.find(b"\n")
            if end >= 0:
                return at + end
            at = min(at + _CHUNK, self.size)
        return at


@contextmanager
def spooled(path: Path | None, stdin: BinaryIO) -> Iterator[Spool]:
    """Of the file, or of standard input where there is no path. NotFound, Unavailable.

    What is no plain file (a pipe) is copied to a temporary one first.
    """
    try:
        with stdin if path is None else path.open("rb") as file:
            if path is not None and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                yield Spool(file)
                return
            with tempfile.TemporaryFile(prefix="caseus-export-") as copy:
                shutil.copyfileobj(file, copy, _CHUNK)
                copy.flush()
                yield Spool(copy)
    except FileNotFoundError:
        raise NotFound(f"there is no list {path}: check the path") from None
    except OSError as error:
        raise Unavailable(f"can't read the list {path or '-'}: {error.strerror}", kind="local") from None
