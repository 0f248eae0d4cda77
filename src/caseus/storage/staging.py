"""Bytes on their way into a folder: under no name yet, then linked to it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import lru_cache
from typing import BinaryIO, Protocol, TypeVar

from caseus import durability
from caseus.errors import Conflict, Invalid, Unavailable
from caseus.storage import check_key
from caseus.storage.folders import Folder, Folders, close_all, open_plain, told
from caseus.storage.temporary import Temporary, write_all

CHUNK = 1 << 20

IN_MEMORY = 1 << 20
"""Bytes that are held until they get their name: as many as are published in one transaction."""

_SHARED = 0o755
_FOLDERS_AT_ONCE = 16
_ATTEMPTS = 100

T = TypeVar("T")


class Hash(Protocol):
    def update(self, data: bytes | bytearray, /) -> None: ...
    def hexdigest(self) -> str: ...


def hashes_of(data: bytearray) -> dict[str, Hash]:
    """Of what was written so far."""
    hashes = new_hashes()
    for digest in hashes.values():
        digest.update(data)
    return hashes


def new_hashes() -> dict[str, Hash]:
    """Those that are told of every published file, by their names."""
    return {
        "md5": hashlib.md5(usedforsecurity=False),
        "sha256": hashlib.sha256(),
        "blake2b_256": hashlib.blake2b(digest_size=32),
    }


@lru_cache(1024)
def place_of(key: str) -> tuple[tuple[str, ...], str]:
    """The folders above it, and its name there; Invalid for an illegal key and for one in the store's own folders.

    Each upload asks it three times of each of its keys.
    """
    if key.startswith("."):
        raise Invalid(f"illegal storage key {key!r}: names with a dot in front belong to the store")
    *above, name = check_key(key).split("/")
    return tuple(above), name


def in_folder(folders: Folders, key: str, act: Callable[[Folder, str], T]) -> T:
    """Makes the key's folder and acts in it; again if a `delete` takes the empty folder away in between."""
    above, name = place_of(key)
    for _ in range(_ATTEMPTS):
        try:
            with folders.open(above, make=_SHARED) as folder:
                return act(folder, name)
        except FileNotFoundError:
            folders.forget(above)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def link_new(folders: Folders, key: str, fd: int, link: Callable[[Folder, str], None]) -> None:
    """Gives the open file the name `key` too, by `link`; fine if the key holds the same bytes, else Conflict."""

    def link_or_compare(folder: Folder, name: str) -> None:
        try:
            link(folder, name)
        except FileExistsError:
            if not same_bytes(fd, name, folder):
                raise Conflict(f"{key} already holds other bytes") from None
        folder.sync()  # also for what another process linked: it may have died before its own sync

    in_folder(folders, key, link_or_compare)


def sync_keys(folders: Folders, keys: Iterable[str], *, beside: bool, meanwhile: Callable[[], bool]) -> None:
    """Makes durable what the keys hold now, whoever wrote it, and their names. What is absent is passed over.

    `beside`: the folders themselves are durable, as something that is lies in them.

    All are on their way to the disk together, so that they share a commit of its journal.
    """
    names: dict[tuple[str, ...], list[str]] = {}
    for key in keys:
        above, name = place_of(key)
        names.setdefault(above, []).append(name)
    left = list(names.items())
    while left:
        _sync_folders(folders, left[:_FOLDERS_AT_ONCE], beside, meanwhile)
        del left[:_FOLDERS_AT_ONCE]


def _sync_folders(
    folders: Folders,
    wanted: Iterable[tuple[tuple[str, ...], Iterable[str]]],
    beside: bool,
    meanwhile: Callable[[], bool],
) -> None:
    with ExitStack() as stack:
        opened: dict[tuple[str, ...], int] = {}
        files: list[int] = []
        others: list[int] = []  # that nobody keeps open
        stack.callback(close_all, others)
        for above, names in wanted:
            try:
                folder = stack.enter_context(folders.open(above))
            except FileNotFoundError:
                continue
            for depth in range(len(above) if beside else 0, len(above) + 1):
                opened.setdefault(above[:depth], folder.fds[depth])
            for name in names:
                fd = folder.files.get(name)
                if fd is None:
                    with suppress(FileNotFoundError):
                        fd = open_plain(name, folder)
                    if fd is None:
                        continue
                    others.append(fd)
                files.append(fd)
        durability.sync_all([*files, *opened.values()], meanwhile)


