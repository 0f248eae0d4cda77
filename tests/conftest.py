"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.server import CaseusServer


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
