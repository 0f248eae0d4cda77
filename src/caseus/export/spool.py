"""The bytes of a list, read by their places; any number of processes may read at once."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from caseus.errors import NotFound, Unavailable
from caseus.export import workers
from caseus.export.digests import DIGEST, blake2b, digest_of
from caseus.export.scratch import temporary

_CHUNK: Final = 1 << 20
_LINE: Final = 1 << 16  # where the end of one is looked for
_STEP: Final = 1 << 16
_PIECE: Final = 4 << 20  # what is digested at once


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

    def digest(self, jobs: int) -> str:
        """Hex, of the whole; the same for any number of processes."""
        return digest_of(b"".join(workers.run(jobs, range(0, self.size, _PIECE), self._digest))).hex()

    def _digest(self, start: int) -> bytes:
        """Of a piece, read in steps that need little memory."""
        digest = blake2b(digest_size=DIGEST)
        stop = min(start + _PIECE, self.size)
        for at in range(start, stop, _STEP):
            digest.update(self.read(at, min(at + _STEP, stop)))
        return digest.digest()

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
