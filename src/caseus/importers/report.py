"""What came of each file, and each user, of another index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol

import msgspec

from caseus.errors import CaseusError, Conflict


class Outcome(Enum):
    """In the order of the report."""

    TAKEN = "taken"
    CACHED = "cached"  # the cache has it now
    KNOWN = "known"  # there too it was known and never downloaded
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


class Damaged(CaseusError):
    """What came is not the file that was told of, or no file at all."""


class TooBig(CaseusError):
    """More bytes than are accepted here."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"it is larger than the limit of {limit} bytes: raise max_file_bytes to take it")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`filename` is "" where it is about the project as a whole; with `user`, it is about that one alone.

    `size` in bytes, of what was taken; `remarks`: what is odd about a file that was taken all the same.
    """

    outcome: Outcome
    project: str = ""
    filename: str = ""
    user: str = ""
    size: int = 0
    reason: str = ""
    unanswered: bool = False
    """The other index failed, not only this file of it."""
    remarks: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What it is about, in words."""
        return self.filename or (f"user {self.user}" if self.user else f"project {self.project}")


class Progress(Protocol):
    """Is told how it goes, in the importer's own thread."""

    def found(self, files: int) -> None: ...  # so many more are looked at
    def done(self, result: Result) -> None: ...


def refused(project: str, filename: str, error: CaseusError) -> Result:
    """Of a file that can't be taken: Conflict, Damaged, or else it is not fit for this index."""
    outcome = Outcome.SKIPPED
    if isinstance(error, Conflict | Damaged):
        outcome = Outcome.CONFLICT if isinstance(error, Conflict) else Outcome.DAMAGED
    return Result(outcome=outcome, project=project, filename=filename, reason=str(error))


def some(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


class Report:
    """The last word on each file; one that was taken in this run stays "taken" when it is seen again."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, str, str], Result] = {}
        self.warnings: list[str] = []
        self.projects = 0
        """How many were looked at in the last round."""

    def warn_of_displaced(self, names: Sequence[str]) -> None:
        """Names that were the upstream's so far."""
        if names:
            self.warnings.append(
                f"these names were fetched from the upstream so far and are yours once they are imported: {some(names)}"
            )

    def add(self, result: Result) -> None:
        key = (result.user, result.project, result.filename)
        before = self._results.get(key)
        if result.outcome is Outcome.THERE and before is not None and before.outcome not in BAD | {Outcome.GONE}:
            return
        self._results[key] = result

    def forget_project(self, project: str) -> None:
        """What was said of the project as a whole: its page was read since."""
        self._results.pop(("", project, ""), None)

    @property
    def results(self) -> list[Result]:
        """By project and filename; then users."""
        return [self._results[key] for key in sorted(self._results)]

    @property
    def counts(self) -> dict[Outcome, int]:
        """Files of every outcome, also of those that nothing came to."""
        return self._counted(users=False)

    @property
    def users(self) -> dict[Outcome, int]:
        """Users of every outcome."""
        return self._counted(users=True)

    def _counted(self, *, users: bool) -> dict[Outcome, int]:
        counted = Counter(result.outcome for result in self._results.values() if bool(result.user) is users)
        return {outcome: counted[outcome] for outcome in Outcome}

    def bytes_of(self, outcome: Outcome) -> int:
        return sum(result.size for result in self._results.values() if result.outcome is outcome)

    @property
    def bad(self) -> int:
        """Files and users that should be here and are not."""
        return sum(result.outcome in BAD for result in self._results.values())

    @property
    def details(self) -> list[Result]:
        """Those that have something to tell."""
        return [result for result in self.results if result.reason or result.remarks]

    def as_json(self) -> dict[str, Any]:
        return {
            "projects": self.projects,
            "files": {outcome.value: count for outcome, count in self.counts.items()},
            "bytes": self.bytes_of(Outcome.TAKEN) + self.bytes_of(Outcome.CACHED),
            "users": {outcome.value: count for outcome, count in self.users.items() if count},
            "details": [
                {
                    "outcome": result.outcome.value,
                    "project": result.project or None,
                    "filename": result.filename or None,
                    "user": result.user or None,
                    "reason": result.reason or None,
                    "remarks": list(result.remarks),
                }
                for result in self.details
            ],
            "warnings": self.warnings,
        }
