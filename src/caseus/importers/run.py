"""One run over what another server keeps on its disk: users, what it published, what it cached.

It can be broken off at any point and done again: what is here is left, and what is not is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from packaging.utils import NormalizedName

from caseus.catalog import Catalog
from caseus.errors import NotFound
from caseus.importers.accounts import Accounts
from caseus.importers.caching import CachedProject, Caching
from caseus.importers.hosting import Hosting
from caseus.importers.parallel import in_parallel
from caseus.importers.report import Outcome, Progress, Report, Result, some
from caseus.importers.shelf import Shelf
from caseus.importers.source import Stopped
from caseus.importers.stock import Reader, Stock
from caseus.model import File
from caseus.names import NamePatterns

_JOBS = 4
"""Files at a time: while one is synced to the disk, another is read."""

_PLANNED = (Outcome.TAKEN, Outcome.CACHED)


class StockImport:
    """Takes over what `reader` reads. `private`: names that are never asked upstream, published or not.

    `report` is current while it runs; of a dry run `plan` has the files that would be taken.
    """

    def __init__(
        self,
        reader: Reader,
        shelf: Shelf,
        hosting: Hosting,
        caching: Caching,
        *,
        private: NamePatterns,
        stop: threading.Event,
        progress: Progress,
    ) -> None:
        self.report = Report()
        self.plan: dict[NormalizedName, list[File]] = {}
        self._reader, self._shelf, self._hosting, self._caching = reader, shelf, hosting, caching
        self._accounts = Accounts(shelf.catalog, actor=shelf.actor, dry_run=shelf.dry_run)
        self._private, self._stop, self._progress = private, stop, progress

    @property
    def _catalog(self) -> Catalog:
        return self._shelf.catalog

    def run(self) -> None:
        """NotFound where there is nothing; Stopped; Unavailable if our own side fails."""
        self._take_accounts()
        stocks = self._read()
        hosted = [stock for stock in stocks if stock.hosted]
        names = [stock.project for stock in hosted]
        self.report.projects = len({stock.project for stock in stocks})
        self.report.warn_of_displaced(self._shelf.displaced(names))
        self._take(self._hosted_tasks(hosted))
        # Then only, because a name may be both there, and is ours alone here.
        self._take(self._cached_tasks(stock for stock in stocks if not stock.hosted))
        self._keep_owners(hosted)
        self._keep_aliases()
        self._warn_of_unprotected(names)
        self.report.warnings += self._reader.warnings

    def _take_accounts(self) -> None:
        for account in self._reader.accounts():
            self._check_stopped()
            self.report.add(account if isinstance(account, Result) else self._accounts.take(account))

    def _read(self) -> list[Stock]:
        stocks = []
        for stock in self._reader.stocks():
            self._check_stopped()
            if isinstance(stock, Result):
                self._note(stock)
            else:
                stocks.append(stock)
        if not stocks and not self.report.results:
            raise NotFound(f"there is no project in {self._reader.place}: is it the right folder?")
        return stocks

    def _hosted_tasks(self, stocks: Sequence[Stock]) -> Iterator[Callable[[], Result]]:
        self._progress.found(sum(len(stock.files) for stock in stocks))
        for stock in stocks:
            for each in stock.files:
                yield partial(self._hosting.take, stock.project, each)

    def _cached_tasks(self, stocks: Iterable[Stock]) -> Iterator[Callable[[], Result]]:
        for stock in stocks:
            place: CachedProject | Result = self._caching.begin(stock)
            if isinstance(place, Result):
                self._note(place)
                continue
            self._progress.found(len(stock.files))
            for each in stock.files:
                yield partial(self._caching.take, place, each)

    def _take(self, tasks: Iterator[Callable[[], Result]]) -> None:
        def next_task() -> Callable[[], Result] | None:
            self._check_stopped()
            return next(tasks, None)

        for result in in_parallel(_JOBS, next_task):
            self._note(result)

    def _note(self, result: Result) -> None:
        self._progress.done(result)
        if self._shelf.dry_run and result.outcome in _PLANNED:
            planned = self.plan.setdefault(NormalizedName(result.project), [])
            planned.append(File(filename=result.filename, size=result.size))
        else:
            self.report.add(result)

    def _keep_owners(self, stocks: Iterable[Stock]) -> None:
        """Only where nobody is named here yet: who changed it here had their reasons."""
        for stock in stocks:
            if stock.owners and not self._shelf.dry_run and not self._uploaders(stock.project):
                self._catalog.change_uploaders(
                    self._shelf.tree, stock.project, add=stock.owners, actor=self._shelf.actor
                )

    def _keep_aliases(self) -> None:
        for path in self._reader.aliases:
            if not self._shelf.dry_run:
                self._catalog.add_alias(path, self._shelf.index, actor=self._shelf.actor)

    def _uploaders(self, project: str) -> list[str]:
        return self._catalog.uploaders(self._shelf.tree, project)

    def _warn_of_unprotected(self, names: Iterable[NormalizedName]) -> None:
        """Names that were private there and would be asked upstream here, since no file of them is published."""
        bare = [
            name
            for name in names
            if not (self._private.match(name) or name in self.plan or self._catalog.knows(self._shelf.tree, name))
        ]
        if bare:
            self.report.warnings.append(
                f"these names are private there, have no file here, and would be asked upstream: {some(bare)}; "
                "add them to `private`"
            )

    def _check_stopped(self) -> None:
        if self._stop.is_set():
            raise Stopped
