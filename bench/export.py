"""Static files, beside the real dumb-pypi, of the same lists, in turns.

Medians of the time and of the processors' time; then, in a run of its own, the peak of all processes together, what
they share counted once. Where others keep the cores busy, the ratio of the processors' time tells more. The trees are
in memory where there is room: making so many files takes everybody the same time on a disk.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

from bench.results import Goal, Part, Row, Run, at_least, at_most, told, within
from support.peers import peer
from support.server import clean_environment

CASEUS = Path(sys.executable).parent / "caseus"
RELEASES = 10
CHANGED = 20
"""One in so many projects changes."""
ROUNDS = {10_000: 5, 100_000: 2}
ALONE = 1_000_000
"""Files of a list that only caseus exports."""
MIB = 1 << 20
_ROOM = 8 << 30  # bytes that the largest tree needs, with some to spare
_MEMORY = Path("/dev/shm")
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
    with _room(run.folder) as folder:
        for count, rounds in ROUNDS.items():
            yield from measure(run, folder, count, rounds)
        yield alone(run, folder, ALONE)


def measure(run: Run, folder: Path, count: int, rounds: int) -> Iterator[Row]:
    """All kinds of runs over a list of so many files."""
    lists = folder / f"{count}.json", folder / f"{count}-changed.json"
    write_lists(*lists, count)
    tools = [Tool("dumb-pypi", [peer("dumb-pypi")], folder / "dumb-pypi"), _caseus(folder)]
    first, second = (("--package-list-json", path) for path in lists)
    after_first = ("--previous-package-list-json", lists[0])
    after_second = ("--previous-package-list-json", lists[1])
    begin = [(*first,)]
    theirs, ours = taken(run, f"{count:,} files, all", tools, rounds, begin, fresh=True)
    goals = (
        at_least(8, theirs.seconds / ours.seconds, "dumb-pypi"),
        at_most(0.5, ours.together / theirs.together, "its memory"),
    )
    yield _row(f"{count:,} files, all", theirs, ours, goals)
    large = count == max(ROUNDS)  # a run over a short list is little more than the start of a program
    what = f"{count:,} files, 1 in {CHANGED} projects changed"
    theirs, ours = taken(run, what, tools, rounds, [(*second, *after_first), (*first, *after_second)])
    yield _row(what, theirs, ours, (at_least(20, theirs.seconds / ours.seconds, "dumb-pypi"),) if large else ())
    for tool in tools:
        tool.run(first)
    what = f"{count:,} files, nothing changed"
    theirs, ours = taken(run, what, tools, rounds, [(*first, *after_first)])
    yield _row(what, theirs, ours, (within(1, ours.seconds, "s"),) if large else ())
    for tool in tools:
        shutil.rmtree(tool.folder)


def alone(run: Run, folder: Path, count: int) -> Row:
    """A list that is large for anybody."""
    path, tool = folder / f"{count}.json", _caseus(folder)
    write_lists(path, None, count)
    run.tell(f"{count:,} files, all")
    ended = tool.run(("--package-list-json", path), look=True)
    goals = within(120, ended.seconds, "s"), within(1024, ended.together / MIB, "MiB")
    return Row(f"{count:,} files, all", {tool.name: _told(ended)}, goals)


def _caseus(folder: Path) -> Tool:
    return Tool("caseus", [CASEUS, "export"], folder / "caseus")


def taken(
    run: Run,
    what: str,
    tools: Sequence[Tool],
    rounds: int,
    ways: Sequence[Sequence[str | Path]],
    *,
    fresh: bool = False,
) -> list[Ended]:
    """What each tool took. `ways`: flags, taken in turns; `fresh`: each run finds no tree, and one more is watched."""
    runs: dict[str, list[Ended]] = {tool.name: [] for tool in tools}
    for number in range(rounds + fresh):
        for tool in tools:
            run.tell(f"{what}, {tool.name}")
            if fresh:
                shutil.rmtree(tool.folder, ignore_errors=True)
            runs[tool.name].append(tool.run(ways[number % len(ways)], look=number == rounds))
    return [_median(runs[tool.name]) for tool in tools]


def _row(what: str, theirs: Ended, ours: Ended, goals: tuple[Goal, ...]) -> Row:
    figures = {
        "dumb-pypi": _told(theirs),
        "caseus": _told(ours),
        "times as fast": told(theirs.seconds / ours.seconds),
        "by CPU": told(theirs.cpu / ours.cpu),
    }
    return Row(what, figures, goals)


def _told(ended: Ended) -> str:
    memory = f", {ended.together / MIB:.0f} MiB" if ended.together else ""
    return f"{ended.seconds:.2f} s, CPU {ended.cpu:.2f} s{memory}"


def _median(runs: Sequence[Ended]) -> Ended:
    """A run that was watched tells only the memory."""
    timed = [ended for ended in runs if not ended.together]
    seconds, cpu = (statistics.median(column) for column in list(zip(*timed, strict=True))[:2])
    return Ended(seconds, cpu, max(ended.together for ended in runs))


def write_lists(path: Path, changed: Path | None, count: int) -> None:
    """A list with all keys in no order: projects of ten releases, each a wheel and an sdist; and one in which a file of
    one in `CHANGED` projects is yanked."""
    chance = random.Random(count)
    order = chance.sample(range(count), count)
    with path.open("w") as plain, changed.open("w") if changed is not None else nullcontext() as other:
        for number in order:
            line = _line(chance, number)
            plain.write(json.dumps(line) + "\n")
            if other is not None:
                more = {} if number % (CHANGED * 2 * RELEASES) else {"yanked_reason": "does not start"}
                other.write(json.dumps(line | more) + "\n")


@contextmanager
def _room(folder: Path) -> Iterator[Path]:
    """In memory where all trees have room there."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="caseus-bench-", dir=_MEMORY) as found:
        yield Path(found)


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
The same list of files, by dumb-pypi and by `caseus export`, in turns, with the JSON of each release: wall time, CPU,
and in a run of its own the peak of all processes together, what they share counted once. Projects of ten releases, each
a wheel and an sdist; where some changed, one file of each was yanked.""",
    rows=rows,
    long=True,
)