def same_bytes(fd: int, name: str, folder: Folder) -> bool:
    """Whether the name is this very file or a plain file with the same bytes. FileNotFoundError."""
    other = open_plain(name, folder)
    if other is None:
        return False
    try:
        ours, theirs = os.fstat(fd), os.fstat(other)
        if os.path.samestat(ours, theirs):
            return True
        if ours.st_size != theirs.st_size:
            return False
        return all(os.pread(fd, CHUNK, at) == os.pread(other, CHUNK, at) for at in range(0, ours.st_size, CHUNK))
    finally:
        os.close(other)


def append(fd: int, data: bytes, *, behind: bytes) -> bool:
    """Add to the end of the open file if it ends with `behind` and has no other name; whether it was."""
    found = os.fstat(fd)
    if found.st_nlink != 1 or os.pread(fd, len(behind), max(found.st_size - len(behind), 0)) != behind:
        return False
    write_all(fd, data)
    return True


class FilesystemStaged:
    """Bytes on their way: few of them in memory until they get a name, more in `.incoming`, mode 0600 until synced."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._hashes: dict[str, Hash] | None = None
        """None as long as all is in memory: of a sidecar nobody asks for digests."""
        self._digests: dict[str, str] | None = None
        self._size = 0
        self._time: float | None = None
        self._synced = False
        self._named = False
        self._held = bytearray()
        """All that was written, as long as it is in memory; also when the file has it too."""
        self._temporary: Temporary | None = None

    @property
    def size(self) -> int:
        return self._size

    @property
    def digests(self) -> dict[str, str]:
        if self._digests is None:
            hashes = self._hashes or hashes_of(self._held)
            self._digests = {name: digest.hexdigest() for name, digest in hashes.items()}
        return dict(self._digests)

    def write(self, data: bytes, /) -> None:
        if self._temporary is None and len(self._held) + len(data) <= IN_MEMORY:
            self._held += data
        else:
            self._file().write(data)
            if self._hashes is None:
                self._hashes, self._held = hashes_of(self._held), bytearray()
            for digest in self._hashes.values():
                digest.update(data)
        self._size += len(data)
        self._synced = False
        self._digests = None

    def reader(self) -> BinaryIO:
        if self._hashes is None:
            return io.BytesIO(self._held)
        with told("read a file"):
            return io.BufferedReader(_PositionalReader(os.dup(self._file().fd)))

    def stamp(self, time: float) -> None:
        self._time = time
        if self._temporary is not None:
            self._temporary.stamp(time)
        self._synced = False

    def sync(self) -> None:
        if not self._synced:
            self._file().sync()
            self._synced = True

    def commit(self, key: str) -> None:
        place_of(key)
        if self._is_named(key):
            return
        self.sync()
        temporary = self._file()
        with told("name a file"):
            link_new(self._folders, key, temporary.fd, temporary.link)
            self._named = True
            temporary.unlink()

    def link(self, key: str) -> None:
        place_of(key)
        if self._is_named(key):
            return
        self._file().show()
        with told("name a file"):
            try:
                in_folder(self._folders, key, self._move)
            except FileExistsError:
                raise Conflict(f"{key} already holds bytes from elsewhere") from None

    def _move(self, folder: Folder, name: str) -> None:
        """To its name; a folder that is kept keeps a file that is in memory too, which a `sync` then finds open."""
        temporary = self._file()
        temporary.move(folder, name)
        self._named = True
        if self._hashes is None and self._folders.keep(folder, name, temporary.fd):
            temporary.fd = -1
            self._temporary = None

    def _file(self) -> Temporary:
        """The file in `.incoming`, from now on with all that was written."""
        if self._temporary is None:
            self._temporary = Temporary(self._folders)
            self._temporary.write(self._held)
            if self._time is not None:
                self._temporary.stamp(self._time)
        return self._temporary

    def _is_named(self, key: str) -> bool:
        if self._named and not self.holds(key):
            raise Unavailable("these bytes were named already: stage them again", kind="local")
        return self._named

    def holds(self, key: str) -> bool:
        above, name = place_of(key)
        try:
            with told("look at a file", absence=True), self._folders.open(above) as folder:
                return same_bytes(self._file().fd, name, folder)
        except FileNotFoundError:
            return False

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.close()


class _PositionalReader(io.RawIOBase):
    """Reads a descriptor at its own offset, so that writing goes on at the descriptor's."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = os.preadv(self._fd, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: os.fstat(self._fd).st_size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()
