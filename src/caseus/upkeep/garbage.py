"""Bytes that nothing refers to: what cut-off uploads, deletions and killed processes leave.

Each is looked at again right before it goes, in a place where nobody can claim, publish or fetch it meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import msgspec

from caseus.catalog import Catalog, FetchedFile, HostedFile, Tombstone
from caseus.errors import NotFound
from caseus.fill.fills import FOLDER as FILL
from caseus.fill.part import Part
from caseus.names import split_sidecar
from caseus.packages import read_lines
from caseus.storage import MARKERS
from caseus.storage.filesystem import ORPHANS, FilesystemStorage
from caseus.storage.temporary import INCOMING
from caseus.upkeep.holding import holding
from caseus.verify import is_put_back

DEFAULT_AGE = 86_400.0
"""Seconds for which bytes are left alone."""

_FRESH = 60.0  # an upload or a fetch opens its file a moment before it locks it
_LIST = "packages.jsonl"

Kind = Literal["deleted", "unknown", "sidecar", "list", "orphan", "upload", "fetch", "uncached"]


class Garbage(msgspec.Struct, frozen=True):
    """`key`: its path below ROOT. `size` in bytes; `age` in seconds since the last change, or since its deletion."""

    kind: Kind
    key: str
    size: int
    age: float


class Collector:
    """Finds garbage that is older than `older_than` seconds, and takes it away unless `dry_run`.

    `seen` is called for each file that was looked at. `kept`, after a run: files that the catalog doesn't know but the
    list beside them does. They were published, so it is the catalog that is behind (an older backup of it?), and nobody
    may take them.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: FilesystemStorage,
        *,
        older_than: float = DEFAULT_AGE,
        dry_run: bool = False,
        seen: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog, self._store = catalog, store
        self._older_than, self._dry_run, self._seen, self._clock = older_than, dry_run, seen, clock
        self.kept: list[str] = []

    def run(self) -> Iterator[Garbage]:
        """What was taken, or would be, as it is found. Busy while a backup or another run has the folder."""
        with holding(self._store.root, alone=True, others="a backup or another `caseus gc`"):
            yield from self._hosted()
            yield from self._fetched()
            yield from self._left_in(ORPHANS, "orphan", held=False)
            yield from self._left_in(INCOMING, "upload")
            yield from self._left_in(FILL, "fetch")

    # Under files/: what has no row.

    def _hosted(self) -> Iterator[Garbage]:
        for folder, keys in groupby(self._store.keys("files/"), key=_folder):
            tree, _, project = folder.rpartition("/")
            rows = {file.filename: file for file in self._catalog.hosted_files(tree, project)}
            graves = {grave.filename: grave for grave in self._catalog.tombstones(tree, project)}
            names = [key.rpartition("/")[2] for key in keys]
            listed = self._listed(folder) if _LIST in names else frozenset()
            put_back = {name for name in names if name in graves and is_put_back(self._store, graves[name])}
            for name in names:
                self._seen()
                key = f"{folder}/{name}"
                base, ending = split_sidecar(name)
                if name in MARKERS or base in put_back:
                    continue  # somebody's, who has not said yet what is to become of it
                if name == _LIST:
                    if not rows and not graves and not listed:
                        yield from self._take("list", key, partial(self._drop_list, tree, project, key))
                elif base not in rows and base not in graves and (base in listed or _LIST in listed):
                    self.kept.append(key)
                elif kind := _kind(base, ending, rows, graves, names):
                    drop = partial(self._catalog.discard, tree, base, ending, partial(self._store.delete, key))
                    since = graves[base].deleted if base in graves else None
                    yield from self._take(kind, key, drop, since=since)

    def _listed(self, folder: str) -> frozenset[str]:
        """Files that the list says are published; a line that can't be read may mean any, which `_LIST` stands for."""
        try:
            with self._store.open(f"{folder}/{_LIST}") as blob:
                found, broken = read_lines(b"".join(iter(blob.read, b"")))
        except NotFound:
            return frozenset()
        return frozenset({line.filename for line in found if line.deleted is None} | ({_LIST} if broken else set()))

    def _drop_list(self, tree: str, project: str, key: str) -> bool:
        def drop() -> bool:
            if self._catalog.hosted_files(tree, project) or self._catalog.tombstones(tree, project):
                return False
            self._store.delete(key)
            return True

        return self._catalog.alone(drop)

    # Under fetched/: what the catalog doesn't count as stored.

    def _fetched(self) -> Iterator[Garbage]:
        for folder, keys in groupby(self._store.keys("fetched/"), key=_folder):
            tree, _, project = folder.rpartition("/")
            facts = self._catalog.fetched_files(tree, project)
            for key in keys:
                self._seen()
                name, ending = split_sidecar(key.rpartition("/")[2])
                fact = facts.get(name)
                if not _is_known(fact, ending):
                    yield from self._take("uncached", key, partial(self._drop_fetched, tree, project, name, key))

    def _drop_fetched(self, tree: str, project: str, name: str, key: str) -> bool:
        """With the lock of whoever fetches it: its bytes get their name a moment before the catalog knows them."""
        folder = self._store.root / FILL
        folder.mkdir(mode=0o700, exist_ok=True)
        part = Part(folder, f"{tree}/{project}/{name}")
        lock = part.take()
        if lock is None:
            return False
        try:
            if _is_known(self._catalog.fetched(tree, project, name), key.removeprefix(f"{tree}/{project}/{name}")):
                return False
            self._store.delete(key)
            return True
        finally:
            part.remove(lock)
            os.close(lock)

    # In the store's own folders: what nobody holds.

    def _left_in(self, folder: str, kind: Kind, *, held: bool = True) -> Iterator[Garbage]:
        with suppress(FileNotFoundError):
            for path in sorted((self._store.root / folder).iterdir()):
                oldest = max(self._older_than, _FRESH) if held else self._older_than
                drop = partial(_drop_unheld if held else _drop, path)
                if not (held and _is_held(path)):
                    yield from self._take(kind, f"{folder}/{path.name}", drop, older_than=oldest)

    def _take(
        self,
        kind: Kind,
        key: str,
        drop: Callable[[], bool],
        *,
        since: float | None = None,
        older_than: float | None = None,
    ) -> Iterator[Garbage]:
        """One, if it is old enough and nobody needs it after all."""
        try:
            status = os.lstat(self._store.root / key)
        except FileNotFoundError:
            return
        # A file keeps the time of its writing when it gets its name; that changes the time of the inode.
        age = self._clock() - max(status.st_mtime, status.st_ctime, since or 0)
        limit = self._older_than if older_than is None else older_than
        if age >= limit and (self._dry_run or drop()):
            yield Garbage(kind, key, status.st_size, age)


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _kind(
    base: str, ending: str, rows: dict[str, HostedFile], graves: dict[str, Tombstone], names: list[str]
) -> Kind | None:
    """Why nothing refers to the bytes; None if something does."""
    row = rows.get(base)
    if row is not None:
        has = {"": True, ".metadata": row.metadata_sha256 is not None, ".asc": row.has_sig}
        return None if has.get(ending, True) else "sidecar"
    if base in graves:
        return "deleted"
    return "sidecar" if ending and base not in names else "unknown"


def _is_known(fact: FetchedFile | None, ending: str) -> bool:
    """Whether the catalog knows the fetched file, or its sidecar of that ending; of signatures it keeps no record."""
    if fact is None or not ending:
        return fact is not None and fact.stored
    return ending == ".asc" or fact.metadata_sha256 is not None


def _drop(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True


def _is_held(path: Path) -> bool:
    """Whether a process has it locked; of what lies beside a part, whether the part is."""
    part = path.with_name(path.name.partition(".")[0] + ".part") if path.parent.name == FILL else path
    try:
        fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _drop_unheld(path: Path) -> bool:
    """Under its lock: a fetch that was broken off may just now be taken up again."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False)):
            return False
        path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(fd)
    return True
