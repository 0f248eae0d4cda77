"""Wrappers of indexes: several upstreams behind one URL, files that are gone from pages, pages asked for anew."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from packaging.utils import NormalizedName

from caseus.errors import NotFound
from caseus.index import Index
from caseus.model import File, Project, Status, Validity
from caseus.names import NamePatterns, split_sidecar, unique_versions
from caseus.storage import Blob


class Only:
    """An index that answers for names of some patterns; about others it is never asked."""

    def __init__(self, index: Index, patterns: NamePatterns) -> None:
        self._index, self._patterns = index, patterns

    def knows(self, name: NormalizedName) -> bool:
        return self._patterns.match(name) and self._index.knows(name)

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        return (name for name in self._index.projects(after) if self._patterns.match(name))

    def project(self, name: NormalizedName) -> Project:
        self._check(name)
        return self._index.project(name)

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        self._check(name)
        return self._index.open(name, filename, start, stop)

    def _check(self, name: NormalizedName) -> None:
        if not self._patterns.match(name):
            raise NotFound(f"no project {name} here: no pattern allows it", Validity())


class Union:
    """Several indexes as one: a project has the files of all that know it, and of a filename the first one's.

    For names that really live in several places, by explicit configuration only: whoever may publish to one of them
    may add files, and higher versions, to what the others have. If one of them can't answer, nobody does: a client that
    sees a part of the files would choose among them.
    """

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._indexes = tuple(indexes)

    def knows(self, name: NormalizedName) -> bool:
        return any(index.knows(name) for index in self._indexes)

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        merged = heapq.merge(*(index.projects(after) for index in self._indexes))
        return (name for name, _ in itertools.groupby(merged))

    def project(self, name: NormalizedName) -> Project:
        found: list[Project] = []
        validity = Validity()
        for index in self._indexes:
            try:
                found.append(index.project(name))
                validity &= found[-1].validity
            except NotFound as error:
                validity &= error.validity or Validity()
        if not found:
            raise NotFound(f"no project {name} here: check the spelling", validity)
        files: dict[str, File] = {}
        for file in itertools.chain.from_iterable(project.files for project in found):
            files.setdefault(file.filename, file)
        status, reason = _status(found)
        return Project(
            name=name,
            files=tuple(files.values()),
            versions=unique_versions(itertools.chain.from_iterable(project.versions for project in found)),
            status=status,
            status_reason=reason,
            hosted=any(project.hosted for project in found),
            validity=validity,
        )

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        """The owner of the file answers, for its sidecars too: another's signature would be of other bytes."""
        base, ending = split_sidecar(filename)
        for index in self._indexes:
            try:
                return index.open(name, filename, start, stop)
            except NotFound:
                if _may_lack(base, ending) and _lists(index, name, base):
                    raise
        raise NotFound(f"nobody lists a file {filename} of {name}")


def _may_lack(filename: str, ending: str) -> bool:
    """Whether an index may list the file and have no such thing beside it. To know that is dear: it is a long list."""
    return bool(ending) and not (ending == ".metadata" and filename.endswith(".whl"))


def _lists(index: Index, name: NormalizedName, filename: str) -> bool:
    try:
        return any(file.filename == filename for file in index.project(name).files)
    except NotFound:
        return False


def _status(found: Sequence[Project]) -> tuple[Status, str | None]:
    """Of the first whose files are offered: PEP 792's quarantine empties a project, and says nothing of others'."""
    first = next((project for project in found if project.status != "quarantined"), found[0])
    return first.status, first.status_reason


class Refreshing:
    """An index whose pages are asked for anew each time: `anew` is the same index over upstreams that are always asked.

    A file is what its page listed, so that it is asked for as ever, and only if nobody lists it yet, anew.
    """

    def __init__(self, index: Index, anew: Index) -> None:
        self._index, self._anew = index, anew

    def knows(self, name: NormalizedName) -> bool:
        return self._anew.knows(name)

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        return self._index.projects(after)

    def project(self, name: NormalizedName) -> Project:
        return self._anew.project(name)

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        try:
            return self._index.open(name, filename, start, stop)
        except NotFound:
            return self._anew.open(name, filename, start, stop)


class Keeper(Protocol):
    """What has files that are no longer listed."""

    def kept(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob | None: ...


class Kept(NamedTuple):
    """A keeper, and the names that it may answer for."""

    keeper: Keeper
    patterns: NamePatterns


class KeepRemoved:
    """An index and, beyond it, cached files whose listing the upstream took back: reachable by name, and not listed.

    Who locked such a file by its digest still gets it; who resolves anew doesn't see it. Of names that are `local`'s
    nothing is answered that this doesn't answer itself.
    """

    def __init__(self, index: Index, local: Index, keepers: Sequence[Kept]) -> None:
        self._index, self._local = index, local
        self._keepers = tuple(keepers)

    def knows(self, name: NormalizedName) -> bool:
        return self._index.knows(name)

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        return self._index.projects(after)

    def project(self, name: NormalizedName) -> Project:
        return self._index.project(name)

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        try:
            return self._index.open(name, filename, start, stop)
        except NotFound:
            if self._local.knows(name):
                raise
            for keeper, patterns in self._keepers:
                blob = keeper.kept(name, filename, start, stop) if patterns.match(name) else None
                if blob is not None:
                    return blob
            raise
