"""What a measurement tells: one row for each figure, with the target where there is one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """`wanted`: the target, "" for none; `met`: None where there is none."""

    what: str
    figure: str
    wanted: str = ""
    met: bool | None = None


def at_most(what: str, value: float, limit: float, unit: str, more: str = "") -> Row:
    """Of a figure that should not be greater."""
    return Row(what, f"{value:.2f} {unit}" + (f" ({more})" if more else ""), f"≤ {limit:g} {unit}", value <= limit)


def at_least(what: str, value: float, limit: float, more: str = "") -> Row:
    """Of a ratio that should not be smaller."""
    return Row(what, f"{value:.2f}x" + (f" ({more})" if more else ""), f"≥ {limit:g}x", value >= limit)


def cuts(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99, in milliseconds."""
    found = statistics.quantiles(seconds, n=100)
    return 1000 * found[49], 1000 * found[98]


def show(rows: Iterable[Row]) -> int:
    """Print them as they come. 1 if a target was missed, else 0."""
    missed = False
    for row in rows:
        missed = missed or row.met is False
        verdict = {None: "", True: "met", False: "MISSED"}[row.met]
        print(f"{row.what:58} {row.figure:44} {row.wanted:12} {verdict}".rstrip(), flush=True)
    return int(missed)
