"""What the long form of the tests finds out: the machine, each test's outcome, and counts; a JSON object a line."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caseus import __version__


class FigureLog:
    """Appends to the file that `--proof` names; a plugin of pytest. Several processes may append to one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, **facts: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(facts) + "\n")

    def pytest_sessionstart(self) -> None:
        self.add(machine=machine(), date=datetime.now(UTC).strftime("%Y-%m-%d"), version=__version__)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self.add(test=report.nodeid, outcome=report.outcome)


class Figures:
    """Counts of one test. Those of several tests under one name are added up."""

    def __init__(self, log: FigureLog | None, test: str) -> None:
        self._log, self._test = log, test

    def add(self, name: str, counts: Mapping[str, int]) -> None:
        """`counts`: words to numbers, in the order in which they are told."""
        print(f"{name}: " + ", ".join(f"{number} {what}" for what, number in counts.items()))
        if self._log is not None:
            self._log.add(test=self._test, figure=name, counts=counts)


def machine() -> dict[str, str]:
    """What the figures depend on, and nothing that tells whose machine it is."""
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1])
    told = ("findmnt", "-n", "-o", "FSTYPE", "-T", tempfile.gettempdir())
    file_system = subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file system": file_system,
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }
