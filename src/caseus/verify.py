"""Every stored file against its digest and fact, and every fact against its file; works beside a running server."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, groupby
from typing import Literal

import msgspec

from caseus.catalog import Catalog
from caseus.catalog.rows import FetchedFile, HostedFile, Tombstone
from caseus.errors import CaseusError, NotFound
from caseus.names import SIDECARS
from caseus.packages import PackageLists
from caseus.storage import MARKERS, Storage, file_key, packages_key

Kind = Literal[
    "missing", "wrong size", "wrong digest", "unreadable", "outdated", "extra", "changed", "journal", "catalog"
]
CATALOG = "catalog.sqlite"

_NO_FILES = ("packages.jsonl", *MARKERS)


class Damage(msgspec.Struct, frozen=True):
    """Something that is not as it was: `key` is the file's in the store, "journal" or CATALOG."""

    kind: Kind
    key: str
    detail: str


def count_files(catalog: Catalog) -> int:
    """How many times `verify` will say that it has seen a file, as far as a damaged catalog can tell."""
    with suppress(CaseusError):
        return catalog.count_files()
    return 0


def verify(
    catalog: Catalog,
    storage: Storage,
    *,
    seen: Callable[[], None] = lambda: None,
    settle: Callable[[], None] = lambda: time.sleep(1),
) -> Iterator[Damage]:
    """All damages, as they are found. `seen` is called after each file that has a row.

    What looks damaged is looked at again where a running server may just have changed it; `settle` waits for an
    upload whose bytes are already there to get its row.
    """
    sound = True
    for damage in chain(
        (Damage("catalog", CATALOG, fault) for fault in catalog.faults()),
        _as_far_as_it_goes(_all_hosted(catalog, storage, seen)),
        _as_far_as_it_goes(_all_fetched(catalog, storage, seen)),
        _as_far_as_it_goes(_outdated(catalog, PackageLists(catalog, storage))),
        _as_far_as_it_goes(_put_back(catalog, storage)),
        _as_far_as_it_goes(_journal(catalog)),
    ):
        sound = sound and damage.kind != "catalog"
        yield damage
    if sound:  # else it may be the catalog that has lost them
        yield from _extras(catalog, storage, settle)


def _as_far_as_it_goes(damages: Iterator[Damage]) -> Iterator[Damage]:
    """Rows that can't be read, or say what nobody ever wrote there, end what is looked at in their order."""
    try:
        yield from damages
    except CaseusError as error:
        yield Damage("catalog", CATALOG, str(error))


def _all_hosted(catalog: Catalog, storage: Storage, seen: Callable[[], None]) -> Iterator[Damage]:
    for hosted in catalog.all_hosted():
        damages = _hosted_damages(storage, hosted)
        if damages:
            now = catalog.hosted_file(hosted.tree, hosted.project, hosted.filename)
            if now is not None and now.sha256 == hosted.sha256:
                yield from damages
        seen()


def _all_fetched(catalog: Catalog, storage: Storage, seen: Callable[[], None]) -> Iterator[Damage]:
    for fetched in catalog.all_fetched():
        damages = _fetched_damages(storage, fetched)
        if damages and catalog.fetched(fetched.tree, fetched.project, fetched.filename) == fetched:
            yield from damages
        seen()


def _hosted_damages(storage: Storage, row: HostedFile) -> list[Damage]:
    key = file_key(row.tree, row.project, row.filename)
    found = [compare(storage, key, row.sha256, row.size)]
    if row.metadata_sha256 is not None:
        found.append(compare(storage, key + ".metadata", row.metadata_sha256))
    if row.has_sig:
        found.append(compare(storage, key + ".asc"))
    return [damage for damage in found if damage]


def _fetched_damages(storage: Storage, row: FetchedFile) -> list[Damage]:
    """What was fetched may be deleted at any time, so that absence is no damage."""
    key = file_key(row.tree, row.project, row.filename)
    found = []
    if row.stored:
        found.append(compare(storage, key, row.sha256, row.size))
    if row.metadata_sha256 is not None:
        found.append(compare(storage, key + ".metadata", row.metadata_sha256))
    return [damage for damage in found if damage and damage.kind != "missing"]


def compare(storage: Storage, key: str, sha256: str | None = None, size: int | None = None) -> Damage | None:
    """What is wrong with the bytes under the key; a digest or size of None is not asked for."""
    try:
        with storage.open(key) as blob:
            actual, length = hashlib.sha256(), 0
            while data := blob.read():
                actual.update(data)
                length += len(data)
    except NotFound:
        return Damage("missing", key, "the catalog has it, the store does not")
    except (OSError, CaseusError) as error:
        return Damage("unreadable", key, str(error))
    if size is not None and length != size:
        return Damage("wrong size", key, f"{length} bytes instead of {size}")
    if sha256 is not None and actual.hexdigest() != sha256:
        return Damage("wrong digest", key, f"sha256 {actual.hexdigest()} instead of {sha256}")
    return None


def _outdated(catalog: Catalog, lists: PackageLists) -> Iterator[Damage]:
    for tree, project, _ in catalog.all_changes():
        if not lists.is_current(tree, project) and not catalog.alone(partial(lists.is_current, tree, project)):
            yield Damage("outdated", packages_key(tree, project), "it does not say what the catalog says")


def _journal(catalog: Catalog) -> Iterator[Damage]:
    for fault in catalog.check_journal():
        yield Damage("journal", "journal", fault)


def _put_back(catalog: Catalog, storage: Storage) -> Iterator[Damage]:
    """Other bytes under a name that was used before."""
    for grave in catalog.all_tombstones():
        if is_put_back(storage, grave) and catalog.tombstone(grave.tree, grave.filename) == grave:
            key = file_key(grave.tree, grave.project, grave.filename)
            detail = (
                f"not served, the name had other bytes before: delete it, or `caseus project forget {grave.filename}`"
            )
            yield Damage("changed", key, detail)


def is_put_back(storage: Storage, grave: Tombstone) -> bool:
    """Whether the name holds other bytes than those that were deleted, which `caseus gc` takes: somebody's."""
    try:
        with storage.open(file_key(grave.tree, grave.project, grave.filename)) as blob:
            digest = hashlib.sha256()
            while data := blob.read():
                digest.update(data)
    except (CaseusError, OSError):
        return False
    return digest.hexdigest() != grave.sha256


def _extras(catalog: Catalog, storage: Storage, settle: Callable[[], None]) -> Iterator[Damage]:
    """Files under `files/` that no row knows."""
    suspects = list(_unknown(catalog, storage.keys("files/")))
    if suspects:
        settle()
    for key in _unknown(catalog, suspects):
        yield Damage("extra", key, "no row of the catalog knows it")


def _unknown(catalog: Catalog, keys: Iterator[str] | list[str]) -> Iterator[str]:
    """Those of the sorted keys whose name the catalog neither has nor had; one look at the catalog a project."""
    for folder, group in groupby(keys, key=lambda key: key.rpartition("/")[0]):
        tree, _, project = folder.rpartition("/")
        files: list[HostedFile] = catalog.hosted_files(tree, project)
        known = {file.filename for file in files} | {grave.filename for grave in catalog.tombstones(tree, project)}
        for key in group:
            name = key.rpartition("/")[2]
            if name not in _NO_FILES and name not in known and _main_name(name) not in known:
                yield key


def _main_name(name: str) -> str:
    """The file that a sidecar of this name lies beside."""
    for ending in SIDECARS:
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name
