"""What was found, for a terminal and as docs/benchmarks.md."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from rich.table import Table

from bench.parts import PARTS
from bench.results import Goal, Part, Row
from caseus import __version__
from support.clients import tool
from support.figures import machine
from support.peers import peer

_TEMPLATE = Template((Path(__file__).parent / "page.md").read_text())
_PEERS = {
    "pypiserver": "pypi-server",
    "proxpi": "gunicorn",
    "gunicorn": "gunicorn",
    "simple-repository-server": "simple-repository-server",
    "devpi-server": "devpi-server",
    "dumb-pypi": "dumb-pypi",
}
"""Distributions, each with a program of its environment."""
_ASK = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


def columns(rows: Iterable[Row]) -> list[str]:
    """Of a part's table: all that its rows have figures of."""
    return list(dict.fromkeys(name for row in rows for name in row.figures))


def show(part: Part, rows: Sequence[Row]) -> Table:
    """A part's figures, for a terminal."""
    names = columns(rows)
    shown = Table("", *names, title=part.title, title_justify="left", title_style="bold")
    for row in rows:
        shown.add_row(row.what.replace("`", ""), *(row.figures.get(name, "–") for name in names))
    return shown


def results(found: Mapping[str, Sequence[Row]]) -> Table:
    """All goals, for a terminal."""
    shown = Table("", "", "to be reached", "found", "", title="Goals", title_justify="left", title_style="bold")
    for title, row, goal in _goals(found):
        met = "" if goal.met else "[red]missed[/red]"
        shown.add_row(title, row.what.replace("`", ""), goal.wanted, goal.found, met)
    return shown


def page(found: Mapping[str, Sequence[Row]]) -> str:
    """docs/benchmarks.md."""
    goals = list(_goals(found))
    cells = [
        (title, row.what, goal.wanted, goal.found, "reached" if goal.met else "**missed**")
        for title, row, goal in goals
    ]
    return _TEMPLATE.substitute(
        version=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        machine=_table(("machine", ""), [*machine_facts().items(), *versions().items()]),
        reached=sum(goal.met for _, _, goal in goals),
        all=len(goals),
        goals=_table(("", "", "to be reached", "found", ""), cells),
        parts="\n\n".join(_section(PARTS[name], rows) for name, rows in found.items()),
    )


def _goals(found: Mapping[str, Sequence[Row]]) -> Iterator[tuple[str, Row, Goal]]:
    """With the title of the part."""
    for name, rows in found.items():
        for row in rows:
            for goal in row.goals:
                yield PARTS[name].title, row, goal


def _section(part: Part, rows: Sequence[Row]) -> str:
    names = columns(rows)
    cells = [(row.what, *(row.figures.get(name, "–") for name in names)) for row in rows]
    return f"## {part.title}\n\n{part.text.strip()}\n\n{_table(('', *names), cells)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def machine_facts() -> dict[str, str]:
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {"processor": model[1] if model else platform.machine(), **machine()}


def versions() -> dict[str, str]:
    """Of what caseus is measured with and beside."""
    said = {
        "nginx": _said(shutil.which("nginx", path="/usr/sbin:/sbin:/usr/bin:/bin") or "nginx", "-v"),
        "wrk": _said("wrk", "-v"),
        "uv": _said(tool("uv"), "--version"),
    }
    found = {name: match[0] if (match := re.search(r"\d+(\.\d+)+", text)) else text for name, text in said.items()}
    for name, program in _PEERS.items():
        found[name] = _said(str(Path(peer(program)).with_name("python")), "-c", _ASK, name)
    return found


def _said(*command: str) -> str:
    """A program's first line, on either stream; its exit code says nothing (wrk's is 1)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return next(iter(done.stdout.splitlines()), "")
