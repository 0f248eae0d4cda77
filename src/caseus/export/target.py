"""Where an export writes: a folder of this machine, or any store."""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

from caseus.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from caseus.storage import Blob, Storage

StrPath = str | os.PathLike[str]

_CHUNK: Final = 1 << 20
_PAGE: Final = 1 << 16
_TEMPORARY: Final = re.compile(r"\..+\.new\Z", re.DOTALL).match
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Target(Protocol):
    """Pages under keys such as `simple/foo/index.html`. Each write is atomic. Unavailable where it fails.

    `empty`: nothing of an export is there yet, so nothing need be compared. `forks`: processes may write at once.
    """

    empty: bool
    forks: bool

    def read(self, key: str) -> bytes | None: ...
    def exists(self, key: str) -> bool: ...
    def write(self, key: str, data: bytes) -> None: ...
    def write_all(self, key: str, chunks: Iterator[bytes]) -> None: ...
    def place(self, key: str, path: StrPath) -> bool: ...  # a copy of the file, or a link; whether that changed it
    def open(self, key: str) -> BinaryIO | None: ...
    def delete(self, key: str) -> None: ...
    def sweep(self, folders: Sequence[str]) -> None: ...  # what a writer that was killed left there, and empty folders
    def names(self, folder: str) -> list[str]: ...  # what is right under it, folders with a slash at the end
    def signature(self, key: str) -> str | None: ...  # changes when somebody writes it; None where that is not known


class FolderTarget:
    """A folder. A file gets its name when it is whole; with `sync` it is on the disk then.

    A temporary file that a kill leaves behind is `.NAME.new`; `sweep` deletes it.
    """

    forks = True
    empty = False

    def __init__(self, root: StrPath, *, sync: bool = False) -> None:
        self.sync = sync
        self._at = f"{os.fspath(root)}/"
        self._made = ""

    def read(self, key: str) -> bytes | None:
        with _told("read"):
            try:
                fd = os.open(self._at + key, os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                if len(data := os.read(fd, _PAGE)) < _PAGE:  # of a plain file: that is all
                    return data
                return b"".join([data, *iter(partial(os.read, fd, os.fstat(fd).st_size), b"")])
            finally:
                os.close(fd)

    def exists(self, key: str) -> bool:
        return os.path.exists(self._at + key)

    def write(self, key: str, data: bytes) -> None:
        folder, slash, name = key.rpartition("/")
        path = self._at + key
        beside = f"{self._at}{folder}{slash}.{name}.new"
        try:
            if folder != self._made:
                self._make(folder)
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                fill(fd, data, sync=self.sync)
            finally:
                os.close(fd)
            os.rename(beside, path)
        except OSError as error:
            with suppress(OSError):  # space that it took, where there is no more
                os.unlink(beside)
            raise refused("write", error) from error

    def write_all(self, key: str, chunks: Iterator[bytes]) -> None:
        folder, slash, name = key.rpartition("/")
        beside = f"{self._at}{folder}{slash}.{name}.new"
        with _told("write"):
            self._make(folder)
            with open(beside, "wb", opener=_opener) as file:
                file.writelines(chunks)
                if self.sync:
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(beside, self._at + key)

    def place(self, key: str, path: StrPath) -> bool:
        folder, slash, name = key.rpartition("/")
        beside, there = f"{self._at}{folder}{slash}.{name}.new", self._at + key
        with _told("write"):
            status = os.stat(path)
            with suppress(FileNotFoundError, NotADirectoryError):
                known = os.stat(there)
                if os.path.samestat(status, known) or (status.st_size, status.st_mtime_ns) == (
                    known.st_size, known.st_mtime_ns,
                ):  # fmt: skip
                    return False
            self._make(folder)
            with suppress(FileNotFoundError):
                os.unlink(beside)
            try:
                os.link(path, beside)
            except OSError:  # another disk, or one without links
                import shutil

                shutil.copy2(path, beside)
            os.rename(beside, there)
        return True

    def open(self, key: str) -> BinaryIO | None:
        with _told("read"), suppress(FileNotFoundError):
            return open(self._at + key, "rb")
        return None

    def delete(self, key: str) -> None:
        """Folders that are empty then go too."""
        with _told("delete"), suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self._at + key)
        folder = key.rpartition("/")[0]
        self._made = ""
        while folder:
            try:
                os.rmdir(self._at + folder)
            except OSError:
                return
            folder = folder.rpartition("/")[0]

    def sweep(self, folders: Sequence[str]) -> None:
        with _told("delete"):
            for folder in folders:
                for path, _, names in os.walk(self._at + folder, topdown=False):
                    for name in filter(_TEMPORARY, names):
                        os.unlink(f"{path}/{name}")
                    with suppress(OSError):  # it is not empty
                        os.rmdir(path)

    def names(self, folder: str) -> list[str]:
        with _told("list"), suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._at + folder) as entries:
            return sorted(entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries)
        return []

    def signature(self, key: str) -> str | None:
        try:
            status = os.stat(self._at + key)
        except OSError:
            return None
        return f"{status.st_size} {status.st_mtime_ns}"

    def _make(self, folder: str) -> None:
        if folder:
            try:
                os.mkdir(self._at + folder)
            except FileExistsError:
                pass
            except FileNotFoundError:
                self._make(folder.rpartition("/")[0])
                with suppress(FileExistsError):  # another process may have been faster
                    os.mkdir(self._at + folder)
        self._made = folder


