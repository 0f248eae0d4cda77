"""Fixtures of the fault tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a disk: what a kill leaves is the same there, and fsync costs nothing."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shutil.disk_usage(shared).free < 256 << 20:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="caseus-test-", dir=shared) as folder:
        yield Path(folder)
