"""What the last run left in a tree: whether there is anything to do, and what of a list need not be looked at again."""

from __future__ import annotations

from caseus.export.memory import Memory
from caseus.export.options import Options
from caseus.export.report import Report
from caseus.export.scan import Seen
from caseus.export.state import RUNNING, memory_of, read_state, told
from caseus.export.target import Target


class LastRun:
    """`state`: what it noted, None where there is nothing that we understand. `is_sure`: whether that is all that is
    here, for it was not cut off, nor any after it. `pages`, `lists`: digests of this run's options."""

    def __init__(self, target: Target, options: Options) -> None:
        self.state = read_state(target)
        self.is_sure = target.empty or not target.exists(RUNNING)
        self.pages, self.lists = options.digests()

    @property
    def has_pages(self) -> bool:
        """Whether the options call for the same pages of projects as those that are noted."""
        return self.state is not None and self.is_sure and self.state.pages == self.pages

    @property
    def has_lists(self) -> bool:
        return self.state is not None and self.is_sure and self.state.lists == self.lists

    @property
    def knows_all(self) -> bool:
        """Whether its own notes tell all that is here, so that no list of an earlier run tells more."""
        return self.state is not None and self.is_sure and bool(self.state.kind)

    def memory(self, kind: str) -> Memory | None:
        """What it knew of its lines, if that is of use for a list of this kind."""
        state = self.state
        return memory_of(state) if state is not None and (state.kind, state.pages) == (kind, self.pages) else None

    def is_done(self, seen: Seen) -> Report | None:
        """What there is, where it was of just this list with these options."""
        if self.state is None or not self.has_lists or not seen.is_known:
            return None
        return told(self.state.projects.values())
