"""A backup put into an empty folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from caseus.catalog import Catalog
from caseus.errors import Unavailable
from caseus.folder import make_root
from caseus.packages import PackageLists
from caseus.storage import file_key
from caseus.storage.filesystem import FilesystemStorage
from caseus.upkeep import manifest as manifests
from caseus.upkeep.backup import CATALOG, CONFIG
from caseus.upkeep.copying import copy
from caseus.upkeep.disk import sync_file, sync_folder, write_file
from caseus.upkeep.manifest import Manifest, NoBackup
from caseus.upkeep.progress import SILENT, Progress
from caseus.verify import Damage, count_files, verify

_WORK = ".restoring"
_LIST = "/packages.jsonl"


def open_backup(folder: Path) -> Manifest:
    """NoBackup if it is none, was not finished, or its catalog was changed since."""
    manifest = manifests.read(folder)
    if manifest is None:
        raise NoBackup(f"{folder} is no backup: it has no {manifests.NAME}")
    if not manifest.catalog:
        raise NoBackup(f"the backup in {folder} was not finished: run `caseus backup` again")
    try:
        with open(folder / Path(manifest.catalog).name, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NoBackup(f"the catalog of the backup in {folder} can't be read: {error.strerror}") from None
    if sha256 != manifest.catalog_sha256:
        raise NoBackup(
            f"the catalog of the backup in {folder} is damaged: copy its files/ into an empty folder, and run "
            "`caseus reindex` there"
        )
    return manifest


def restore(folder: Path, root: Path, manifest: Manifest, *, progress: Progress = SILENT) -> list[Damage]:
    """Copy all that the manifest names; what is not as it was. NoBackup if `root` is there and not empty.

    The catalog gets its name last, so that a restore that was broken off serves nothing. The lists beside the files are
    written from it: after a backup that was broken off there are newer ones beside the earlier catalog.
    """
    make_root(root)
    if any(path.name != "lost+found" for path in root.iterdir()):
        raise NoBackup(f"{root} is not empty: restore into an empty or new folder")
    store = FilesystemStorage(root)
    progress.begin("restoring", len(manifest.files))
    damages = list(_copy_all(folder, store, manifest, progress))
    _place_catalog(folder / Path(manifest.catalog).name, root)
    catalog = Catalog.open(root)  # takes over the backup's serial, and knows that the lists are not written up to it
    try:
        PackageLists(catalog, store).catch_up()
        for file in catalog.all_hosted():  # a backup may have a file with the time that it had before
            store.stamp(file_key(file.tree, file.project, file.filename), file.uploaded)
        progress.begin("verifying", count_files(catalog))
        known = {damage.key for damage in damages}
        damages += [found for found in verify(catalog, store, seen=progress.step) if found.key not in known]
    finally:
        catalog.close()
    return damages


def _copy_all(folder: Path, store: FilesystemStorage, manifest: Manifest, progress: Progress) -> Iterator[Damage]:
    source = FilesystemStorage(folder)
    for key, sha256 in manifest.files.items():
        damage = None
        if key.startswith("files/") and not key.endswith(_LIST):
            damage = copy(source, store, key, sha256)
        elif key == CONFIG:
            damage = _copy_config(folder, store.root, sha256)
        if damage is not None:
            yield damage
        progress.step()


def _copy_config(folder: Path, root: Path, sha256: str) -> Damage | None:
    try:
        text = (folder / CONFIG).read_bytes()
    except OSError as error:
        return Damage("unreadable", CONFIG, error.strerror or "unknown error")
    if hashlib.sha256(text).hexdigest() != sha256:
        return Damage("wrong digest", CONFIG, "not copied: it was changed since the backup")
    write_file(root / CONFIG, text)
    return None


def _place_catalog(path: Path, root: Path) -> None:
    work = root / _WORK
    try:
        work.mkdir(mode=0o700)
        shutil.copyfile(path, work / CATALOG)
        os.chmod(work / CATALOG, 0o600)
        sync_file(work / CATALOG)
        os.rename(work / CATALOG, root / CATALOG)
        work.rmdir()
        sync_folder(root)
    except OSError as error:
        raise Unavailable(f"the catalog can't be restored: {error.strerror}", kind="local") from None
