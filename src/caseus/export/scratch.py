"""Temporary files: what processes that work together write, each into its own, for any of them to read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, Final, NamedTuple, Self

from caseus.errors import Unavailable
from caseus.export import workers

_CHUNK: Final = 1 << 16


class Piece(NamedTuple):
    """Bytes of one of the files, by its number."""

    file: int
    start: int
    size: int


class Scratch:
    """A file for each of `jobs` processes; a context that closes them."""

    def __init__(self, jobs: int) -> None:
        with ExitStack() as stack:
            self._files = [stack.enter_context(temporary()) for _ in range(jobs)]
            self._stack = stack.pop_all()
        self.descriptors = [file.fileno() for file in self._files]
        """To read pieces from."""

    def append(self, data: bytes) -> None:
        """To the file of this process."""
        self._files[workers.number()].write(data)

    def at(self) -> Piece:
        """Where the next bytes of this process come, none so far."""
        number = workers.number()
        return Piece(number, self._files[number].tell(), 0)

    def since(self, piece: Piece) -> Piece:
        """What this process wrote since then."""
        return piece._replace(size=self._files[piece.file].tell() - piece.start)

    def flush(self) -> None:
        """What this process wrote can be read by others then."""
        self._files[workers.number()].flush()

    def include(self, file: BinaryIO) -> int:
        """The number of one more file, which is read only and closed with the others."""
        self._stack.enter_context(file)
        self.descriptors.append(file.fileno())
        return len(self.descriptors) - 1

    def chunks(self, piece: Piece) -> Iterator[bytes]:
        stop = piece.start + piece.size
        for at in range(piece.start, stop, _CHUNK):
            size = min(_CHUNK, stop - at)
            data = os.pread(self.descriptors[piece.file], size, at)
            if len(data) < size:
                raise Unavailable("a file became shorter while it was read: run it again", kind="local")
            yield data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def temporary() -> BinaryIO:
    """A file without a name, where `tempfile` makes them, which loads slowly."""
    try:
        folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  (the file has no name there)
        return open(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b", buffering=_CHUNK)
    except OSError:
        import tempfile

        return tempfile.TemporaryFile(prefix="caseus-export-")