class StoredTarget:
    """A store, of which all keys are the tree's."""

    forks = False
    empty = False

    def __init__(self, store: Storage) -> None:
        self._store = store

    def read(self, key: str) -> bytes | None:
        try:
            with self._store.open(key) as blob:
                return b"".join(iter(blob.read, b""))
        except NotFound:
            return None

    def exists(self, key: str) -> bool:
        try:
            self._store.open(key).close()
        except NotFound:
            return False
        return True

    def write(self, key: str, data: bytes) -> None:
        self._store.replace(key, io.BytesIO(data))

    def write_all(self, key: str, chunks: Iterator[bytes]) -> None:
        self._store.replace(key, cast(BinaryIO, io.BufferedReader(_Joined(chunks))))

    def place(self, key: str, path: StrPath) -> bool:
        with open(path, "rb") as file:
            try:
                with self._store.open(key) as there:
                    if there.size == os.fstat(file.fileno()).st_size and _equal(there, file):
                        return False
            except NotFound:
                pass
            file.seek(0)
            self._store.replace(key, file)
        return True

    def open(self, key: str) -> BinaryIO | None:
        data = self.read(key)
        return None if data is None else io.BytesIO(data)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def sweep(self, folders: Sequence[str]) -> None:
        pass

    def names(self, folder: str) -> list[str]:
        found = (key[len(folder) + 1 :].partition("/") for key in self._store.keys(f"{folder}/"))
        return sorted({name + slash for name, slash, _ in found})

    def signature(self, key: str) -> str | None:
        return None


class _Joined(io.RawIOBase):
    """A file of these bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._left or next(self._chunks, b"")
        count = min(len(data), len(buffer))
        buffer[:count] = data[:count]
        self._left = data[count:]
        return count


def _equal(there: Blob, file: BinaryIO) -> bool:
    while data := there.read(_CHUNK):
        if file.read(len(data)) != data:
            return False
    return not file.read(1)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o644)


@contextmanager
def _told(doing: str) -> Iterator[None]:
    """What the system refuses, as Unavailable."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise refused(doing, error) from error


def fill(fd: int, data: bytes, *, sync: bool) -> None:
    """Write it all."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
    if sync:
        os.fsync(fd)


def refused(doing: str, error: OSError) -> Unavailable:
    """What the system refused, to be raised."""
    if error.errno in _FULL:
        return Unavailable("no space left for the tree: free some space and try again", kind="full")
    return Unavailable(f"can't {doing} {error.filename or 'the tree'}: {error.strerror}", kind="local")
