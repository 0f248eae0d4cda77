"""A store in a folder of this machine: a tree that a person can read.

What was promised durable is so after a power loss: the file is synced before it gets its name, and the folders after.
Names are given by link(2), which never replaces, so that of any number of writers on any number of processes one wins.
Beside the tree there are the store's own folders: `.incoming` (bytes under no name yet) and `.orphans` (bytes that no
fact knows, set aside).
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from caseus.errors import Conflict, Invalid, NotFound, Unavailable
from caseus.storage import check_key
from caseus.storage.blobs import FileBlob
from caseus.storage.folders import Folder, make_root, open_plain, told

__all__ = ["FileBlob", "FilesystemStorage"]

INCOMING = ".incoming"
ORPHANS = ".orphans"

_OWN = 0o700  # mode of the store's own folders
_SHARED = 0o755
_FILE = 0o644
_CHUNK = 1 << 20
_ATTEMPTS = 100
_ORPHAN_NAME = 200  # characters of a key that are kept in an orphan's name; a filename can have 255

T = TypeVar("T")


class FilesystemStorage:
    """The store under `root`, which is made if missing. Holds no state: any number may share a root."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        with told("make its folder"):
            make_root(self.root)

    def stage(self) -> FilesystemStaged:
        return FilesystemStaged(self)

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
                os.fchmod(fd, _FILE)
                self._name(key, fd, str(path), None)
            finally:
                os.close(fd)

    def replace(self, key: str, source: BinaryIO) -> None:
        _split(key)
        with _Temporary(self) as temporary:
            while data := source.read(_CHUNK):
                temporary.write(data)
            temporary.sync()

            def rename(folder: Folder, name: str) -> None:
                os.rename(temporary.name, name, src_dir_fd=temporary.folder.fd, dst_dir_fd=folder.fd)
                folder.sync()

            with told("replace a file"):
                self._in_folder(key, rename)

    def set_aside(self, key: str, digest: str) -> None:
        *folders, name = _split(key)
        orphan = f"{key.replace('/', '%')[-_ORPHAN_NAME:]}.{secrets.token_hex(8)}"
        with (
            suppress(FileNotFoundError),
            told("set a file aside", missing_ok=True),
            Folder.open(self.root, folders) as folder,
        ):
            if _sha256(name, folder) == digest:
                return
            with Folder.open(self.root, [ORPHANS], make=_OWN) as orphans:
                os.rename(name, orphan, src_dir_fd=folder.fd, dst_dir_fd=orphans.fd)
                orphans.sync()
            folder.sync()

    def open(self, key: str, start: int = 0, stop: int | None = None) -> FileBlob:
        *folders, name = _split(key)
        try:
            with told("open a file", missing_ok=True), Folder.open(self.root, folders) as folder:
                fd = open_plain(name, folder)
                if fd is None and stat.S_ISDIR(os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mode):
                    raise FileNotFoundError
        except FileNotFoundError:
            raise NotFound(f"nothing is stored under {key}") from None
        if fd is None:
            raise Unavailable(f"what is stored under {key} is no plain file: run `caseus verify`", kind="local")
        return FileBlob(fd, start, stop)

    def delete(self, key: str) -> None:
        *folders, name = _split(key)
        with (
            suppress(FileNotFoundError),
            told("delete a file", missing_ok=True),
            Folder.open(self.root, folders) as folder,
        ):
            os.unlink(name, dir_fd=folder.fd)
            os.fsync(folder.fd)
            folder.remove_if_empty()

    def keys(self, prefix: str = "") -> Iterator[str]:
        above = prefix.rpartition("/")[0]
        if prefix.startswith(".") or (above and not _is_key(above)):
            return iter(())
        return self._walk(above.split("/") if above else [], prefix)

    def url(self, key: str, expires: timedelta) -> str | None:
        return None

    def clean(self) -> None:
        """Empties `.incoming`. Only while nothing else uses the root: it takes others' uploads away."""
        with told("clean its folder"), Folder.open(self.root, [INCOMING], make=_OWN) as folder:
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
            suppress(FileNotFoundError, NotADirectoryError),
            told("list a folder", missing_ok=True),
            Folder.open(self.root, folders) as folder,
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

    def _name(self, key: str, fd: int, source: str, source_folder: Folder | None) -> None:
        """Links the open file to the key, create-if-absent; fine if the key holds the same bytes, else Conflict."""
        source_fd = None if source_folder is None else source_folder.fd

        def link(folder: Folder, name: str) -> None:
            try:
                os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=folder.fd, follow_symlinks=False)
            except FileExistsError:
                if not _same_bytes(fd, name, folder):
                    raise Conflict(f"{key} already holds other bytes") from None
            folder.sync()  # also for what another process linked: it may have died before its own sync

        self._in_folder(key, link)

    def _in_folder(self, key: str, act: Callable[[Folder, str], T]) -> T:
        """Makes the key's folder and acts in it; again if a `delete` takes the empty folder away in between."""
        *folders, name = _split(key)
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError), Folder.open(self.root, folders, make=_SHARED) as folder:
                return act(folder, name)
        raise FileNotFoundError(2, "No such file or directory")


