"""What was found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple, TextIO

from caseus.doctor.verdicts import Finding, Result

_STYLES: Final[dict[Result, str]] = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}
_HEADERS: Final = ("check", "result", "detail", "how to mend it")


class Report(NamedTuple):
    """`unseen`: why hardly anything could be looked at; None where it could."""

    url: str
    projects: tuple[str, ...]
    findings: tuple[Finding, ...]
    unseen: str | None = None

    def count(self, result: Result) -> int:
        return sum(finding.result == result for finding in self.findings)

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.result in ("warn", "fail"))

    @property
    def summary(self) -> str:
        """In one line: what a person wants to know first."""
        return ", ".join(f"{self.count(result)} {result}" for result in _STYLES)


def as_json_text(report: Report) -> str:
    """`url`, `projects`, `summary` (how many of each result), `findings` (`check`, `result`, `detail`, `mend`)."""
    return json.dumps(
        {
            "url": report.url,
            "projects": list(report.projects),
            "summary": {result: report.count(result) for result in _STYLES},
            "findings": [finding._asdict() for finding in report.findings],
        },
        indent=2,
    )


def show(report: Report, stream: TextIO) -> None:
    """A table on a terminal; else a line a finding and, behind an arrow, how to mend it."""
    looked = ", ".join(report.projects) or "none"
    if stream.isatty():
        _show_table(report, stream)
    else:
        stream.write("".join(_line(report.findings, finding) for finding in report.findings))
    stream.write(f"{report.url} (projects: {looked}): {report.summary}\n")


def _line(findings: Sequence[Finding], finding: Finding) -> str:
    width = max(len(each.check) for each in findings)
    mend = f"\n{'':<6}{'':<{width}}  -> {finding.mend}" if finding.mend else ""
    return f"{finding.result:<6}{finding.check:<{width}}  {finding.detail}{mend}\n"


def _show_table(report: Report, stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*_HEADERS, box=box.SIMPLE_HEAD, pad_edge=False)
    for finding in report.findings:
        result = Text(finding.result, style=_STYLES[finding.result])
        table.add_row(finding.check, result, Text(finding.detail, overflow="fold"), Text(finding.mend))
    Console(file=stream).print(table)
