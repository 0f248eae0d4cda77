from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caseus.storage.filesystem import FilesystemStorage
from caseus.storage.memory import MemoryStorage
from caseus.storage.testing import StorageConformance


class TestFilesystem(StorageConformance[FilesystemStorage]):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> FilesystemStorage:
        return FilesystemStorage(tmp_path / "root")

    def leftovers(self, storage: FilesystemStorage) -> list[str]:
        incoming = storage.root / ".incoming"
        return [path.name for path in incoming.iterdir()] if incoming.exists() else []


class TestFilesystemKeepingFolders(TestFilesystem):
    """As the catalog's writer uses it."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[FilesystemStorage]:
        store = FilesystemStorage(tmp_path / "root")
        with store.keeping_folders():
            yield store


class TestMemory(StorageConformance[MemoryStorage]):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()

    def leftovers(self, storage: MemoryStorage) -> list[str]:
        return ["staged"] * storage.staged
