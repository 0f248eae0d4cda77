"""Taking over another index: what it lists is published here, again and again until everybody has moved.

One round looks at every page that is meant and takes what is not here yet. It can be broken off at any point and done
again: files go the way of an upload, and what is here already with the digest that the page tells is not asked for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from packaging.utils import NormalizedName

from caseus.catalog import Catalog, HostedFile
from caseus.errors import NotFound, Unavailable
from caseus.importers.pages import Job, Look, Pages
from caseus.importers.parallel import in_parallel
from caseus.importers.report import Outcome, Progress, Report, Result
from caseus.importers.selection import Selection
from caseus.importers.shelf import Shelf
from caseus.importers.source import Source, Stopped
from caseus.importers.taking import Taking
from caseus.model import File
from caseus.publish import Publisher

_PATIENCE = 12
"""Failures in a row after which the other index is taken to be down."""


class IndexImport:
    """Takes the selected projects of `source` over into the index of `publisher`.

    `report` is current while a round runs. `stop` ends a round soon, with Stopped. `delete`: what is gone there, in two
    rounds in a row, is deleted here. `dry_run`: nothing is downloaded or changed.
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
        dry_run: bool = False,
    ) -> None:
        self.report = Report()
        self.actor = f"import:{source.host}"
        self._source, self._catalog, self._publisher, self._selection = source, catalog, publisher, selection
        self._jobs, self._stop, self._progress, self._delete = jobs, stop, progress, delete
        self._shelf = Shelf(catalog, publisher, actor=self.actor, dry_run=dry_run)
        self._taking = Taking(source, self._shelf)
        self._pages = Pages(source, catalog, self._taking, selection)
        self._missing: frozenset[str] = frozenset()

    def names(self) -> list[NormalizedName]:
        """The projects that are meant: those listed there now, and those imported before. NotFound, Unavailable."""
        listed = self._source.projects() if self._selection.needs_list else ()
        imported = {NormalizedName(file.project) for file in self._imported()}
        return sorted(imported | set(self._selection.names(listed)))

    def check(self, names: Sequence[NormalizedName], *, everything: bool) -> None:
        """NotFound, Invalid (see `Selection.check`); what the owner should know of these names goes into the report."""
        self._selection.check(names, everything=everything)
        if self._selection.looks_like_mirror(names):
            self.report.warnings.append(
                f"{len(names)} projects are many for an index of private ones: every name that is imported becomes "
                "yours and is never asked upstream again; choose by --project if some of them are other people's"
            )
        self.report.warn_of_displaced(self._shelf.displaced(names))

    def plan(self, names: Sequence[NormalizedName]) -> dict[NormalizedName, list[File]]:
        """What a round would download; what it would not is in the report. For `dry_run`."""
        return {look.name: [job.file for job in look.jobs] for look in self._round(names, take=False)}

    def take(self, names: Sequence[NormalizedName]) -> None:
        """One round. Stopped; Unavailable if the other index doesn't answer any more, or our own side fails."""
        self._round(names, take=True)

    def follow(self, interval: float, tell: Callable[[str], None]) -> None:
        """Round after round, every `interval` seconds, until `stop`; `tell` hears why a round could not be done."""
        while not self._stop.wait(interval):
            try:
                self.take(self.names())
            except Stopped:
                return
            except (NotFound, Unavailable) as error:
                tell(str(error))

    def _round(self, names: Sequence[NormalizedName], *, take: bool) -> list[Look]:
        """Look at all pages, and take files as soon as they are known."""
        self.report.projects = len(names)
        pages, waiting = deque(names), deque[Job]()
        looks: list[Look] = []
        failed: set[str] = set()  # projects of which something is left to do
        unsure: set[str] = set()  # projects whose page could not be had
        down = 0

        def next_task() -> Callable[[], Look | Result] | None:
            if waiting:
                return partial(self._taking.take, waiting.popleft())
            return partial(self._pages.look, pages.popleft()) if pages else None

        for done in in_parallel(self._jobs, next_task):
            results = [done] if isinstance(done, Result) else done.results
            if isinstance(done, Look):
                self._progress.found(len(done.results) + len(done.jobs))
                looks.append(done)
                waiting.extend(done.jobs if take else ())
                unsure |= set() if done.readable else {done.name}
                if done.readable:
                    self.report.forget_project(done.name)
            for result in results:
                self._note(result)
                if result.outcome is Outcome.FAILED:
                    failed.add(result.project)
            down = down + 1 if any(result.unanswered for result in results) else 0
            if down == _PATIENCE:
                raise Unavailable(
                    f"{results[-1].reason} (and {_PATIENCE - 1} more failures in a row): the rest was not tried; the "
                    "same command goes on from here",
                    kind="upstream",
                )
        self._pages.settle(look for look in looks if look.name not in failed)
        self._look_for_missing(unsure)
        return looks

    def _note(self, result: Result) -> None:
        self.report.add(result)
        self._progress.done(result)

    def _imported(self) -> list[HostedFile]:
        """What this index was given by imports from the same host, of the projects that are meant."""
        return [
            file
            for file in self._catalog.all_hosted()
            if file.tree == self._publisher.tree
            and file.uploader == self.actor
            and self._selection.match(NormalizedName(file.project))
        ]

    def _look_for_missing(self, unsure: set[str]) -> None:
        """What was imported and is no longer listed there. An index that errs once must not cost anybody a file."""
        missing = set()
        for file in self._imported():
            if file.project in unsure or self._pages.lists(file.project, file.filename):
                continue
            outcome, reason = Outcome.GONE, "no longer listed there; kept here"
            if self._delete and file.filename in self._missing:
                self._publisher.delete([file], f"deleted at {self._source.host}", self.actor)
                outcome, reason = Outcome.DELETED, "no longer listed there"
            else:
                missing.add(file.filename)
            self._note(Result(outcome=outcome, project=file.project, filename=file.filename, reason=reason))
        self._missing = frozenset(missing)
