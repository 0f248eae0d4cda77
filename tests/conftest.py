"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.figures import FigureLog, Figures
from support.server import CaseusServer

LOG = pytest.StashKey[FigureLog]()


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "the long form: hundreds of rounds instead of a few; outcomes and counts are appended to FILE"
    parser.addoption("--proof", type=Path, metavar="FILE", help=told)


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--proof")
    if path is not None:
        config.stash[LOG] = FigureLog(path)
        if not hasattr(config, "workerinput"):  # of pytest-xdist, whose reports come to the main process
            config.pluginmanager.register(config.stash[LOG])


def pytest_report_header() -> str | None:
    if os.geteuid() == 0:
        return None
    return "not root: tests that mount disks or trace system calls are left out (marker `root`); run them as root"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only for lack of root: a component that is missing makes its tests fail."""
    if os.geteuid() != 0:
        left_out = [item for item in items if item.get_closest_marker("root")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`rounds(short, long)`: how often to try. CI has time for the short form, `make proof` runs the long one."""
    long_form = request.config.getoption("--proof") is not None
    return lambda short, long: long if long_form else short


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a test tells what it counted."""
    return Figures(request.config.stash.get(LOG, None), request.node.nodeid)


@pytest.fixture
def caseus() -> Iterator[CaseusServer]:
    """A running server without an upstream, on a root of its own."""
    with CaseusServer() as server:
        yield server


@pytest.fixture
def start_caseus() -> Iterator[Callable[..., CaseusServer]]:
    """Starts servers with the flags that a test needs; they are stopped, and must end well, after it."""
    with ExitStack() as stack:

        def start(**options: Any) -> CaseusServer:
            return stack.enter_context(CaseusServer(**options))

        yield start
