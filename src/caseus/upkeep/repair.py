"""What `verify` found made good, where the rest tells how it was."""

from __future__ import annotations

import hashlib
import io
import os

import msgspec

from caseus.catalog import Catalog, HostedFile
from caseus.checks.archive import look_into
from caseus.errors import CaseusError
from caseus.fill.eviction import Evictor
from caseus.fill.fills import FOLDER as FILL
from caseus.names import split_sidecar
from caseus.packages import PackageLists
from caseus.storage import file_key
from caseus.storage.filesystem import FilesystemStorage
from caseus.verify import Damage

_BACKUP = "can't be repaired: restore the file from a backup"


class Repair(msgspec.Struct, frozen=True):
    """What became of a damage."""

    damage: Damage
    done: bool
    outcome: str


class Repairer:
    """Works beside a running server. Of what is published here it only writes what can be made from what is right."""

    def __init__(self, catalog: Catalog, store: FilesystemStorage) -> None:
        self._catalog, self._store = catalog, store
        self._lists = PackageLists(catalog, store)

    def repair(self, damage: Damage) -> Repair:
        """Never raises what a damaged file may cause."""
        try:
            done, outcome = self._repair(damage)
        except CaseusError as error:
            done, outcome = False, f"not repaired: {error}"
        return Repair(damage, done, outcome)

    def _repair(self, damage: Damage) -> tuple[bool, str]:
        if damage.kind == "journal":
            return False, "can't be repaired: somebody changed the database; restore a backup"
        if damage.kind == "catalog":
            return False, "can't be repaired: run `caseus reindex`, or restore a backup"
        if damage.kind == "extra":
            return False, "left to `caseus gc`"
        if damage.kind == "changed":
            return False, "left to you: delete it, or run `caseus project forget`"
        folder, _, name = damage.key.rpartition("/")
        tree, _, project = folder.rpartition("/")
        if damage.kind == "outdated":
            self._catalog.alone(lambda: self._lists.write([(tree, project)]))
            return True, "written again"
        if tree.startswith("fetched/"):
            return self._drop_fetched(tree, project, name, damage.key)
        base, ending = split_sidecar(name)
        row = self._catalog.hosted_file(tree, project, base)
        if row is None or ending != ".metadata":
            return False, _BACKUP
        return self._make_metadata(row, damage.key)

    def _drop_fetched(self, tree: str, project: str, name: str, key: str) -> tuple[bool, str]:
        """Readers who have wrong bytes open can't be helped: they check digests, as we do."""
        base, ending = split_sidecar(name)
        if ending:
            self._store.delete(key)
        else:
            row = self._catalog.fetched(tree, project, base)
            folder = self._store.root / FILL
            folder.mkdir(mode=0o700, exist_ok=True)
            evictor = Evictor(self._catalog, self._store, folder, 0)
            if row is None or not evictor.take([row], even_read=True):
                return False, "it is being fetched again just now"
        return True, "deleted: it is fetched again when it is asked for"

    def _make_metadata(self, row: HostedFile, key: str) -> tuple[bool, str]:
        """METADATA from the wheel, if both are as they were published."""
        key_of_wheel = file_key(row.tree, row.project, row.filename)
        with self._store.open(key_of_wheel) as blob, os.fdopen(os.dup(blob.fileno()), "rb") as wheel:
            if hashlib.file_digest(wheel, "sha256").hexdigest() != row.sha256:
                return False, _BACKUP
            metadata = look_into(row.filename, wheel).metadata  # whatever an upload of the wheel would be refused for
        if metadata is None or hashlib.sha256(metadata).hexdigest() != row.metadata_sha256:
            return False, _BACKUP
        self._store.replace(key, io.BytesIO(metadata))
        return True, "made again from the wheel"
