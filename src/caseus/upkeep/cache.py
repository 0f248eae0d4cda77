"""Taking things out of the cache by hand. What a running server reads or fetches stays."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from packaging.version import InvalidVersion, Version

from caseus.catalog import Catalog, FetchedFile
from caseus.errors import Invalid, NotFound
from caseus.fill.eviction import Evictor
from caseus.fill.fills import FOLDER as FILL
from caseus.names import SIDECARS, is_filename, normalize, version_of
from caseus.storage import file_key
from caseus.storage.filesystem import FilesystemStorage


class Evicted(msgspec.Struct, frozen=True):
    """`busy`: files that were to go but are being read or fetched. `pages`: trees whose page of the project went."""

    files: tuple[FetchedFile, ...]
    busy: tuple[FetchedFile, ...] = ()
    pages: tuple[str, ...] = ()


class Pruner:
    """Evicts with the locks that servers know."""

    def __init__(self, catalog: Catalog, store: FilesystemStorage) -> None:
        self._catalog, self._store = catalog, store
        self._folder = store.root / FILL
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def down_to(self, size: int) -> Evicted:
        """The least recently used go until at most `size` bytes are left."""
        return Evicted(tuple(self._evictor(size).run()))

    def unused_since(self, moment: float) -> Evicted:
        """All that nobody read after the moment, in Unix seconds."""
        self._catalog.least_recent(1)  # writes down what this process knows of reads
        return self._take(self._catalog.unused_since(moment))

    def evict(self, target: str) -> Evicted:
        """PROJECT (its pages too, so that the upstream is asked again), PROJECT==VERSION or FILE. NotFound, Invalid."""
        if is_filename(target):
            found = self._catalog.fetched_named(target)
            evicted = self._take([row for row in found if row.stored])
        else:
            name, separator, version = target.partition("==")
            project = normalize(name.strip())
            trees = [tree.tree for tree in self._catalog.cached_trees()]
            found = [row for tree in trees for row in self._catalog.fetched_files(tree, project).values()]
            if separator:
                wanted = _version(version.strip())
                found = [row for row in found if _is_version(row, wanted)]
            evicted = self._take([row for row in found if row.stored])
            if not separator:
                evicted = msgspec.structs.replace(evicted, pages=self._drop_pages(trees, project))
        sidecars = self._drop_sidecars(set(found) - set(evicted.busy))
        if not (evicted.files or evicted.busy or evicted.pages or sidecars):
            raise NotFound(f"nothing is cached of {target!a}")
        return evicted

    def _take(self, rows: list[FetchedFile]) -> Evicted:
        gone = tuple(self._evictor(0).take(rows))
        return Evicted(gone, tuple(row for row in rows if row not in gone))

    def _drop_pages(self, trees: Iterable[str], project: str) -> tuple[str, ...]:
        having = tuple(tree for tree in trees if self._catalog.has_page(tree, project))
        for tree in having:
            self._catalog.drop_page(tree, project)
        return having

    def _drop_sidecars(self, rows: Iterable[FetchedFile]) -> bool:
        """Whether there were any. They are made or fetched again, and have to be what they were."""
        dropped = False
        for row in rows:
            for ending in SIDECARS:
                key = file_key(row.tree, row.project, row.filename + ending)
                if self._store.path(key).exists():
                    self._store.delete(key)
                    dropped = True
        return dropped

    def _evictor(self, size: int) -> Evictor:
        return Evictor(self._catalog, self._store, self._folder, size)


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise Invalid(f"{text!a} is no version (PEP 440)") from None


def _is_version(row: FetchedFile, wanted: Version) -> bool:
    try:
        return Version(version_of(row.project, row.filename) or "") == wanted
    except InvalidVersion:
        return False
