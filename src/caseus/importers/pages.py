"""The pages of another index, compared with what is here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from packaging.utils import NormalizedName

from caseus.catalog import Catalog, HostedFile
from caseus.checks.found import parse_filename_of
from caseus.errors import Invalid, NotFound, Unavailable
from caseus.importers.report import Outcome, Result
from caseus.importers.selection import Selection
from caseus.importers.shelf import DELETED_HERE, OTHER_BYTES
from caseus.importers.source import Source, is_ours
from caseus.importers.taking import Job, Taking, failure
from caseus.model import File
from caseus.upstream import NotModified, Page, linked_origins

__all__ = ["Job", "Look", "Pages"]


class Look(NamedTuple):
    """What came of looking at a project's page: files that need no download, and those that do.

    `readable`: the page was read, is as it was, or is not there. `etag`: of a page that was read.
    """

    name: NormalizedName
    results: list[Result]
    jobs: list[Job]
    readable: bool = True
    etag: str | None = None


class Pages:
    """Remembers of each page what the next round needs. `look` may run for several projects at once."""

    def __init__(self, source: Source, catalog: Catalog, taking: Taking, selection: Selection) -> None:
        self._source, self._catalog, self._taking, self._selection = source, catalog, taking, selection
        self._listed: dict[str, frozenset[str]] = {}
        self._done: dict[str, str] = {}  # ETags of pages of which nothing is left to do

    def look(self, name: NormalizedName) -> Look:
        """Read the page and compare it. Unavailable only where our own side fails; Stopped."""
        try:
            page = self._source.page(name, self._done.get(name))
        except NotFound:
            self._listed[name] = frozenset()
            self._done.pop(name, None)  # it may come back as it was
            return Look(name, self._absent(name), [])
        except Unavailable as error:
            if is_ours(error):
                raise
            return Look(name, [failure(name, "", error)], [], readable=False)
        if isinstance(page, NotModified):
            return Look(name, [], [])
        self._listed[name] = frozenset(file.filename for file in page.files)
        return self._compare(name, page)

    def lists(self, project: str, filename: str) -> bool:
        """Whether the page that was read last has the file."""
        return filename in self._listed.get(project, ())

    def settle(self, looks: Iterable[Look]) -> None:
        """Nothing is left to do for these: they need no second look while their pages don't change."""
        self._done |= {look.name: look.etag for look in looks if look.etag is not None}

    def _absent(self, name: NormalizedName) -> list[Result]:
        if self._catalog.hosted_files(self._taking.tree, name):
            return []  # its files are gone there, which is told of each
        if self._selection.names_in_full(name):
            return [Result(outcome=Outcome.FAILED, project=name, reason="the other index has no such project")]
        return [Result(outcome=Outcome.SKIPPED, project=name, reason="listed there, but it has no page")]

    def _compare(self, name: NormalizedName, page: Page) -> Look:
        ours = {file.filename: file for file in self._catalog.hosted_files(self._taking.tree, name)}
        deleted = {grave.filename for grave in self._catalog.tombstones(self._taking.tree, name)}
        linked = linked_origins(page.files)
        results: list[Result] = []
        jobs: list[Job] = []
        for file in page.files:
            hosted = ours.get(file.filename)
            if file.filename in deleted:
                results.append(_skipped(name, file, DELETED_HERE))
            elif hosted is not None:
                result = self._compare_file(name, file, hosted)
                if result is None:
                    jobs.append(Job(name, file, linked, hosted))
                else:
                    results.append(result)
            else:
                try:
                    parse_filename_of(name, file.filename)
                    jobs.append(Job(name, file, linked, None))
                except Invalid as error:
                    results.append(_skipped(name, file, str(error)))
        return Look(name, results, jobs, etag=page.etag)

    def _compare_file(self, name: NormalizedName, file: File, hosted: HostedFile) -> Result | None:
        """None where only the bytes can tell."""
        same = self._taking.same(file, hosted)
        if same is None:
            return None
        if same:
            return self._taking.follow_yank(name, file, hosted)
        return Result(outcome=Outcome.CONFLICT, project=name, filename=file.filename, reason=OTHER_BYTES)


def _skipped(name: NormalizedName, file: File, reason: str) -> Result:
    return Result(outcome=Outcome.SKIPPED, project=name, filename=file.filename, reason=reason)
