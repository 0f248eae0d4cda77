"""A proxy of a fake upstream on a root of its own, with a clock that the test moves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from caseus.catalog import Catalog
from caseus.names import normalize
from caseus.proxy import Proxy
from caseus.storage import Blob
from caseus.storage.filesystem import FilesystemStorage
from caseus.upstream import Timeouts, Upstream
from support.upstream import FakeUpstream

ALPHA = normalize("alpha")
LARGE = ("alpha-1.0.tar.gz", hashlib.shake_256(b"large").digest(500_000))
SMALL = ("alpha-2.0.tar.gz", hashlib.shake_256(b"small").digest(5_000))
"""Files for an upstream: more and less than what is held back until it is verified."""

TIMEOUTS = Timeouts(connect=5, read=1, page=5)


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Proxied:
    """A context manager; `proxy`, `catalog`, `store`, `clock` are the real things (but for the clock)."""

    def __init__(
        self,
        root: Path,
        upstream: FakeUpstream,
        *,
        ttl: float = 600,
        stale: float = 0,
        random: Callable[[], float] = lambda: 0.0,
        cache_bytes: int = 1 << 30,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        self.clock = Clock()
        root.mkdir(exist_ok=True)
        self.store = FilesystemStorage(root)
        self.catalog = Catalog.open(root, clock=self.clock)
        client = Upstream(upstream.url, clock=self.clock, timeouts=timeouts, proxies={}, leaves_alone=True)
        self.proxy = Proxy(
            self.catalog,
            self.store,
            client,
            ttl=ttl,
            stale=stale,
            cache_bytes=cache_bytes,
            clock=self.clock,
            random=random,
        )

    @property
    def fill_folder(self) -> Path:
        return self.store.root / ".fill"

    def leftovers(self) -> list[str]:
        """Parts that lie in the folder of fills; words about failed ones may stay there for a while."""
        return sorted(path.name for path in self.fill_folder.iterdir() if path.suffix != ".json")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.proxy.close()
        self.catalog.close()


def path_of(file: tuple[str, bytes]) -> str:
    """The file's path at the fake upstream."""
    return f"/files/alpha/{file[0]}"


def stored(proxied: Proxied, file: tuple[str, bytes]) -> bool:
    """Whether the catalog says that the file is in the cache."""
    row = proxied.catalog.fetched(proxied.proxy.tree, "alpha", file[0])
    return row is not None and row.stored


def until(condition: Callable[[], Any]) -> None:
    """Waits for the condition."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)  # between two looks


def read_all(blob: Blob) -> bytes:
    """Everything, and closes it."""
    with blob:
        return b"".join(iter(blob.read, b""))
