"""A file on its way: under a name that only the store knows, until it gets its own."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Self

from caseus import durability
from caseus.errors import Unavailable
from caseus.storage.folders import Folder, Folders, told

INCOMING = ".incoming"
OWN = 0o700
"""Mode of the store's own folders."""
FILE = 0o644


class Temporary:
    """A new file in `.incoming` that nobody else can open, gone when closed unless it got a name.

    After a failed write or fsync it can't be synced any more: part of the bytes may be missing, and a second fsync
    would not tell (Linux reports a lost page once).
    """

    def __init__(self, folders: Folders) -> None:
        self.name = secrets.token_hex(16)
        self._folders = folders
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with told("take a file in"), self._folder() as folder:
            self.fd = os.open(self.name, flags, 0o600, dir_fd=folder.fd)
            fcntl.flock(self.fd, fcntl.LOCK_SH)  # `gc` takes away only what nobody holds
        self._sound_after = _SoundAfter()
        self._there = True

    def write(self, data: bytes | bytearray) -> None:
        with self._sound_after:
            write_all(self.fd, data)

    def stamp(self, time: float) -> None:
        with told("write a file"):
            set_time(self.fd, time)

    def show(self) -> None:
        """From now on it can be read by whoever finds it under a name."""
        with self._sound_after:
            os.fchmod(self.fd, FILE)

    def sync(self) -> None:
        with self._sound_after:
            os.fchmod(self.fd, FILE)
            durability.sync(self.fd)

    def link(self, folder: Folder, name: str) -> None:
        """Give it another name, never in the place of something. FileExistsError."""
        with self._folder() as own:
            os.link(self.name, name, src_dir_fd=own.fd, dst_dir_fd=folder.fd, follow_symlinks=False)

    def move(self, folder: Folder, name: str) -> None:
        """Give it that name instead of its own, never in the place of something. FileExistsError."""
        with self._folder() as own:
            os.link(self.name, name, src_dir_fd=own.fd, dst_dir_fd=folder.fd, follow_symlinks=False)
            with suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=own.fd)
        self._there = False

    def rename(self, path: str | Path, folder: Folder | None = None) -> None:
        """Give it that name instead of its own, in the place of what has it."""
        with self._folder() as own:
            os.rename(self.name, path, src_dir_fd=own.fd, dst_dir_fd=None if folder is None else folder.fd)
        self._there = False

    def unlink(self) -> None:
        if self._there:
            with suppress(FileNotFoundError), self._folder() as own:
                os.unlink(self.name, dir_fd=own.fd)
            self._there = False

    def close(self) -> None:
        if self.fd < 0:
            return
        fd, self.fd = self.fd, -1  # the number may be another file's from now on
        try:
            with told("forget a file"):
                self.unlink()
        finally:
            os.close(fd)

    def _folder(self) -> Folder:
        return self._folders.open([INCOMING], make=OWN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _SoundAfter(told):
    """Of a file of which all was written, until one step fails."""

    __slots__ = ("_sound",)

    def __init__(self) -> None:
        super().__init__("write a file")
        self._sound = True

    def __enter__(self) -> None:
        if not self._sound:
            raise Unavailable("a write to the store failed before: send the file again", kind="local")
        self._sound = False

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._sound = True
        else:
            super().__exit__(kind, error, trace)


def write_all(fd: int, data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def set_time(fd: int, time: float) -> None:
    """Set when the open file was last changed, if it is ours; what no file system can hold becomes what one can."""
    nanoseconds = max(-(1 << 63), min(round(time * 1e9), (1 << 63) - 1))
    with suppress(PermissionError):  # another user's file keeps its time
        os.utime(fd, ns=(nanoseconds, nanoseconds))
