"""Fixtures for tests with real clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.clients import Shell
from support.server import CaseusServer


@pytest.fixture
def new_shell(tmp_path: Path) -> Callable[[], Shell]:
    """Makes users with homes and caches of their own."""
    homes: list[Path] = []

    def make() -> Shell:
        homes.append(tmp_path / f"home-{len(homes)}")
        return Shell(homes[-1])

    return make


@pytest.fixture
def shell(new_shell: Callable[[], Shell]) -> Shell:
    """A user without any cache."""
    return new_shell()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseusServer]:
    """One server without an upstream for the tests of a module, which use project names of their own."""
    with CaseusServer(tmp_path_factory.mktemp("shared") / "root") as server:
        yield server
