"""A bar on stderr, if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from caseus.upkeep.progress import Silent


class Bar(Silent):
    """Shows one stretch at a time; a total of None is not known."""

    def __init__(self, doing: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._shown = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._shown.add_task(doing, total=total)

    def begin(self, doing: str, total: int) -> None:
        self._shown.reset(self._task, description=doing, total=total)

    def step(self) -> None:
        self._shown.advance(self._task)

    def start(self) -> None:
        self._shown.start()

    def stop(self) -> None:
        self._shown.stop()


@contextmanager
def showing(doing: str, total: int | None = None) -> Iterator[Silent]:
    """The bar, or nothing."""
    if not sys.stderr.isatty():
        yield Silent()
        return
    bar = Bar(doing, total)
    bar.start()
    try:
        yield bar
    finally:
        bar.stop()
