"""Keeping the cache under its size: the least recently used file goes first, never one that is being read."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from caseus.catalog import Catalog, FetchedFile
from caseus.errors import NotFound
from caseus.fill.part import Part
from caseus.storage import file_key
from caseus.storage.filesystem import FilesystemStorage

_BATCH = 64

log: Any = structlog.get_logger(__name__)


def keep_from_eviction(fd: int) -> None:
    """A shared lock on a cached file, for as long as it is open; an evictor of any process asks for the other kind."""
    with suppress(BlockingIOError):  # it is being evicted just now: who has it open reads on all the same
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


class Evictor:
    """Takes files away until at most `cache_bytes` are left. One process at a time."""

    def __init__(self, catalog: Catalog, store: FilesystemStorage, folder: Path, cache_bytes: int) -> None:
        self._catalog, self._store, self._folder = catalog, store, folder
        self._cache_bytes = cache_bytes

    def run(self) -> None:
        if not self._is_over():
            return
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._evict()
        finally:
            os.close(fd)

    def _is_over(self) -> bool:
        return self._catalog.cache_bytes() > self._cache_bytes

    def _evict(self) -> None:
        batch = _BATCH
        while self._is_over():
            rows = self._catalog.least_recent(batch)
            evicted = 0
            for row in rows:
                if not self._is_over():
                    return
                evicted += self._evict_one(row)
            if not evicted:
                if len(rows) < batch:
                    return  # all that is left is being read: the next fill tries again
                batch *= 4

    def _evict_one(self, row: FetchedFile) -> bool:
        """Whether the file went. Holds its part's lock, so that nobody fetches it again between bytes and fact."""
        key = file_key(row.tree, row.project, row.filename)
        part = Part(self._folder, key)
        lock = part.take()
        if lock is None:
            return False
        try:
            if not self._unlink(key):
                return False
            self._catalog.evicted(row.tree, row.project, row.filename)
            log.info("cache.evicted", filename=row.filename, size=row.size)
            return True
        finally:
            part.remove(lock)
            os.close(lock)

    def _unlink(self, key: str) -> bool:
        try:
            blob = self._store.open(key)
        except NotFound:
            return True
        with blob:
            try:
                fcntl.flock(blob.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._store.delete(key)
            return True
