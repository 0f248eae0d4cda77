"""What a check says of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from caseus.doctor.visit import Visit

Result = Literal["ok", "warn", "fail", "skip"]
"""`fail`: clients break, or take what is wrong. `warn`: they are slower, or know less. `skip`: it could not be seen."""

_LONGEST = 160


class Verdict(NamedTuple):
    """One thing that was seen, of the project or file `about`; the same of several is shown in one row.

    `mend`: what whoever runs the index can do about it.
    """

    result: Result
    detail: str
    mend: str = ""
    about: str = ""


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


def ok(detail: str, about: str = "") -> Verdict:
    return Verdict("ok", detail, "", about)


def warn(detail: str, mend: str, about: str = "") -> Verdict:
    return Verdict("warn", detail, mend, about)


def fail(detail: str, mend: str, about: str = "") -> Verdict:
    return Verdict("fail", detail, mend, about)


def skip(detail: str, about: str = "") -> Verdict:
    return Verdict("skip", detail, "", about)


def gathered(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Those that say the same of several things as one that names the first few of them."""
    abouts: dict[Verdict, list[str]] = {}
    for verdict in verdicts:
        abouts.setdefault(verdict._replace(about=""), []).append(verdict.about)
    return [
        verdict._replace(detail=f"{some(filter(None, of))}: {verdict.detail}" if any(of) else verdict.detail)
        for verdict, of in abouts.items()
    ]


def plain(text: str) -> str:
    """One line without what can't be printed: a terminal would obey a stranger's control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def quoted(text: str) -> str:
    """Words of a stranger as they may be printed: plain, and not long."""
    line = plain(text)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def some(words: Iterable[str], most: int = 2) -> str:
    """The first few of many: `a, b and 3 more`."""
    all_words: Sequence[str] = list(words)
    shown = ", ".join(quoted(word) for word in all_words[:most])
    left = len(all_words) - most
    return f"{shown} and {left} more" if left > 0 else shown
