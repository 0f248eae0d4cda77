"""The page of promises is made of what a run wrote down, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proof.__main__ import main
from proof.page import NotShown, read, write
from proof.promises import PROMISES, Promise
from support.figures import FigureLog, Figures

KILLS = Promise(number=1, text="All stays.", measure="what is lost: 0.", tests=("tests/a.py", "tests/b.py::test_two"))
LATER = Promise(number=2, text="All goes.", state="not yet", measure="", limits="There is no way to go.")


def run_of(path: Path, *outcomes: tuple[str, str]) -> Path:
    log = FigureLog(path)
    log.pytest_sessionstart()
    for test, outcome in outcomes:
        log.add(test=test, outcome=outcome)
    for test, lost in (("tests/a.py::test_one[x]", 0), ("tests/a.py::test_one[y]", 1), ("tests/b.py::test_three", 5)):
        Figures(log, test).add("kills", {"rounds": 1000, "lost": lost})
    return path


def test_figures_are_those_of_the_tests_that_are_named(tmp_path: Path) -> None:
    passed = [(f"tests/{name}", "passed") for name in ("a.py::test_one[x]", "a.py::test_one[y]", "b.py::test_two")]
    run = read(run_of(tmp_path / "run", *passed, ("tests/b.py::test_three", "failed")))
    page = write(run, [KILLS, LATER])
    assert "| `tests/a.py` | 2 |" in page and "| `tests/b.py::test_two` | 1 |" in page
    assert "| kills | rounds: 2,000, lost: 1 |" in page
    assert run.date in page and run.machine["kernel"] in page
    assert "**All goes.** Not yet." in page and "There is no way to go." in page


@pytest.mark.parametrize("outcomes", [[], [("tests/b.py::test_two", "failed")], [("tests/b.py::test_two", "skipped")]])
def test_no_page_without_tests_that_passed(tmp_path: Path, outcomes: list[tuple[str, str]]) -> None:
    run = read(run_of(tmp_path / "run", ("tests/a.py::test_one", "passed"), *outcomes))
    with pytest.raises(NotShown, match=r"promise 1: tests/b\.py::test_two"):
        write(run, [KILLS])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    named = capsys.readouterr().out.split()
    assert len(named) == len(set(named)) > 20
    assert not [test for test in named if test.partition("::")[0] in named and "::" in test]
    page = tmp_path / "page.md"
    page.write_text("as it was")
    assert main([str(run_of(tmp_path / "run")), str(page)]) == 1
    assert "was not written: promise 1" in capsys.readouterr().err and page.read_text() == "as it was"
    passed = [(f"{test}::test_x", "passed") for promise in PROMISES for test in promise.tests]
    assert main([str(run_of(tmp_path / "all", *passed)), str(page)]) == 0
    assert [json.loads(line) for line in (tmp_path / "all").read_text().splitlines()]
    assert page.read_text().count("## Promise ") == len(PROMISES)
