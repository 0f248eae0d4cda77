"""A backup of a folder that is in use: the facts as they are at one moment, then the bytes that these name.

Bytes come before facts and go long after them, and `gc` is held off: what the facts name is there to be copied. What is
fetched is left out, and so are locks, `admin-password` and uploads on their way.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from caseus import __version__
from caseus.catalog import Catalog, HostedFile
from caseus.errors import Unavailable
from caseus.packages import PackageLists
from caseus.storage import MARKERS, file_key, packages_key
from caseus.storage.filesystem import FilesystemStorage
from caseus.upkeep import manifest as manifests
from caseus.upkeep.copying import copy, digest_of, size_of
from caseus.upkeep.disk import sync_file, sync_folder, write_file
from caseus.upkeep.holding import LOCK, holding
from caseus.upkeep.manifest import Manifest, NoBackup
from caseus.upkeep.progress import SILENT, Progress
from caseus.verify import Damage, count_files, verify

CATALOG = "catalog.sqlite"
CONFIG = "caseus.toml"
_WORK = ".new"
_IGNORED = ("lost+found", LOCK)


class Report(NamedTuple):
    """`copied`: files and sidecars that the target did not have; `damages`: what could not be backed up."""

    manifest: Manifest
    copied: int
    damages: list[Damage]


class Backup:
    """Of `root` into `target`, which is empty or holds an earlier backup: only what is new is copied."""

    def __init__(
        self,
        root: Path,
        target: Path,
        *,
        progress: Progress = SILENT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root, self._target = root, target
        self._progress, self._clock = progress, clock
        self._source = FilesystemStorage(root)
        self._copied = 0
        self._digests: dict[str, str] = {}

    def run(self) -> Report:
        """NoBackup if the target is neither empty nor a backup; Busy; Unavailable. A kill leaves the earlier backup."""
        prepare(self._root, self._target)
        with (
            holding(self._root, alone=False, others="`caseus gc`"),
            holding(self._target, alone=True, others="another backup or a restore"),
        ):
            work = self._target / _WORK
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(mode=0o700)
            try:
                return self._run(work)
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def _run(self, work: Path) -> Report:
        self._snapshot(work / CATALOG)
        store = FilesystemStorage(self._target)
        catalog = Catalog.open(work, clock=self._clock)
        try:
            catalog.clear_claims()
            catalog.clear_stored()
            self._refuse_older(catalog.serial())
            self._progress.begin("copying", catalog.totals().files)
            damages = list(self._bring(catalog, store))
            self._bring_markers(catalog, store)
            self._write_lists(catalog, store)
            self._progress.begin("verifying", count_files(catalog))
            damages += self._mend(catalog, store, {damage.key for damage in damages})
            serial, size = catalog.serial(), catalog.totals().bytes
        finally:
            catalog.close()
        self._copy_config()
        return Report(self._finish(work / CATALOG, store, serial, size), self._copied, damages)

    def _snapshot(self, path: Path) -> None:
        """By SQLite's own means, which see one moment while others write."""
        catalog = Catalog.open(self._root)  # brings an older one up to date, and at its end checkpoints under the lock
        try:
            with closing(sqlite3.connect(self._root / CATALOG, timeout=30)) as source:
                source.execute("PRAGMA wal_autocheckpoint = 0")
                with closing(sqlite3.connect(path)) as copied:
                    source.backup(copied)
        except sqlite3.Error as error:
            raise Unavailable(f"the catalog can't be copied: {error}", kind="local") from None
        finally:
            catalog.close()

    def _refuse_older(self, serial: int) -> None:
        """What the catalog doesn't know goes from the backup: that must not be because the index was lost."""
        earlier = manifests.read(self._target)
        if earlier is not None and serial < earlier.serial:
            raise NoBackup(
                f"the backup in {self._target} is newer (serial {earlier.serial}) than {self._root} (serial {serial}): "
                "restore it, or back up into another folder"
            )

    def _bring(self, catalog: Catalog, store: FilesystemStorage) -> Iterator[Damage]:
        """Copy what is not there yet."""
        for file in catalog.all_hosted():
            for key, sha256 in _keys(file):
                if not self._has(store, file, key, sha256):
                    damage = copy(self._source, store, key, sha256)
                    if damage is None:
                        self._copied += 1
                    else:
                        yield damage
                digest = sha256 or digest_of(store, key)
                if digest is not None and size_of(store, key) is not None:
                    self._digests[key] = digest
            self._progress.step()

    def _bring_markers(self, catalog: Catalog, store: FilesystemStorage) -> None:
        """Those that the catalog knows of, if they are still there."""
        for tree, project in catalog.all_marked():
            for marker in MARKERS:
                key = file_key(tree, project, marker)
                if copy(self._source, store, key, None) is None:
                    self._digests[key] = digest_of(store, key) or ""

    def _has(self, store: FilesystemStorage, file: HostedFile, key: str, sha256: str | None) -> bool:
        """A filename never gets other bytes, so that the length tells; where that is wrong, `_mend` finds it."""
        if key.endswith(f"/{file.filename}"):
            return size_of(store, key) == file.size
        digest = digest_of(store, key)
        return digest is not None and digest == (sha256 or digest_of(self._source, key))

    def _write_lists(self, catalog: Catalog, store: FilesystemStorage) -> None:
        """As the facts of the backup are; those of the folder may be ahead."""
        lists = PackageLists(catalog, store)
        for tree, project, _ in catalog.all_changes():
            if not lists.is_current(tree, project):
                lists.write([(tree, project)])
            digest = digest_of(store, packages_key(tree, project))
            if digest is not None:  # there is none of a name that is only reserved
                self._digests[packages_key(tree, project)] = digest

    def _mend(self, catalog: Catalog, store: FilesystemStorage, known: set[str]) -> Iterator[Damage]:
        """Read the backup through; what its own disk damaged is copied again. The damages that are not known yet."""
        for damage in list(verify(catalog, store, seen=self._progress.step, settle=lambda: None)):
            left: Damage | None = damage
            if damage.kind == "extra":
                continue  # of an earlier backup
            if damage.key in self._digests and damage.key not in known:
                left = copy(self._source, store, damage.key, self._digests[damage.key])
            if left is not None:
                self._digests.pop(damage.key, None)
                if damage.key not in known:
                    yield left

    def _copy_config(self) -> None:
        try:
            text = (self._root / CONFIG).read_bytes()
        except FileNotFoundError:
            (self._target / CONFIG).unlink(missing_ok=True)
            return
        write_file(self._target / CONFIG, text)
        self._digests[CONFIG] = hashlib.sha256(text).hexdigest()

    def _finish(self, catalog: Path, store: FilesystemStorage, serial: int, size: int) -> Manifest:
        """From the manifest on it is this backup and no longer the earlier one, whose leftovers then go."""
        with open(catalog, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        catalog.chmod(0o600)  # it holds the hashes of passwords
        sync_file(catalog)
        name = f"catalog-{serial}-{sha256[:8]}.sqlite"
        os.replace(catalog, self._target / name)
        sync_folder(self._target)
        manifest = Manifest(
            caseus=__version__,
            time=self._clock(),
            serial=serial,
            catalog=name,
            catalog_sha256=sha256,
            bytes=size,
            files=dict(sorted(self._digests.items())),
        )
        manifests.write(self._target, manifest)
        for path in self._target.glob("catalog-*.sqlite"):
            if path.name != name:
                path.unlink()
        for key in list(store.keys("files/")):
            if key not in self._digests:
                store.delete(key)
        return manifest


def prepare(root: Path, target: Path) -> None:
    """Make the target, or see that it is empty or a backup. NoBackup if it is neither."""
    inner, outer = sorted((root.resolve(), target.resolve()), key=lambda path: len(path.parts), reverse=True)
    if outer in (inner, *inner.parents):
        raise NoBackup(f"{target} and {root} lie in each other: name a folder elsewhere, best on another disk")
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = [path.name for path in target.iterdir()]
    except OSError as error:
        raise NoBackup(f"{target} can't be used: {error.strerror}") from None
    if manifests.read(target) is None:
        if any(name not in _IGNORED and not name.startswith(f".{manifests.NAME}.") for name in names):
            raise NoBackup(f"{target} is neither empty nor an earlier backup: name another folder")
        manifests.write(target, Manifest())  # so that one that is broken off can be taken up again


def _keys(file: HostedFile) -> Iterator[tuple[str, str | None]]:
    """The file's key and those of its sidecars, with the sha256 where the facts tell it."""
    key = file_key(file.tree, file.project, file.filename)
    yield key, file.sha256
    if file.metadata_sha256 is not None:
        yield f"{key}.metadata", file.metadata_sha256
    if file.has_sig:
        yield f"{key}.asc", None
