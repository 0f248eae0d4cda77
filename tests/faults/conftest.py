"""Options and fixtures of the fault tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROUNDS = 50


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=ROUNDS, help="how often the kill tests kill (pytest tests/faults)")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often to kill."""
    found = request.config.getoption("--rounds", ROUNDS)  # unknown where pytest was not given this folder
    assert isinstance(found, int)
    return found


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a disk: what a kill leaves is the same there, and fsync costs nothing."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shutil.disk_usage(shared).free < 256 << 20:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="caseus-test-", dir=shared) as folder:
        yield Path(folder)
