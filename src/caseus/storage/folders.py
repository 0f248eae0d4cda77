"""Folders of a store held by descriptor, so that a link planted inside the store leads nobody out of it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from caseus import durability
from caseus.errors import Unavailable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MOST_KEPT = 64
_MOST_FILES = 16  # of what eight upload at once; each is a descriptor that others may need


class told:  # it reads as the words around it
    """Turns what the system refuses into Unavailable; `doing` completes "the store can't ...". No path is told.

    `absence`: FileNotFoundError goes through, and so does a file where a folder was looked for, as FileNotFoundError.
    """

    __slots__ = ("_absence", "_doing")

    def __init__(self, doing: str, *, absence: bool = False) -> None:
        self._doing, self._absence = doing, absence

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if self._absence and isinstance(error, FileNotFoundError | NotADirectoryError):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
        if error.errno in _FULL:
            raise Unavailable("no space left in the store: free some space and try again", kind="full") from error
        reason = error.strerror or "unknown error"
        raise Unavailable(f"the store can't {self._doing}: {reason}", kind="local") from error


class Folder:
    """An open folder together with the folders above it, up to the root; a context manager that closes them.

    The root may be a link (that is the operator's choice); nothing below it is followed. `kept`: somebody else closes.
    """

    def __init__(self, fds: Sequence[int], names: Sequence[str], *, kept: bool = False) -> None:
        self.fds = tuple(fds)
        """Of the root, of those in between, and of this one."""
        self.fd = self.fds[-1]
        self._names = tuple(names)
        self.kept = kept
        self.files: dict[str, int] = {}
        """Where it is kept: files that got a name here meanwhile, which are closed with it."""

    @classmethod
    def open(cls, root: Path, names: Sequence[str], *, make: int | None = None) -> Self:
        """Opens root/names…, making what is missing with mode `make` if that is given.

        FileNotFoundError (also if another process takes an empty folder away meanwhile), NotADirectoryError for a
        file, OSError(ELOOP) for a link. Unavailable if the root is gone: then nobody knows what the store holds.
        """
        fds = [_open_root(root)]
        try:
            for name in names:
                fds.append(_open_or_make(name, fds[-1], make))
        except BaseException:
            close_all(fds)
            raise
        return cls(fds, names)

    def sync(self) -> None:
        """Makes the folder's entries durable, and its own in those above it.

        All the way up, each time: who finds a folder made by another process can't know whether that one got as far as
        its own fsync. On a folder that did not change it costs some 35 µs.
        """
        for fd in reversed(self.fds):
            durability.sync(fd)

    def remove_if_empty(self) -> None:
        """Removes the folder and those above it that hold nothing; never the root."""
        for name, above in zip(reversed(self._names), reversed(self.fds[:-1]), strict=True):
            try:
                os.rmdir(name, dir_fd=above)
            except OSError:
                return

    def close(self) -> None:
        if not self.kept:
            close_all(self.fds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self.kept:
            close_all(self.fds)


class _Kept:
    """What a thread keeps open."""

    def __init__(self) -> None:
        self.folders: dict[tuple[str, ...], Folder] = {}
        self.files = 0

    def close(self, places: Iterable[tuple[str, ...]]) -> None:
        for place in places:
            folder = self.folders.pop(place)
            self.files -= len(folder.files)
            close_all((folder.fd, *folder.files.values()))


class Folders:
    """Opens folders below `root`. A thread may keep those that it opens, to find them open for what it does next."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._of_thread = threading.local()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Until its end, what this thread opens stays open, and is the same folder; not to be nested."""
        kept = self._of_thread.kept = _Kept()
        try:
            yield
        finally:
            self._of_thread.kept = None
            kept.close(list(kept.folders))

    def open(self, names: Sequence[str], *, make: int | None = None) -> Folder:
        """As `Folder.open`."""
        kept, place = self._kept(), tuple(names)
        if kept is not None:
            folder = kept.folders.get(place)
            if folder is not None:
                return folder
            if len(kept.folders) < _MOST_KEPT:
                above = self.open(place[:-1], make=make).fds if place else ()
                fd = _open_or_make(place[-1], above[-1], make) if place else _open_root(self.root)
                folder = kept.folders[place] = Folder((*above, fd), place, kept=True)
                return folder
        return Folder.open(self.root, place, make=make)

    def keep(self, folder: Folder, name: str, fd: int) -> bool:
        """Keep the file that got this name there open as long as the folder; False if it is still the caller's."""
        kept = self._kept()
        if kept is None or not folder.kept or kept.files >= _MOST_FILES:
            return False
        if name in folder.files:  # what had the name before was set aside
            os.close(folder.files[name])
            kept.files -= 1
        folder.files[name] = fd
        kept.files += 1
        return True

    def forget(self, names: Sequence[str]) -> None:
        """The folder, or one above it, may be gone: open anew what is in the same one at the top, and not in use."""
        kept, top = self._kept(), tuple(names[:1])
        if kept is not None:
            kept.close([place for place in kept.folders if place and place[:1] == top])

    def _kept(self) -> _Kept | None:
        return getattr(self._of_thread, "kept", None)


def _open_root(root: Path) -> int:
    try:
        return os.open(root, _FOLDER)
    except FileNotFoundError as error:
        raise Unavailable("the store's folder is gone: is its disk mounted?", kind="local") from error


def _open_or_make(name: str, above: int, make: int | None) -> int:
    try:
        return _open_one(name, above)
    except FileNotFoundError:
        if make is None:
            raise
        with suppress(FileExistsError):
            os.mkdir(name, make, dir_fd=above)
        return _open_one(name, above)


def _open_one(name: str, above: int) -> int:
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    except NotADirectoryError:
        # Linux says this of a link too where both flags are given.
        if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def make_root(root: Path) -> None:
    """Makes the folder and those above it where they are missing, mode 0700, durably."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    for folder in reversed(missing):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        fd = os.open(folder.parent, _FOLDER)
        try:
            durability.sync(fd)
        finally:
            os.close(fd)


def open_plain(name: str, folder: Folder, flags: int = os.O_RDONLY) -> int | None:
    """A descriptor of the plain file, for reading unless `flags` say more; None for anything else, such as a link.

    FileNotFoundError. Not blocking, so that a planted pipe can't hold the opener.
    """
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder.fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link; a socket; a folder, for writing
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None
