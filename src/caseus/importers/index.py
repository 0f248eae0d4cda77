"""Taking over another index: what it lists is published here, again and again until everybody has moved.

One round looks at every page that is meant and takes what is not here yet. It can be broken off at any point and done
again: files go the way of an upload, and what is here already with the digest that the page tells is not asked for.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import NamedTuple, Protocol

from packaging.utils import NormalizedName

from caseus.catalog import Catalog, HostedFile
from caseus.checks.found import check_found, parse_filename_of
from caseus.errors import Busy, Conflict, Invalid, NotFound, Unavailable
from caseus.importers.report import BAD, Outcome, Report, Result
from caseus.importers.selection import Selection
from caseus.importers.source import Damaged, Source, Stopped, TooBig
from caseus.importers.yanks import Yanks
from caseus.model import File
from caseus.publish import Publisher
from caseus.upstream import NotModified, Origin, Page, linked_origins

_PATIENCE = 12  # failures of the other index in a row, after which it is taken to be down


class Progress(Protocol):
    """Told how it goes, from one thread."""

    def found(self, files: int) -> None: ...  # so many more are to be looked at
    def done(self, result: Result) -> None: ...


class Job(NamedTuple):
    """A file that has to be downloaded; `ours`: what has its name here, where only the bytes can tell if it is equal."""

    project: NormalizedName
    file: File
    linked: frozenset[Origin]
    ours: HostedFile | None


class Look(NamedTuple):
    """What came of looking at a project's page; `page` is None where it was not read or is as it was."""

    name: NormalizedName
    page: Page | None
    results: list[Result]
    jobs: list[Job]


class IndexImport:
    """Takes the selected projects of `source` over into one index. `report` is kept current while it runs.

    `stop` ends a round soon, with Stopped.
    """

    def __init__(
        self,
        source: Source,
        catalog: Catalog,
        publisher: Publisher,
        selection: Selection,
        *,
        jobs: int,
        stop: threading.Event,
        progress: Progress,
        delete: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.report = Report()
        self.actor = f"import:{source.host}"
        self._source, self._catalog, self._publisher, self._selection = source, catalog, publisher, selection
        self._jobs, self._stop, self._progress, self._delete, self._clock = jobs, stop, progress, delete, clock
        self._yanks = Yanks(catalog, publisher.tree)
        self._listed: dict[str, frozenset[str]] = {}  # filenames on the page that was read last
        self._etags: dict[str, str] = {}  # of pages of which nothing is left to do
        self._known: dict[str, File] = {}  # entries without a usable digest, whose bytes were compared
        self._missing: frozenset[tuple[str, str]] = frozenset()
        self._failures = 0

    def names(self) -> list[NormalizedName]:
        """The projects that are meant, as the other index lists them now. NotFound, Unavailable."""
        return self._selection.names(self._source.projects() if self._selection.needs_list else ())

    def warn(self, names: Sequence[NormalizedName]) -> None:
        """Put into the report what the owner should know before these names become theirs."""
        if self._selection.looks_like_mirror(names):
            self.report.warnings.append(
                f"{len(names)} projects are many for an index of private ones: every name that is imported becomes "
                "yours and is never asked upstream again; choose by --project if some of them are other people's"
            )
        fetched = {name for tree in self._publisher.displaces for name in self._catalog.projects(tree)}
        shared = [name for name in names if name in fetched and not self._catalog.knows(self._publisher.tree, name)]
        if shared:
            shown = ", ".join(shared[:5]) + (f" and {len(shared) - 5} more" if len(shared) > 5 else "")
            self.report.warnings.append(
                f"the upstream has a project of the same name, which was used from here and is hidden once this is "
                f"imported: {shown}"
            )

    def plan(self, names: Sequence[NormalizedName]) -> list[tuple[NormalizedName, list[File]]]:
        """What `take` would download, by project; what it would not is in the report."""
        found = []
        for look in self._in_parallel(names, []):
            found.append((look.name, [job.file for job in look.jobs]))
        return sorted(found)

    def take(self, names: Sequence[NormalizedName]) -> None:
        """One round. Stopped; Unavailable if the other index doesn't answer any more, or our own side fails."""
        self.report.projects = len(names)
        jobs: deque[Job] = deque()
        troubled: set[str] = set()
        etags: dict[str, str | None] = {}
        for done in self._in_parallel(names, jobs):
            if isinstance(done, Result):
                self._count(done)
                if done.outcome is Outcome.FAILED:
                    troubled.add(done.project)
                continue
            ...

    def _count(self, result: Result) -> None:
        ...
