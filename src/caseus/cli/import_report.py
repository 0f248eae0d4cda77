"""What came of an import, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caseus.cli.common import print_table

if TYPE_CHECKING:
    from packaging.utils import NormalizedName

    from caseus.importers.report import Report
    from caseus.model import File

_MOST_DETAILS = 100

Plan = Mapping["NormalizedName", Sequence["File"]]


def print_report(report: Report, plan: Plan | None, url: str, *, as_json: bool) -> None:
    """On stdout; `plan` of a dry run, `url` without credentials."""
    if as_json:
        told: dict[str, Any] = {"source": url, "dry_run": plan is not None}
        if plan is not None:
            told["plan"] = [_planned(name, files) for name, files in sorted(plan.items()) if files]
        print(json.dumps(told | report.as_json(), indent=2))
        return
    if plan is None:
        _print_outcomes(report)
        _print_users(report, "taken")
    else:
        _print_plan(plan)
        _print_users(report, "to take")
    _print_details(report)


def _planned(name: str, files: Sequence[File]) -> dict[str, Any]:
    sizes = [file.size for file in files if file.size is not None]
    return {"project": name, "files": len(files), "bytes": sum(sizes), "unknown_sizes": len(files) - len(sizes)}


def _print_plan(plan: Plan) -> None:
    rows = [_planned(name, files) for name, files in sorted(plan.items()) if files]
    rows.append(_planned("all", [file for files in plan.values() for file in files]))
    print_table(
        ("project", "files", "bytes"),
        [(row["project"], str(row["files"]), _size(row["bytes"], row["unknown_sizes"])) for row in rows],
    )


def _size(known: int, unknown: int) -> str:
    """Sizes that the other index doesn't tell are in no sum."""
    from rich.filesize import decimal

    return decimal(known) if not unknown else f"{decimal(known)} and {unknown} of unknown size"


def _print_outcomes(report: Report) -> None:
    from caseus.importers.report import Outcome

    brought = (Outcome.TAKEN, Outcome.CACHED)
    rows = [
        (outcome.value, str(count), _size(report.bytes_of(outcome), 0) if outcome in brought else "")
        for outcome, count in report.counts.items()
        if count or outcome in (Outcome.TAKEN, Outcome.THERE)
    ]
    print_table(("outcome", "files", "bytes"), rows)


def _print_users(report: Report, taken: str) -> None:
    from caseus.importers.report import Outcome

    told = [
        f"{count} {taken if outcome is Outcome.TAKEN else outcome.value}"
        for outcome, count in report.users.items()
        if count
    ]
    if told:
        print("users:", ", ".join(told))


def _print_details(report: Report) -> None:
    details = report.details
    if not details:
        return
    print()
    rows = [
        (
            result.outcome.value,
            result.what,
            "; ".join(filter(None, (result.reason, *result.remarks))),
        )
        for result in details[:_MOST_DETAILS]
    ]
    print_table(("outcome", "of", "why"), rows)
    if len(details) > _MOST_DETAILS:
        print(f"and {len(details) - _MOST_DETAILS} more: --json tells all")
