"""What was seen in a project's folder, since when, and what was made of it.

What is being copied changes for as long as the copy lasts, so that only what stays as it is for a moment is believed;
and what was read once and found to be nothing is not read again until it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from caseus.watch.tree import Seen

SETTLED = 0.3
"""Seconds for which something has to stay as it is, or away, before that is believed."""


class Verdict(Enum):
    OPEN = auto()  # not looked into yet, or to be looked into again
    WORKING = auto()
    BURIED = auto()  # the name was used before, by other bytes or by what was deleted on purpose
    JUDGED = auto()  # whatever it was: there is nothing to do until it changes


@dataclass
class Note:
    """One name. `sight`: None where it is absent; times in seconds of the notes' clock."""

    sight: Seen | None
    since: float
    verdict: Verdict = Verdict.OPEN
    not_before: float = 0.0


class Notes:
    """Of one project. Belongs to one thread, but for the verdicts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._notes: dict[str, Note] = {}
        self._met: set[str] = set()

    def meet(self, name: str, sight: Seen | None) -> Note:
        """The note of a name as it is now seen; a new one if it was otherwise."""
        self._met.add(name)
        note = self._notes.get(name)
        if note is None or note.sight != sight:
            note = self._notes[name] = Note(sight, self._clock())
        return note

    def __len__(self) -> int:
        return len(self._notes)

    def is_ripe(self, note: Note) -> bool:
        """Whether it is time to look into it."""
        return _is_open(note) and self._clock() >= max(note.since + SETTLED, note.not_before)

    def put_off(self, note: Note, seconds: float) -> None:
        """To be looked into again, but not before that."""
        note.not_before, note.verdict = self._clock() + seconds, Verdict.OPEN

    def finish(self) -> float | None:
        """A look is over: forget what was not met in it. Seconds until something gets ripe, None if nothing does."""
        self._notes = {name: note for name, note in self._notes.items() if name in self._met}
        self._met.clear()
        ripe = [max(note.since + SETTLED, note.not_before) for note in self._notes.values() if _is_open(note)]
        return max(0.0, min(ripe) - self._clock()) if ripe else None


def _is_open(note: Note) -> bool:
    return note.verdict is Verdict.OPEN