class _Temporary:
    """A new file in `.incoming` that nobody else can open, gone when closed unless it got a name."""

    def __init__(self, store: FilesystemStorage) -> None:
        self.name = secrets.token_hex(16)
        with told("take a file in"):
            self.folder = Folder.open(store.root, [INCOMING], make=_OWN)
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self.fd = os.open(self.name, flags, 0o600, dir_fd=self.folder.fd)
            except BaseException:
                self.folder.close()
                raise
        self.closed = False

    def write(self, data: bytes | memoryview) -> None:
        with told("write a file"):
            left = memoryview(data)
            while left:
                left = left[os.write(self.fd, left) :]

    def sync(self) -> None:
        with told("write a file"):
            os.fchmod(self.fd, _FILE)
            os.fsync(self.fd)

    def unlink(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self.folder.fd)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            with told("forget a file"):
                self.unlink()
        finally:
            os.close(self.fd)
            self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FilesystemStaged:
    """Bytes in `.incoming`, mode 0600 until they are synced."""

    def __init__(self, store: FilesystemStorage) -> None:
        self._store = store
        self._hashes = {
            "md5": hashlib.md5(usedforsecurity=False),
            "sha256": hashlib.sha256(),
            "blake2b_256": hashlib.blake2b(digest_size=32),
        }
        self._size = 0
        self._synced = False
        self._temporary = _Temporary(store)

    @property
    def size(self) -> int:
        return self._size

    @property
    def digests(self) -> dict[str, str]:
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}

    def write(self, data: bytes, /) -> None:
        self._temporary.write(data)
        for digest in self._hashes.values():
            digest.update(data)
        self._size += len(data)
        self._synced = False

    def reader(self) -> BinaryIO:
        return io.BufferedReader(_PositionalReader(os.dup(self._temporary.fd)))

    def sync(self) -> None:
        if not self._synced:
            self._temporary.sync()
            self._synced = True

    def commit(self, key: str) -> None:
        self.sync()
        temporary = self._temporary
        with told("name a file"):
            self._store._name(key, temporary.fd, temporary.name, temporary.folder)
            temporary.unlink()

    def holds(self, key: str) -> bool:
        *folders, name = _split(key)
        with told("look at a file"):
            try:
                with Folder.open(self._store.root, folders) as folder:
                    return _same_bytes(self._temporary.fd, name, folder)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def close(self) -> None:
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


def _split(key: str) -> list[str]:
    """The key's segments; Invalid for an illegal key and for those in the store's own folders."""
    if key.startswith("."):
        raise Invalid(f"illegal storage key {key!r}: names with a dot in front belong to the store")
    return check_key(key).split("/")


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


def _same_bytes(fd: int, name: str, folder: Folder) -> bool:
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
        return all(
            os.pread(fd, _CHUNK, at) == os.pread(other, _CHUNK, at) for at in range(0, ours.st_size, _CHUNK)
        )
    finally:
        os.close(other)
