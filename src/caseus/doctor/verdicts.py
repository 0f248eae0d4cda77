"""What a check says of an index."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from caseus.doctor.visit import Visit

Result = Literal["ok", "warn", "fail", "skip"]
"""`fail`: clients break, or take what is wrong. `warn`: they are slower, or know less. `skip`: it could not be seen."""

_CONTROL = re.compile(r"[^\x20-\x7e\xa0-\U0010ffff]+")
_LONGEST = 160


class Verdict(NamedTuple):
    """One thing that was seen. `mend`: what whoever runs the index can do about it."""

    result: Result
    detail: str
    mend: str = ""


class Finding(NamedTuple):
    """A verdict and the name of the check that it is of."""

    check: str
    result: Result
    detail: str
    mend: str


class Check(NamedTuple):
    """`look` yields what it saw; a check that yields no `warn` or `fail` has found the index to be in order."""

    name: str
    look: Callable[[Visit], Iterator[Verdict]]


def ok(detail: str) -> Verdict:
    return Verdict("ok", detail)


def warn(detail: str, mend: str) -> Verdict:
    return Verdict("warn", detail, mend)


def fail(detail: str, mend: str) -> Verdict:
    return Verdict("fail", detail, mend)


def skip(detail: str) -> Verdict:
    return Verdict("skip", detail)


def quoted(text: str) -> str:
    """Words of a stranger as they may be printed: one line without control characters, not long."""
    plain = " ".join(_CONTROL.sub(" ", text).split())
    return plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "…"


def some(words: Iterable[str], most: int = 2) -> str:
    """The first few of many: `a, b and 3 more`."""
    all_words: Sequence[str] = list(words)
    shown = ", ".join(quoted(word) for word in all_words[:most])
    left = len(all_words) - most
    return f"{shown} and {left} more" if left > 0 else shown
