"""What came of an export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """A line that can't be used: its number from 1, what stands there, and why not."""

    line: int
    text: str
    reason: str


class Report(NamedTuple):
    """`written`, `kept` and `deleted` count pages and lists, with their compressed forms.

    `faults`: the first of the `bad` lines.
    """

    files: int
    projects: int
    written: int
    kept: int
    deleted: int
    bad: int = 0
    faults: Sequence[Fault] = ()
