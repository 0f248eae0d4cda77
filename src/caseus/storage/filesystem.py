"""A store in a folder of this machine: a tree that a person can read.

What was promised durable is so after a power loss: files, and the folders above them, are synced before it is told.
Names are given by link(2), which never replaces, so that of any number of writers on any number of processes one wins.
Beside the tree there are the store's own folders: `.incoming` (bytes under no name yet) and `.orphans` (bytes that no
fact knows, set aside).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO

from caseus import durability
from caseus.errors import Invalid, NotFound, Unavailable
from caseus.storage import check_key
from caseus.storage.blobs import FileBlob
from caseus.storage.folders import Folder, Folders, make_root, open_plain, told
from caseus.storage.staging import (
    CHUNK,
    FilesystemStaged,
    append,
    in_folder,
    link_new,
    place_of,
    sync_keys,
)
from caseus.storage.temporary import FILE, INCOMING, OWN, Temporary, set_time

__all__ = ["FileBlob", "FilesystemStorage"]

ORPHANS = ".orphans"
_ORPHAN_NAME = 200  # characters of a key that are kept in an orphan's name; a filename can have 255


class FilesystemStorage:
    """The store under `root`, which is made if missing. Holds no state: any number may share a root."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._folders = Folders(self.root)
        with told("make its folder"):
            make_root(self.root)

    def keeping_folders(self) -> AbstractContextManager[None]:
        """While it lasts, folders that this thread opens stay open: each is opened once for any number of files."""
        return self._folders.kept()

    def stage(self) -> FilesystemStaged:
        return FilesystemStaged(self._folders)

    def path(self, key: str) -> Path:
        """Where the key's file is; also for keys in the store's own folders."""
        return self.root.joinpath(*check_key(key).split("/"))

    def adopt(self, path: Path, key: str) -> None:
        """Gives a whole, synced file of the same disk the name `key`, as `Staged.commit` does; `path` stays.

        Conflict if the key holds other bytes, Unavailable.
        """
        with told("take a file over"):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(fd, FILE)
                link_new(self._folders, key, fd, partial(_link, path))
            finally:
                os.close(fd)

    def stamp(self, key: str, time: float) -> None:
        """Gives what is stored its time (Unix seconds), as `Staged.stamp` does. Absent is fine. Unavailable."""
        folders, name = place_of(key)
        with (
            suppress(FileNotFoundError),
            told("write a file", absence=True),
            self._folders.open(folders) as folder,
        ):
            fd = open_plain(name, folder)
            if fd is not None:
                try:
                    set_time(fd, time)
                finally:
                    os.close(fd)

    def sync(
        self, keys: Iterable[str], *, beside: bool = False, meanwhile: Callable[[], bool] = durability.nothing
    ) -> None:
        with told("write a file"):
            sync_keys(self._folders, keys, beside=beside, meanwhile=meanwhile)

    def replace(self, key: str, source: BinaryIO, *, durable: bool = True) -> None:
        place_of(key)
        with Temporary(self._folders) as temporary:
            while data := source.read(CHUNK):
                temporary.write(data)
            if durable:
                temporary.sync()
            else:
                temporary.show()

            def rename(folder: Folder, name: str) -> None:
                temporary.rename(name, folder)
                if durable:
                    folder.sync()

            with told("replace a file"):
                in_folder(self._folders, key, rename)

    def append(self, key: str, data: bytes, *, behind: bytes) -> bool:
        folders, name = place_of(key)
        with suppress(FileNotFoundError), told("write a file", absence=True), self._folders.open(folders) as folder:
            fd = None
            with suppress(PermissionError):  # of a file of another user: it can be replaced
                fd = open_plain(name, folder, os.O_RDWR | os.O_APPEND)
            if fd is not None:
                try:
                    return append(fd, data, behind=behind)
                finally:
                    os.close(fd)
        return False

    def set_aside(self, key: str, digest: str) -> None:
        folders, name = place_of(key)
        orphan = _orphan_name(key)
        with (
            suppress(FileNotFoundError),
            told("set a file aside", absence=True),
            self._folders.open(folders) as folder,
        ):
            if _sha256(name, folder) == digest:
                return
            with self._folders.open([ORPHANS], make=OWN) as orphans:
                os.rename(name, orphan, src_dir_fd=folder.fd, dst_dir_fd=orphans.fd)
                orphans.sync()
            folder.sync()

    def keep_aside(self, key: str) -> None:
        """What the key holds gets a name among the orphans too; for what is about to be replaced. Absent is fine."""
        folders, name = place_of(key)
        with (
            suppress(FileNotFoundError),
            told("keep a file", absence=True),
            self._folders.open(folders) as folder,
            self._folders.open([ORPHANS], make=OWN) as orphans,
        ):
            os.link(name, _orphan_name(key), src_dir_fd=folder.fd, dst_dir_fd=orphans.fd, follow_symlinks=False)
            orphans.sync()

    def open(self, key: str, start: int = 0, stop: int | None = None) -> FileBlob:
        folders, name = place_of(key)
        try:
            with told("open a file", absence=True), self._folders.open(folders) as folder:
                fd = open_plain(name, folder)
                if fd is None and stat.S_ISDIR(os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mode):
                    raise FileNotFoundError
        except FileNotFoundError:
            raise NotFound(f"nothing is stored under {key}") from None
        if fd is None:
            raise Unavailable(f"what is stored under {key} is no plain file: run `caseus verify`", kind="local")
        return FileBlob(fd, start, stop)

    def delete(self, key: str) -> None:
        folders, name = place_of(key)
        with (
            suppress(FileNotFoundError),
            told("delete a file", absence=True),
            self._folders.open(folders) as folder,
        ):
            os.unlink(name, dir_fd=folder.fd)
            durability.sync(folder.fd)
            folder.remove_if_empty()
        self._folders.forget(folders)

    def keys(self, prefix: str = "") -> Iterator[str]:
        above = prefix.rpartition("/")[0]
        if prefix.startswith(".") or (above and not _is_key(above)):
            return iter(())
        return self._walk(above.split("/") if above else [], prefix)

    def url(self, key: str, expires: timedelta) -> str | None:
        return None

    def clean(self) -> None:
        """Empties `.incoming`. Only while nothing else uses the root: it takes others' uploads away."""
        with told("clean its folder"), self._folders.open([INCOMING], make=OWN) as folder:
            for name in os.listdir(folder.fd):
                os.unlink(name, dir_fd=folder.fd)

    def _walk(self, folders: list[str], prefix: str) -> Iterator[str]:
        """Keys below a folder. A folder sorts as its name with the slash: `a-b` comes before what is in `a`."""
        for name in self._entries(folders):
            key = "/".join((*folders, name))
            if not name.endswith("/"):
                if key.startswith(prefix):
                    yield key
            elif key.startswith(prefix) or prefix.startswith(key):
                yield from self._walk([*folders, name[:-1]], prefix)

    def _entries(self, folders: list[str]) -> list[str]:
        """Sorted names of plain files, and of folders with a slash; nothing if the folder is gone meanwhile."""
        names: list[str] = []
        with (
            suppress(FileNotFoundError),
            told("list a folder", absence=True),
            self._folders.open(folders) as folder,
            os.scandir(folder.fd) as entries,
        ):
            for entry in entries:
                if not _is_key(entry.name) or (not folders and entry.name.startswith(".")):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name + "/")
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
        return sorted(names)


def _link(path: Path, folder: Folder, name: str) -> None:
    os.link(path, name, dst_dir_fd=folder.fd, follow_symlinks=False)


def _orphan_name(key: str) -> str:
    return f"{key.replace('/', '%')[-_ORPHAN_NAME:]}.{secrets.token_hex(8)}"


def _is_key(text: str) -> bool:
    try:
        return check_key(text) == text
    except Invalid:
        return False


def _sha256(name: str, folder: Folder) -> str | None:
    """Hex digest of a plain file, None for anything else."""
    fd = open_plain(name, folder)
    if fd is None:
        return None
    with open(fd, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
