"""Bytes on their way into a folder: under no name yet, then linked to it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, Self, TypeVar

from caseus import durability
from caseus.errors import Conflict, Invalid, Unavailable
from caseus.storage import check_key
from caseus.storage.folders import Folder, open_plain, told

INCOMING = ".incoming"
OWN = 0o700
"""Mode of the store's own folders."""
FILE = 0o644
CHUNK = 1 << 20

IN_MEMORY = 1 << 20
"""Bytes that are held until they get their name: as many as are published in one transaction."""

_SHARED = 0o755
_FOLDERS_AT_ONCE = 16
_ATTEMPTS = 100

T = TypeVar("T")


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def new_hashes() -> dict[str, Hash]:
    """Those that are told of every published file, by their names."""
    return {
        "md5": hashlib.md5(usedforsecurity=False),
        "sha256": hashlib.sha256(),
        "blake2b_256": hashlib.blake2b(digest_size=32),
    }


def own_segments(key: str) -> list[str]:
    """The key's segments; Invalid for an illegal key and for one in the store's own folders."""
    if key.startswith("."):
        raise Invalid(f"illegal storage key {key!r}: names with a dot in front belong to the store")
    return check_key(key).split("/")


def in_folder(root: Path, key: str, act: Callable[[Folder, str], T]) -> T:
    """Makes the key's folder and acts in it; again if a `delete` takes the empty folder away in between."""
    *folders, name = own_segments(key)
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError), Folder.open(root, folders, make=_SHARED) as folder:
            return act(folder, name)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def link_new(root: Path, key: str, fd: int, source: str, source_folder: Folder | None = None) -> None:
    """Gives the open file `source` the name `key` too; fine if the key holds the same bytes, else Conflict."""
    source_fd = None if source_folder is None else source_folder.fd

    def link(folder: Folder, name: str) -> None:
        try:
            os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=folder.fd, follow_symlinks=False)
        except FileExistsError:
            if not same_bytes(fd, name, folder):
                raise Conflict(f"{key} already holds other bytes") from None
        folder.sync()  # also for what another process linked: it may have died before its own sync

    in_folder(root, key, link)


def sync_keys(root: Path, keys: Iterable[str], *, beside: bool = False) -> None:
    """Makes durable what the keys hold now, whoever wrote it, and their names. What is absent is passed over.

    `beside`: the folders themselves are durable, as something that is lies in them.

    All are on their way to the disk before the first is waited for, so that they share a commit of its journal.
    """
    names: dict[tuple[str, ...], list[str]] = {}
    for key in keys:
        *above, name = own_segments(key)
        names.setdefault(tuple(above), []).append(name)
    left = list(names.items())
    while left:
        _sync_folders(root, left[:_FOLDERS_AT_ONCE], beside=beside)
        del left[:_FOLDERS_AT_ONCE]


def _sync_folders(root: Path, wanted: Iterable[tuple[tuple[str, ...], Iterable[str]]], *, beside: bool) -> None:
    with ExitStack() as stack:
        folders: dict[tuple[str, ...], int] = {}
        files: list[int] = []
        for above, names in wanted:
            try:
                folder = stack.enter_context(Folder.open(root, above))
            except FileNotFoundError:
                continue
            for depth in range(len(above) if beside else 0, len(above) + 1):
                folders.setdefault(above[:depth], folder.fds[depth])
            for name in names:
                with suppress(FileNotFoundError):
                    fd = open_plain(name, folder)
                    if fd is not None:
                        stack.callback(os.close, fd)
                        files.append(fd)
        for fd in files:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # Linux: starts to write, and does not wait
        durability.sync_all([*files, *folders.values()])


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


