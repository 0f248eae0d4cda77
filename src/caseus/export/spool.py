"""The bytes of a list, read by their places; any number of processes may read at once."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from caseus.errors import NotFound, Unavailable
from caseus.export.scratch import temporary

_CHUNK: Final = 1 << 20
_LINE: Final = 1 << 16  # where the end of one is looked for
_NEAR: Final = 1 << 13


class Spool:
    """An open file that nobody is to change; read from memory where it is no file of the system."""

    def __init__(self, file: BinaryIO) -> None:
        self._data: bytes | None = None
        try:
            self._fd = file.fileno()
        except io.UnsupportedOperation:
            self._data = file.read()
            self.size = len(self._data)
            return
        self._status = os.fstat(self._fd)
        self.size = self._status.st_size

    def read(self, start: int, stop: int) -> bytes:
        """Unavailable if the file became shorter meanwhile."""
        if self._data is not None:
            return self._data[start:stop]
        data = os.pread(self._fd, stop - start, start)
        if len(data) < stop - start:
            raise Unavailable("the list became shorter while it was read: give one that is finished", kind="local")
        return data

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Unavailable if the file is another one in the end, whatever came of that."""
        try:
            yield
        finally:
            if self._data is None:
                now, then = os.fstat(self._fd), self._status
                if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
                    raise Unavailable("the list changed while it was read: give one that is finished", kind="local")

    def pieces(self, size: int, begin: Callable[[bytes], int] | None = None) -> list[tuple[int, int]]:
        """(start, stop) of about `size` bytes each that end where lines end.

        `begin`: how far behind that, of bytes from there on, the next one should begin.
        """
        found, start = [], 0
        while start < self.size:
            stop = self._line_end(min(start + size, self.size))
            if begin is not None:
                stop += begin(self.read(stop, min(stop + _NEAR, self.size)))
            found.append((start, stop))
            start = stop
        return found

    def _line_end(self, at: int) -> int:
        while at < self.size:
            data = self.read(at - 1, min(at + _LINE, self.size))
            end = data.find(b"\n")
            if end >= 0:
                return at + end
            at = min(at + _LINE, self.size)
        return at


@contextmanager
def spooled(path: str | os.PathLike[str] | None, stdin: BinaryIO) -> Iterator[Spool]:
    """Of the file, or of standard input where there is no path. NotFound, Unavailable.

    What is no plain file (a pipe) is copied to a temporary one first.
    """
    try:
        with stdin if path is None else open(path, "rb") as file:
            if path is not None and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                yield Spool(file)
                return
            with temporary() as copy:
                while data := file.read(_CHUNK):
                    copy.write(data)
                copy.flush()
                yield Spool(copy)
    except FileNotFoundError:
        raise NotFound(f"there is no list {path}: check the path") from None
    except OSError as error:
        raise Unavailable(f"can't read the list {path or '-'}: {error.strerror}", kind="local") from None
