"""docs/promises.md, made of the promises and of what the last long run found."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proof.promises import NOT_PROMISED, Promise

HEAD = """\
# Promises

What caseus promises, what is counted to see whether it holds, the tests that do so, and what the last long run of them
found. `make proof` runs them (some twenty minutes, as root, for disks to mount) and writes this page. `make test` runs
the same tests in a short form.
"""


class NotShown(Exception):
    """A promise whose tests failed, or did not run."""


@dataclass
class Run:
    """What a run wrote down. `tests`: outcomes by path and function, without parameters; `figures`: by test."""

    date: str = ""
    version: str = ""
    machine: dict[str, str] = field(default_factory=dict)
    tests: dict[str, Counter[str]] = field(default_factory=dict)
    figures: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)

    def outcomes(self, test: str) -> Counter[str]:
        """Of a file or of one function in it."""
        found = (outcomes for name, outcomes in self.tests.items() if _covers(test, name))
        return sum(found, Counter[str]())

    def counts(self, tests: Sequence[str]) -> Iterator[tuple[str, Counter[str]]]:
        """Each figure of these tests, in the order of the run; those of one name are added up."""
        added: dict[str, Counter[str]] = {}
        for name, figures in self.figures.items():
            if any(_covers(test, name) for test in tests):
                for figure, counts in figures.items():
                    added.setdefault(figure, Counter()).update(counts)
        yield from added.items()


def read(path: Path) -> Run:
    """What `--proof` wrote."""
    run = Run()
    for line in path.read_text().splitlines():
        told: dict[str, Any] = json.loads(line)
        if "machine" in told:
            run.date, run.version, run.machine = told["date"], told["version"], told["machine"]
        elif "outcome" in told:
            run.tests.setdefault(_function(told["test"]), Counter())[told["outcome"]] += 1
        else:
            figures = run.figures.setdefault(_function(told["test"]), {})
            figures.setdefault(told["figure"], Counter()).update(told["counts"])
    return run


def write(run: Run, promises: Sequence[Promise]) -> str:
    """The page. NotShown if a promise is said to hold and its tests don't say so."""
    machine = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    parts = [
        HEAD,
        _paragraph(f"Last run: {run.date}, caseus {run.version}, on a machine with {machine}."),
        _overview(promises),
    ]
    parts += [_promise(run, promise) for promise in promises]
    parts.append("## Not promised\n")
    parts.append("\n".join(_paragraph(f"- {each}", "  ").rstrip() for each in NOT_PROMISED) + "\n")
    return "\n".join(parts)


def _overview(promises: Sequence[Promise]) -> str:
    rows = [f"| [{each.number}](#promise-{each.number}) | {each.text} | {each.state} |" for each in promises]
    return "\n".join(["| | promise | today |", "|---|---|---|", *rows]) + "\n"


def _promise(run: Run, promise: Promise) -> str:
    parts = [f"## Promise {promise.number}\n", _paragraph(f"**{promise.text}** {_capital(promise.state)}.")]
    if promise.measure:
        parts.append(_paragraph(f"Counted: {promise.measure}"))
    if promise.limits:
        parts.append(_paragraph(f"Limits: {promise.limits}" if promise.tests else promise.limits))
    if promise.tests:
        rows = [f"| `{test}` | {_passed(run, promise, test)} |" for test in promise.tests]
        parts.append("\n".join(["| tests | passed |", "|---|---|", *rows]) + "\n")
    rows = [f"| {name} | {_told(counts)} |" for name, counts in run.counts(promise.tests)]
    if rows:
        parts.append("\n".join(["| figures of the last run | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _passed(run: Run, promise: Promise, test: str) -> int:
    outcomes = run.outcomes(test)
    if set(outcomes) != {"passed"}:
        raise NotShown(f"promise {promise.number}: {test} {dict(outcomes) or 'did not run'}")
    return outcomes["passed"]


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{what}: {number:,}" for what, number in counts.items())


def _paragraph(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) + "\n"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _function(test: str) -> str:
    return test.partition("[")[0]


def _covers(test: str, name: str) -> bool:
    """Whether what a promise names is this function, its class or its file."""
    return name == test or name.startswith(f"{test}::")
