"""A store in memory, for tests and for embedding; gone with the process."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import BinaryIO

from caseus import durability
from caseus.errors import Conflict, Invalid, NotFound, Unavailable
from caseus.storage import check_key
from caseus.storage.blobs import BytesBlob


class MemoryStorage:
    """Bytes by key; may be shared between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, bytes] = {}
        self._staged: set[MemoryStaged] = set()
        self.orphans: list[tuple[str, bytes]] = []
        """(key, bytes) of what was set aside."""

    @property
    def staged(self) -> int:
        """How many stagings are open: neither committed nor closed."""
        return len(self._staged)

    def stage(self) -> MemoryStaged:
        staged = MemoryStaged(self)
        with self._lock:
            self._staged.add(staged)
        return staged

    def sync(
        self, keys: Iterable[str], *, beside: bool = False, meanwhile: Callable[[], bool] = durability.nothing
    ) -> None:
        for key in keys:
            _check(key)

    def replace(self, key: str, source: BinaryIO, *, durable: bool = True) -> None:
        _check(key)
        data = source.read()
        with self._lock:
            self._files[key] = data

    def append(self, key: str, data: bytes, *, behind: bytes) -> bool:
        _check(key)
        with self._lock:
            there = self._files.get(key)
            if there is None or not there.endswith(behind):
                return False
            self._files[key] = there + data
            return True

    def set_aside(self, key: str, digest: str) -> None:
        _check(key)
        with self._lock:
            data = self._files.get(key)
            if data is not None and hashlib.sha256(data).hexdigest() != digest:
                self.orphans.append((key, self._files.pop(key)))

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BytesBlob:
        data = self._get(key)
        if data is None:
            raise NotFound(f"nothing is stored under {key}")
        return BytesBlob(data, start, stop)

    def delete(self, key: str) -> None:
        _check(key)
        with self._lock:
            self._files.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        with self._lock:
            return iter(sorted(key for key in self._files if key.startswith(prefix)))

    def url(self, key: str, expires: timedelta) -> str | None:
        return None

    def _get(self, key: str) -> bytes | None:
        _check(key)
        with self._lock:
            return self._files.get(key)

    def _put(self, key: str, data: bytes) -> None:
        with self._lock:
            if self._files.setdefault(key, data) != data:
                raise Conflict(f"{key} already holds other bytes")

    def _forget(self, staged: MemoryStaged) -> None:
        with self._lock:
            self._staged.discard(staged)


class MemoryStaged:
    """Bytes under no name yet."""

    def __init__(self, store: MemoryStorage) -> None:
        self._store = store
        self._data = bytearray()
        self._named = False

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def digests(self) -> dict[str, str]:
        return {
            "md5": hashlib.md5(self._data, usedforsecurity=False).hexdigest(),
            "sha256": hashlib.sha256(self._data).hexdigest(),
            "blake2b_256": hashlib.blake2b(self._data, digest_size=32).hexdigest(),
        }

    def write(self, data: bytes, /) -> None:
        self._data += data

    def reader(self) -> BinaryIO:
        return io.BytesIO(self._data)

    def stamp(self, time: float) -> None:
        pass

    def sync(self) -> None:
        pass

    def commit(self, key: str) -> None:
        _check(key)
        if self._named:
            if not self.holds(key):
                raise Unavailable("these bytes were named already: stage them again", kind="local")
            return
        self._store._put(key, bytes(self._data))
        self._named = True
        self._store._forget(self)

    def link(self, key: str) -> None:
        if not self._named and self._store._get(key) is not None:
            raise Conflict(f"{key} already holds bytes from elsewhere")
        self.commit(key)

    def holds(self, key: str) -> bool:
        return self._store._get(key) == bytes(self._data)

    def close(self) -> None:
        self._store._forget(self)


def _check(key: str) -> None:
    check_key(key)
    if key.startswith("."):
        raise Invalid(f"illegal storage key {key!r}: names with a dot in front belong to the store")
