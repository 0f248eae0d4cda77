"""What came of each file of another index."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Any

import msgspec


class Outcome(Enum):
    """In the order of the report."""

    TAKEN = "taken"
    THERE = "there already"
    YANKED = "yanked"  # here, as there
    UNYANKED = "unyanked"
    DELETED = "deleted"  # here, as there
    GONE = "gone there"  # and kept here
    SKIPPED = "skipped"  # can't be published here, or was deleted here
    CONFLICT = "conflict"  # other bytes have the name here
    DAMAGED = "damaged"  # not what its page says
    FAILED = "failed"  # the other index didn't give it: the next run tries again


BAD = frozenset({Outcome.CONFLICT, Outcome.DAMAGED, Outcome.FAILED})


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`filename` is "" where it is about the project as a whole; `size` in bytes, of what was taken.

    `remarks`: what is odd about a file that was taken all the same.
    """

    outcome: Outcome
    project: str
    filename: str = ""
    size: int = 0
    reason: str = ""
    unanswered: bool = False
    """The other index failed, not only this file of it."""
    remarks: tuple[str, ...] = ()


class Report:
    """The last word on each file; one that was taken in this run stays "taken" when it is seen again."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, str], Result] = {}
        self.warnings: list[str] = []
        self.projects = 0
        """How many were looked at in the last round."""

    def add(self, result: Result) -> None:
        key = (result.project, result.filename)
        before = self._results.get(key)
        if result.outcome is Outcome.THERE and before is not None and before.outcome not in BAD | {Outcome.GONE}:
            return
        self._results[key] = result

    def forget_project(self, project: str) -> None:
        """What was said of the project as a whole: its page was read since."""
        self._results.pop((project, ""), None)

    @property
    def results(self) -> list[Result]:
        """By project and filename."""
        return [self._results[key] for key in sorted(self._results)]

    @property
    def counts(self) -> dict[Outcome, int]:
        """Of every outcome, also of those that nothing came to."""
        counted = Counter(result.outcome for result in self._results.values())
        return {outcome: counted[outcome] for outcome in Outcome}

    @property
    def taken_bytes(self) -> int:
        return sum(result.size for result in self._results.values() if result.outcome is Outcome.TAKEN)

    @property
    def bad(self) -> int:
        """Files that should be here and are not."""
        return sum(result.outcome in BAD for result in self._results.values())

    @property
    def details(self) -> list[Result]:
        """Those that have something to tell."""
        return [result for result in self.results if result.reason or result.remarks]

    def as_json(self) -> dict[str, Any]:
        return {
            "projects": self.projects,
            "files": {outcome.value: count for outcome, count in self.counts.items()},
            "bytes": self.taken_bytes,
            "details": [
                {
                    "outcome": result.outcome.value,
                    "project": result.project,
                    "filename": result.filename or None,
                    "reason": result.reason or None,
                    "remarks": list(result.remarks),
                }
                for result in self.details
            ],
            "warnings": self.warnings,
        }
