"""Fixtures for tests with real clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.clients import Cached, Shell
from support.server import CaseusServer
from support.upstream import FakeUpstream


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


@pytest.fixture(scope="module")
def cached_by_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    root = tmp_path_factory.mktemp("cached") / "root"
    with FakeUpstream() as upstream, CaseusServer(root, upstream=upstream.url) as server:
        yield Cached(server, upstream)


@pytest.fixture
def cached(cached_by_all: Cached) -> Cached:
    """One server and its upstream for the tests of a module, which use project names of their own."""
    upstream = cached_by_all.upstream
    upstream.style, upstream.ranges, upstream.etags = "json", True, True
    upstream.forget()
    return cached_by_all
