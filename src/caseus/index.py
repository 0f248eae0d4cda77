"""An index is a composition: the protocol, and the wrappers that put indexes together."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
import structlog
from packaging.utils import NormalizedName

from caseus.catalog import Catalog, HostedFile
from caseus.errors import NotFound, Unavailable
from caseus.model import Project, Validity
from caseus.names import NamePatterns, split_sidecar
from caseus.remembered import Remembered
from caseus.storage import Blob, Storage, file_key, hosted_tree

_log = structlog.get_logger(__name__)


class Index(Protocol):
    """What a client points at: projects under one base URL."""

    def knows(self, name: NormalizedName) -> bool:
        """Whether the name is this index's: published, claimed, tombstoned, reserved. Unavailable if unsure."""
        ...

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        """Names of the projects that sort behind `after`; sorted, lazy."""
        ...

    def project(self, name: NormalizedName) -> Project:
        """The project as it is now. NotFound if the name is nobody's here, Unavailable if that can't be said."""
        ...

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        """A file of the project or a sidecar of it (FILE.metadata, FILE.asc); negative `start` counts from the end.

        NotFound, Unavailable, BadRange.
        """
        ...


class Local:
    """What is published here. A name that is ours but has no visible file is an empty project, never NotFound."""

    def __init__(self, catalog: Catalog, store: Storage, name: str, private: Sequence[str] = ()) -> None:
        self.tree = hosted_tree(name)
        self._catalog, self._store = catalog, store
        self._private = NamePatterns(private)
        self._remembered = Remembered(catalog, self.tree)

    def knows(self, name: NormalizedName) -> bool:
        return self._private.match(name) or self._catalog.knows(self.tree, name)

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        return (NormalizedName(name) for name in self._catalog.projects(self.tree, after))

    def project(self, name: NormalizedName) -> Project:
        listing, files, versions = self._remembered.read(name)
        serial = listing.serial
        validity = Validity(serials=((self.tree, name, serial),))
        if not files and not self._private.match(name):
            if not self._catalog.knows(self.tree, name):
                raise NotFound(f"no project {name} is published here", validity)
            if not serial:  # claimed by a first upload that runs: that moves no serial
                validity = Validity(serials=validity.serials, until=self._catalog.clock())
        return Project(name=name, files=files, versions=versions, validity=validity)

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        base, ending = split_sidecar(filename)
        file = self._catalog.hosted_file(self.tree, name, base)
        if file is None or not _has(file, ending):
            raise NotFound(f"no file {filename} of {name} is published here")
        try:
            blob = self._store.open(file_key(self.tree, name, filename), start, stop)
        except NotFound:
            _log.error("store.lost_bytes", tree=self.tree, filename=filename)
            raise Unavailable(f"the bytes of {filename} are lost: restore a backup", kind="local") from None
        blob.sha256 = {"": file.sha256, ".metadata": file.metadata_sha256}.get(ending)
        return blob


class FirstFound:
    """Asks indexes in order and stops at the first that knows the name: no other answers for it."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._indexes = tuple(indexes)

    def knows(self, name: NormalizedName) -> bool:
        return any(index.knows(name) for index in self._indexes)

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        merged = heapq.merge(*(index.projects(after) for index in self._indexes))
        return (name for name, _ in itertools.groupby(merged))

    def project(self, name: NormalizedName) -> Project:
        absence = Validity()
        for index in self._indexes:
            try:
                project = index.project(name)
            except NotFound as error:
                absence &= error.validity or Validity()
            else:
                return msgspec.structs.replace(project, validity=absence & project.validity)
        raise NotFound(f"no project {name} here: check the spelling", absence)

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        *earlier, last = self._indexes
        for index in earlier:
            try:
                knows = index.knows(name)
            except Unavailable as unsure:
                return _open_unsure(index, unsure, name, filename, start, stop)
            if knows:
                return index.open(name, filename, start, stop)
        return last.open(name, filename, start, stop)


def _open_unsure(
    index: Index, unsure: Unavailable, name: NormalizedName, filename: str, start: int, stop: int | None
) -> Blob:
    """From an index that can't say whether the name is its own, but may have the file; no other may be asked."""
    try:
        return index.open(name, filename, start, stop)
    except NotFound:
        raise unsure from None


def _has(file: HostedFile, ending: str) -> bool:
    """Whether the file has that sidecar ("" is the file itself)."""
    return {"": True, ".metadata": file.metadata_sha256 is not None, ".asc": file.has_sig}.get(ending, False)
