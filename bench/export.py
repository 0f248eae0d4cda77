"""Static files, beside the real dumb-pypi, of the same lists, in turns.

Medians of the time and of the processors' time; then, in runs of their own, the peak of all processes together, what
they share counted once. Where others keep the cores busy, the ratio of the processors' time tells more.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.results import Part, Row, Run
from support.exported import DUMB_PYPI
from support.server import clean_environment

CASEUS = Path(sys.executable).parent / "caseus"
RELEASES = 10
CHANGED = 10
MIB = 1 << 20
COUNTS = (10_000,)
_LOOK = 0.02  # seconds between two looks at the memory of all processes


class Ended(NamedTuple):
    """`cpu`: seconds of all processes; `together`: bytes of all of them, 0 where nobody looked."""

    seconds: float
    cpu: float
    together: int = 0


class Tool(NamedTuple):
    name: str
    command: Sequence[str | Path]
    folder: Path

    def run(self, options: Iterable[str | Path], *, look: bool = False) -> Ended:
        flags = ("--output-dir", self.folder, "--packages-url", "../../pool/")
        os.sync()  # what an earlier run wrote is not this one's to wait for
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*self.command, *options, *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=clean_environment({"PYTHONWARNINGS": "ignore"}),
        )
        together = _watched(process.pid) if look else 0
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or said:
            sys.exit(f"bench: {self.name} ended with {process.returncode}: {said[-500:].decode(errors='replace')}")
        return Ended(seconds, usage.ru_utime + usage.ru_stime, together)


def rows(run: Run) -> Iterator[Row]:
    for count in COUNTS:
        yield from measure(run, count, 3)


def measure(run: Run, count: int, rounds: int) -> Iterator[Row]:
    """All kinds of runs over a list of so many files."""
    folder = run.folder
    lists = folder / f"{count}.json", folder / f"{count}-changed.json"
    write_lists(*lists, count)
    tools = [
        Tool("dumb-pypi", [DUMB_PYPI], folder / "dumb-pypi"),
        Tool("caseus", [CASEUS, "export"], folder / "caseus"),
    ]
    first, second = (("--package-list-json", path) for path in lists)
    after_first = ("--previous-package-list-json", lists[0])
    after_second = ("--previous-package-list-json", lists[1])
    begin = [(*first,)]
    yield tell(run, count, "all", tools, rounds, begin, fresh=True)
    yield tell(run, count, f"{CHANGED} changed", tools, rounds, [(*second, *after_first), (*first, *after_second)])
    for tool in tools:
        tool.run(first)
    yield tell(run, count, "nothing changed", tools, rounds, [(*first, *after_first)])
    for tool in tools:
        shutil.rmtree(tool.folder)


def tell(
    run: Run,
    count: int,
    what: str,
    tools: Sequence[Tool],
    rounds: int,
    ways: Sequence[Sequence[str | Path]],
    *,
    fresh: bool = False,
) -> Row:
    """A row of the table. `ways`: flags, taken in turns; `fresh`: each run finds no tree."""
    runs: dict[str, list[Ended]] = {tool.name: [] for tool in tools}
    for number in range(rounds + 1):
        for tool in tools:
            run.tell(f"{count:,} files, {what}, {tool.name}")
            if fresh:
                shutil.rmtree(tool.folder, ignore_errors=True)
            runs[tool.name].append(tool.run(ways[number % len(ways)], look=number == rounds))
    theirs, ours = (_median(runs[tool.name]) for tool in tools)
    figures = {
        tool.name: f"{found.seconds:.2f} s, CPU {found.cpu:.2f} s, {found.together / MIB:.0f} MiB"
        for tool, found in zip(tools, (theirs, ours), strict=True)
    }
    figures["times as fast"] = f"{theirs.seconds / ours.seconds:.1f}"
    return Row(f"{count:,} files, {what}", figures)


def _median(runs: Sequence[Ended]) -> Ended:
    """Of the last one only what all had together."""
    *timed, looked = runs
    seconds, cpu = (statistics.median(column) for column in list(zip(*timed, strict=True))[:2])
    return Ended(seconds, cpu, looked.together)


def write_lists(path: Path, changed: Path, count: int) -> None:
    """A list with all keys in no order: projects of ten releases, each a wheel and an sdist; and one in which a few
    files are yanked."""
    chance = random.Random(count)
    lines = [_line(chance, number) for number in range(count)]
    chance.shuffle(lines)
    _write(path, lines)
    for number in range(CHANGED):
        lines[number * count // CHANGED] |= {"yanked_reason": "does not start"}
    _write(changed, lines)


def _line(chance: random.Random, number: int) -> dict[str, object]:
    project, release, kind = number // (2 * RELEASES), number // 2 % RELEASES, number % 2
    name = f"acme_{project % 97}_{('core', 'tools', 'web', 'data')[project % 4]}_{project}"
    version = f"{release // 4}.{release % 4}.{project % 20}"
    return {
        "filename": f"{name}-{version}-py3-none-any.whl" if kind else f"{name}-{version}.tar.gz",
        "hash": f"sha256={chance.randbytes(32).hex()}",
        "requires_python": chance.choice([">=3.8", ">=3.9,<4", ">=3.11"]),
        "requires_dist": chance.sample(["click>=8", "rich", "attrs ; python_version < '3.9'", "httpx[http2]<1"], 2),
        "uploaded_by": chance.choice(["ann", "bob", "carol"]),
        "upload_timestamp": 1_500_000_000 + chance.randrange(10**8),
    }


def _write(path: Path, lines: Iterable[dict[str, object]]) -> None:
    with path.open("w") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")


def _watched(pid: int) -> int:
    """The most that the process and its children had together, looked at again and again until it ends."""
    most = 0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        most = max(most, sum(map(_proportional, [pid, *_children(pid)])))
        time.sleep(_LOOK)
    return most


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _proportional(pid: int) -> int:
    """Bytes of its memory; of what it shares its share (PSS)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


PART = Part(
    title="Static files",
    text="""\
The same list of files, by dumb-pypi and by `caseus export`, in turns: wall time, CPU, and in a run of its own the peak
of all processes together, what they share counted once.""",
    rows=rows,
    long=True,
)
