"""Jobs that are killed at a given step, and a copy of a folder for each step; `faults/dying_worker.py` runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from support.server import clean_environment

WORKER = Path(__file__).parents[1] / "faults" / "dying_worker.py"


class Outcome(NamedTuple):
    killed: bool
    code: int
    steps: list[str]
    said: list[str]


class Worker:
    def __init__(self) -> None:
        environment = clean_environment({"PYTHONPATH": str(Path(__file__).parents[1]), "SSL_CERT_FILE": os.devnull})
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def run(self, what: str, root: Path, step: int = 0, *, torn: bool = False, **job: object) -> Outcome:
        """One job to its end, or to the step where it is killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        words = {name: str(value) if isinstance(value, Path) else value for name, value in job.items()}
        told = {"what": what, "root": str(root), "step": step, "torn": torn, **words}
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        outcome = Outcome(**json.loads(self._process.stdout.readline()))
        assert outcome.killed or outcome.code == 0, f"{what} failed: {outcome}"
        return outcome

    def close(self) -> None:
        self._process.communicate()


def each_step(
    template: Path, work: Path, run: Callable[[Path, int, bool], Outcome], stride: int = 1
) -> Iterator[tuple[Path, Outcome]]:
    """A copy of the template for each step at which `run` was killed; writes are torn in a second try.

    `stride`: 3 takes every third step.
    """
    number, torn = 1, False
    while True:
        root = work / "root"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)
        outcome = run(root, number, torn)
        yield root, outcome
        if not outcome.killed:
            return
        torn = not torn and outcome.steps[-1] in ("write", "pwrite")
        number += 0 if torn else stride