def write_all(fd: int, data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def set_time(fd: int, time: float) -> None:
    """Set when the open file was last changed, if it is ours; what no file system can hold becomes what one can."""
    nanoseconds = max(-(1 << 63), min(round(time * 1e9), (1 << 63) - 1))
    with suppress(PermissionError):  # another user's file keeps its time
        os.utime(fd, ns=(nanoseconds, nanoseconds))


class Temporary:
    """A new file in `.incoming` that nobody else can open, gone when closed unless it got a name.

    After a failed write or fsync it can't be synced any more: part of the bytes may be missing, and a second fsync
    would not tell (Linux reports a lost page once).
    """

    def __init__(self, root: Path) -> None:
        self.name = secrets.token_hex(16)
        with told("take a file in"):
            self.folder = Folder.open(root, [INCOMING], make=OWN)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self.fd = os.open(self.name, flags, 0o600, dir_fd=self.folder.fd)
                fcntl.flock(self.fd, fcntl.LOCK_SH)  # `gc` takes away only what nobody holds
            except BaseException:
                self.folder.close()
                raise
        self._sound = True
        self._there = True

    def write(self, data: bytes | bytearray) -> None:
        with self._sound_after():
            write_all(self.fd, data)

    def stamp(self, time: float) -> None:
        with told("write a file"):
            set_time(self.fd, time)

    def show(self) -> None:
        """From now on it can be read by whoever finds it under a name."""
        with self._sound_after():
            os.fchmod(self.fd, FILE)

    def sync(self) -> None:
        with self._sound_after():
            os.fchmod(self.fd, FILE)
            durability.sync(self.fd)

    def unlink(self) -> None:
        if self._there:
            with suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self.folder.fd)
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
            self.folder.close()

    @contextmanager
    def _sound_after(self) -> Iterator[None]:
        if not self._sound:
            raise Unavailable("a write to the store failed before: send the file again", kind="local")
        self._sound = False
        with told("write a file"):
            yield
        self._sound = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FilesystemStaged:
    """Bytes on their way: few of them in memory until they get a name, more in `.incoming`, mode 0600 until synced."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._hashes = new_hashes()
        self._digests: dict[str, str] | None = None
        self._size = 0
        self._time: float | None = None
        self._synced = False
        self._named = False
        self._held: bytearray | None = bytearray()
        """All that was written, as long as it is in memory."""
        self._temporary: Temporary | None = None

    @property
    def size(self) -> int:
        return self._size

    @property
    def digests(self) -> dict[str, str]:
        if self._digests is None:
            self._digests = {name: digest.hexdigest() for name, digest in self._hashes.items()}
        return dict(self._digests)

    def write(self, data: bytes, /) -> None:
        if self._held is not None and len(self._held) + len(data) <= IN_MEMORY:
            self._held += data
        else:
            self._file().write(data)
        for digest in self._hashes.values():
            digest.update(data)
        self._size += len(data)
        self._synced = False
        self._digests = None

    def reader(self) -> BinaryIO:
        if self._held is not None:
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
        own_segments(key)
        if self._is_named(key):
            return
        self.sync()
        temporary = self._file()
        with told("name a file"):
            link_new(self._root, key, temporary.fd, temporary.name, temporary.folder)
            self._named = True
            temporary.unlink()

    def link(self, key: str) -> None:
        own_segments(key)
        if self._is_named(key):
            return
        temporary = self._file()
        temporary.show()

        def link(folder: Folder, name: str) -> None:
            os.link(temporary.name, name, src_dir_fd=temporary.folder.fd, dst_dir_fd=folder.fd, follow_symlinks=False)

        with told("name a file"):
            try:
                in_folder(self._root, key, link)
            except FileExistsError:
                raise Conflict(f"{key} already holds bytes from elsewhere") from None
            self._named = True
            temporary.unlink()

    def _file(self) -> Temporary:
        """The file in `.incoming`, from now on with all that was written."""
        if self._temporary is None:
            self._temporary = Temporary(self._root)
        if self._held is not None:
            held, self._held = self._held, None
            self._temporary.write(held)
            if self._time is not None:
                self._temporary.stamp(self._time)
        return self._temporary

    def _is_named(self, key: str) -> bool:
        if self._named and not self.holds(key):
            raise Unavailable("these bytes were named already: stage them again", kind="local")
        return self._named

    def holds(self, key: str) -> bool:
        *folders, name = own_segments(key)
        try:
            with told("look at a file", absence=True), Folder.open(self._root, folders) as folder:
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
