"""Fixtures of the fault tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.dying import Worker


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a disk: what a kill leaves is the same there, and fsync costs nothing."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shutil.disk_usage(shared).free < 256 << 20:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="caseus-test-", dir=shared) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the system's takes longer than anything else where clients are made again and again."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
