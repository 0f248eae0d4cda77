"""A folder that nobody reads yet, for the first run of all: its files may have their names before their bytes."""

from __future__ import annotations

import os
from typing import Final, Self

from caseus.export.target import FolderTarget, StrPath, fill, refused

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_MOST_MADE: Final = 1000


class FreshFolder(FolderTarget):
    """It is there and empty; a context, in which it is open: the system then looks only keys up, not the way there."""

    def __init__(self, root: StrPath, *, sync: bool = False) -> None:
        super().__init__(root, sync=sync)
        self.empty = True
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._there = {""}  # folders, some of those that were made

    def write(self, key: str, data: bytes) -> None:
        folder = key.rpartition("/")[0]
        try:
            self._make(folder)
            fd = os.open(key, _FLAGS, 0o644, dir_fd=self._fd)
            try:
                fill(fd, data, sync=self.sync)
            finally:
                os.close(fd)
        except OSError as error:
            raise refused("write", error) from error

    def _make(self, folder: str) -> None:
        if folder in self._there:
            return
        self._make(folder.rpartition("/")[0])
        try:  # noqa: SIM105  (a context would take half as long as the call)
            os.mkdir(folder, dir_fd=self._fd)
        except FileExistsError:  # another process may have been faster
            pass
        if len(self._there) > _MOST_MADE:
            self._there = {""}
        self._there.add(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)
