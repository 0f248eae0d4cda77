"""Taking files out of the cache: the least recently used first, never one that is being read."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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

    def run(self) -> list[FetchedFile]:
        """The files that went."""
        if not self._is_over():
            return []
        with self._turn():
            return list(self._evict())

    def take(self, rows: Iterable[FetchedFile], *, even_read: bool = False) -> list[FetchedFile]:
        """Take these away, whatever the size of the cache; those that went.

        What is being read or fetched stays; `even_read`: only what is being fetched, for bytes that are damaged.
        """
        with self._turn():
            return [row for row in rows if self._evict_one(row, even_read=even_read)]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _is_over(self) -> bool:
        return self._catalog.cache_bytes() > self._cache_bytes

    def _evict(self) -> Iterator[FetchedFile]:
        batch = _BATCH
        while self._is_over():
            rows = self._catalog.least_recent(batch)
            evicted = False
            for row in rows:
                if not self._is_over():
                    return
                if self._evict_one(row):
                    evicted = True
                    yield row
            if not evicted:
                if len(rows) < batch:
                    return  # all that is left is being read: the next fill tries again
                batch *= 4

    def _evict_one(self, row: FetchedFile, *, even_read: bool = False) -> bool:
        """Whether the file went. Holds its part's lock, so that nobody fetches it again between bytes and fact."""
        key = file_key(row.tree, row.project, row.filename)
        part = Part(self._folder, key)
        lock = part.take()
        if lock is None:
            return False
        try:
            if not self._unlink(key, even_read):
                return False
            self._catalog.evicted(row.tree, row.project, row.filename)
            log.info("cache.evicted", filename=row.filename, size=row.size)
            return True
        finally:
            part.remove(lock)
            os.close(lock)

    def _unlink(self, key: str, even_read: bool) -> bool:
        try:
            blob = self._store.open(key)
        except NotFound:
            return True
        with blob:
            try:
                fcntl.flock(blob.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not even_read:
                    return False
            self._store.delete(key)
            return True
