"""What a benchmark finds: rows of a table, and what was to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Goal(NamedTuple):
    """Something that is to be reached, as it is told, and whether it was."""

    wanted: str
    found: str
    met: bool


class Row(NamedTuple):
    """`figures`: whose or what they are, to how they are told. A part's table has the columns of all its rows."""

    what: str
    figures: Mapping[str, str]
    goals: tuple[Goal, ...] = ()


class Run(NamedTuple):
    """What a part is given: an own empty `folder`; `quick`: fewer and shorter rounds; whom to tell what is done now."""

    folder: Path
    quick: bool
    tell: Callable[[str], None]


class Part(NamedTuple):
    """A part of the benchmark. `text` says what is measured and how, as Markdown; `rows` measures; `long`: not for a
    quick run, unless it is asked for by name."""

    title: str
    text: str
    rows: Callable[[Run], Iterator[Row]]
    long: bool = False


def figure(what: str, found: str, goal: Goal | None = None) -> Row:
    """A row of one figure."""
    return Row(what, {"found": found}, () if goal is None else (goal,))


def at_least(bound: float, found: float, of: str) -> Goal:
    """A ratio that is to be so large. `of`: what it is a ratio of."""
    return Goal(f"≥ {bound:g} × {of}", told(found), found >= bound)


def at_most(bound: float, found: float, of: str) -> Goal:
    """A ratio that is to be so small."""
    return Goal(f"≤ {bound:g} × {of}", told(found), found <= bound)


def within(bound: float, found: float, unit: str) -> Goal:
    """A time or size that is to be so small."""
    return Goal(f"≤ {bound:g} {unit}", f"{told(found)} {unit}", found <= bound)


def cuts(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99, in milliseconds."""
    found = statistics.quantiles(seconds, n=100)
    return 1000 * found[49], 1000 * found[98]


def told(number: float) -> str:
    """With as many digits as say something."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
