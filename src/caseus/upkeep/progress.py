"""How far something is, for whoever wants to show it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def begin(self, doing: str, total: int) -> None:
        """A new stretch of `total` steps."""
        ...

    def step(self) -> None: ...


class Silent:
    """Nobody looks."""

    def begin(self, doing: str, total: int) -> None:
        pass

    def step(self) -> None:
        pass


SILENT = Silent()
