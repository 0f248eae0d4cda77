"""Threads take brief turns while pages are read, and those that Python has when nobody reads any."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from caseus.server.turns import BRIEF, Turns
from support.server import CaseusServer

USUAL = 0.004
SCRIPT = """\
import sys
from pathlib import Path

told = Path(sys.argv[1])
real = sys.setswitchinterval

def tell(seconds):
    real(seconds)
    with told.open("a") as file:
        file.write(f"{seconds}\\n")

sys.setswitchinterval = tell

from caseus.cli import run

sys.exit(run(sys.argv[2:]))
"""


@pytest.fixture
def usual() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(USUAL)
    yield
    sys.setswitchinterval(before)


def test_brief_from_when_pages_were_read_until_none_was_for_a_second(usual: None) -> None:
    turns = Turns()
    turns.look(0)
    assert interval() == USUAL
    for answered in (1, 1, 2):
        turns.look(answered)
        assert interval() == BRIEF
    for _ in range(9):
        turns.look(2)
        assert interval() == BRIEF
    turns.look(2)
    assert interval() == USUAL
    turns.look(2)
    assert interval() == USUAL
    turns.look(0)  # another lane, after a reload
    assert interval() == BRIEF


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_whose_pages_are_read(tmp_path: Path, workers: int) -> None:
    script, told = tmp_path / "told.py", tmp_path / "told"
    script.write_text(SCRIPT)
    told.touch()
    command = (sys.executable, "-P", str(script), str(told))
    with CaseusServer(tmp_path / "data", flags=("--workers", str(workers)), command=command) as server:
        assert told.read_text() == ""
        connection = HTTPConnection("127.0.0.1", server.port)

        def read() -> bool:
            connection.request("GET", "/simple/")
            connection.getresponse().read()
            return told.read_text() != ""

        for _ in range(2):
            wait_until(read)
            wait_until(lambda: told.read_text().split() == ["0.0005", "0.005"])
            told.write_text("")
        connection.close()


def interval() -> float:
    return round(sys.getswitchinterval(), 6)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
