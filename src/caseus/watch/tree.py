"""What lies in the folder of an index: names, sizes and times, and never a byte of a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from caseus.errors import Unavailable
from caseus.names import is_filename, is_normalized, split_sidecar
from caseus.storage import MARKERS
from caseus.storage.folders import Folder, told

_SAME_TIME = 1000  # nanoseconds: a time goes through a floating-point number on its way to the catalog


class Seen(NamedTuple):
    """A plain file as it was at one moment; another write, or another file of that name, is another value."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @property
    def modified(self) -> float:
        """Unix seconds."""
        return self.modified_ns / 1e9

    def is_of(self, size: int, modified: float) -> bool:
        """Whether it has this length and this time (Unix seconds)."""
        return self.size == size and abs(self.modified_ns - round(modified * 1e9)) <= _SAME_TIME


NOT_PLAIN = Seen(0, -1, 0, 0)
"""A folder, a link, a pipe: nothing that a store serves."""


def seen(status: os.stat_result) -> Seen:
    return Seen(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Tree:
    """The folder of one index below `root`. Every method raises Unavailable where that folder is gone or unreadable, or
    is another one than `adopt` found, as where a disk was unmounted: then nobody can say what was removed."""

    def __init__(self, root: Path, tree: str) -> None:
        self._root = root
        self._names = tree.split("/")
        self._identity: tuple[int, int] | None = None
        self.path = root.joinpath(*self._names)

    def make(self) -> None:
        """The folder itself, where nothing was published yet."""
        with told("make its folder"), Folder.open(self._root, self._names, make=0o755) as folder:
            folder.sync()

    def adopt(self) -> tuple[int, int]:
        """Take the folder that is there now for the right one; by what it is known."""
        self._identity = None
        with self._open() as folder:
            self._identity = _identity(folder)
        return self._identity

    def check(self) -> None:
        """Whether it is still there, and the same."""
        with self._open():
            pass

    def projects(self) -> list[str]:
        """The names of all folders in it, also of those that no project can have."""
        with self._open() as folder, os.scandir(folder.fd) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def strays(self) -> list[str]:
        """The names of what lies beside those folders, where nothing is published from."""
        with self._open() as folder, os.scandir(folder.fd) as entries:
            return sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))

    def marked(self) -> set[str]:
        """The folders that have a marker."""
        found = set()
        with self._open() as folder, os.scandir(folder.fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    for marker in MARKERS:
                        with suppress(FileNotFoundError):
                            os.stat(f"{entry.name}/{marker}", dir_fd=folder.fd, follow_symlinks=False)
                            found.add(entry.name)
        return found

    def look(self, project: str) -> dict[str, Seen]:
        """What is in a project's folder, NOT_PLAIN for what is no plain file; nothing where the folder is gone.

        A link in the folder's place is Unavailable: that is no removal.
        """
        found: dict[str, Seen] = {}
        with self._open() as above:
            try:
                fd = os.open(project, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above.fd)
            except FileNotFoundError:
                return found
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError):
                            status = entry.stat(follow_symlinks=False)
                            found[entry.name] = seen(status) if stat.S_ISREG(status.st_mode) else NOT_PLAIN
            finally:
                os.close(fd)
        return found

    @contextmanager
    def _open(self) -> Iterator[Folder]:
        with told("look into a folder", absence=True):
            try:
                folder = Folder.open(self._root, self._names)
            except FileNotFoundError:
                text = f"{'/'.join(self._names)} is gone: is its disk mounted?"
                raise Unavailable(text, kind="local") from None
        with told("look into a folder"), folder:
            if self._identity not in (None, _identity(folder)):
                raise Unavailable(f"{'/'.join(self._names)} is another folder than before", kind="local")
            yield folder


def _identity(folder: Folder) -> tuple[int, int]:
    status = os.fstat(folder.fd)
    return status.st_dev, status.st_ino


def why_no_project(name: str) -> str | None:
    """Why no project can have its files in a folder of that name; None if one can."""
    if is_package(name):
        return "a file belongs into the folder of its project"
    return None if is_normalized(name) else "the folder's name is not a normalised one: lower case, and only hyphens"


def is_package(name: str) -> bool:
    """Whether the name is one of a file that may be meant to be published, and no sidecar or hidden one."""
    return is_filename(name) and not name.startswith(".") and not split_sidecar(name)[1]
