"""A file that lies under its name already, as an upload whose bytes somebody else has brought."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

from caseus import durability
from caseus.errors import Busy, CaseusError, NotFound
from caseus.storage.folders import Folder, open_plain, told
from caseus.storage.staging import CHUNK, new_hashes
from caseus.storage.temporary import set_time
from caseus.watch.tree import seen


class Stopped(CaseusError):
    """Somebody wants this process to end."""


class InPlace:
    """As `Staged`, for `Publisher.take`, of what a key holds: read once, and the name already given.

    Holds the folder and the file open; whoever changes the file meanwhile makes `commit`, `link` and `holds` fail.
    """

    def __init__(self, root: Path, key: str, *, stop: Callable[[], bool] = lambda: False) -> None:
        *folders, self._name = key.split("/")
        self._key = key
        with ExitStack() as stack:
            try:
                with told("open a file", absence=True):
                    self._folder = stack.enter_context(Folder.open(root, folders))
                    fd = open_plain(self._name, self._folder)
            except FileNotFoundError:
                raise NotFound(f"nothing is stored under {key}") from None
            if fd is None:
                raise NotFound(f"{key} is no plain file")
            self._fd = fd
            stack.callback(os.close, fd)
            self.seen = seen(os.fstat(fd))
            self.digests = self._read(stop)
            self._closing = stack.pop_all()

    @property
    def size(self) -> int:
        return self.seen.size

    def write(self, data: bytes, /) -> None:
        raise Busy("the file is not ours to write", retry_after=1)

    def reader(self) -> BinaryIO:
        """One at a time: it moves the file's own offset."""
        reader = os.fdopen(os.dup(self._fd), "rb")
        reader.seek(0)
        return reader

    def stamp(self, time: float) -> None:
        if self.seen.is_of(self.seen.size, time):
            return
        with told("write a file"):
            set_time(self._fd, time)
        self.seen = seen(os.fstat(self._fd))

    def sync(self) -> None:
        with told("write a file"):
            durability.sync(self._fd)

    def commit(self, key: str) -> None:
        """Busy if it was changed or taken away."""
        if not self.holds(key):
            raise Busy("the file was changed while it was published", retry_after=1)
        self.sync()
        with told("name a file"):
            self._folder.sync()

    def link(self, key: str) -> None:
        """Busy if it was changed or taken away."""
        if not self.holds(key):
            raise Busy("the file was changed while it was published", retry_after=1)

    def holds(self, key: str) -> bool:
        if key != self._key:
            return False
        try:
            now = seen(os.stat(self._name, dir_fd=self._folder.fd, follow_symlinks=False))
        except OSError:
            return False
        return now[:3] == self.seen[:3]

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read(self, stop: Callable[[], bool]) -> dict[str, str]:
        """Busy if it grows or shrinks meanwhile."""
        hashes, at = new_hashes(), 0
        with told("read a file"):
            while data := os.pread(self._fd, CHUNK, at):
                if stop():
                    raise Stopped("the server is stopping")
                for digest in hashes.values():
                    digest.update(data)
                at += len(data)
            if seen(os.fstat(self._fd)) != self.seen or at != self.seen.size:
                raise Busy("the file was changed while it was read", retry_after=1)
        return {name: digest.hexdigest() for name, digest in hashes.items()}
