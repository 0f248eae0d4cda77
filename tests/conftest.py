"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support.server import CaseusServer


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
