"""How an import goes, on stderr."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caseus.importers.report import Progress, Result


def say(text: str, reason: str = "") -> None:
    """A line on stderr, besides the result."""
    print("caseus:", f"{text} ({reason})" if reason else text, file=sys.stderr, flush=True)


def progress(*, lines: bool) -> AbstractContextManager[Progress]:
    """A bar on a terminal; a line for each change where the other index is followed, for a log."""
    if lines:
        return nullcontext(_Lines())
    return _bar() if sys.stderr.isatty() else nullcontext(_Silence())


class _Silence:
    def found(self, files: int) -> None: ...
    def done(self, result: Result) -> None: ...


class _Lines:
    """What changed since it was last told."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], object] = {}

    def found(self, files: int) -> None:
        """Of no interest here."""

    def done(self, result: Result) -> None:
        from caseus.importers.report import Outcome

        key = (result.project, result.filename)
        before, self._told[key] = self._told.get(key), (result.outcome, result.reason)
        if result.outcome is not Outcome.THERE and before != self._told[key]:
            say(f"{result.outcome.value}: {result.filename or result.project}", result.reason)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TextColumn

    class Shown:
        def __init__(self, bar: Bar) -> None:
            self._bar, self._task = bar, bar.add_task("importing", total=0)
            self._total = 0

        def found(self, files: int) -> None:
            self._total += files
            self._bar.update(self._task, total=self._total)

        def done(self, result: Result) -> None:
            self._bar.update(self._task, advance=1)

    counted = TextColumn("{task.completed:.0f} of {task.total:.0f} files so far")
    with Bar(*Bar.get_default_columns()[:2], counted, console=Console(stderr=True), transient=True) as bar:
        yield Shown(bar)


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM end the import in good order; the second one ends it at once, which does no harm."""
    before = {}

    def handle(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
