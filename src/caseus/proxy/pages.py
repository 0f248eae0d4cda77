"""Pages of an upstream: fresh for a while, then asked for again, and older ones while it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import structlog
from packaging.utils import NormalizedName

from caseus.catalog import Catalog, UpstreamPage
from caseus.errors import NotFound, Unavailable
from caseus.proxy.locks import KeyedLocks
from caseus.upstream import NotModified, Page, Upstream

BACK_OFF = 10.0
"""Seconds for which a failing upstream is not asked again about pages that we have."""

_LONGEST_BACK_OFF = 60.0  # where it says how long by Retry-After
_SKEW = 60.0  # a page from further in the future was kept before the clock was set back

log: Any = structlog.get_logger(__name__)


class Cached(NamedTuple):
    """A page, how long it may be used (Unix seconds), and whether it is an older one because the upstream fails."""

    page: UpstreamPage
    until: float
    stale: bool


class Pages:
    """Pages of one upstream through the catalog; `ttl` in seconds. Thread-safe, one request a project at a time."""

    def __init__(
        self, catalog: Catalog, upstream: Upstream, tree: str, *, ttl: float, clock: Callable[[], float]
    ) -> None:
        self._catalog, self._upstream, self._tree = catalog, upstream, tree
        self._ttl, self._clock = ttl, clock
        self._locks = KeyedLocks()
        self._asked_again: float | None = None  # until then a failing upstream is left alone

    def get(self, name: NormalizedName) -> Cached:
        """What the upstream says of the project. NotFound, Unavailable (if nothing older is there)."""
        cached = self._usable(self._catalog.page(self._tree, name))
        if cached is not None:
            return cached
        with self._locks.hold(name):
            page = self._catalog.page(self._tree, name)  # another thread may have asked meanwhile
            return self._usable(page) or self._ask(name, page)

    def _usable(self, page: UpstreamPage | None) -> Cached | None:
        """The page if the upstream need not be asked."""
        if page is None:
            return None
        now = self._clock()
        if now < page.until and page.fetched <= now + _SKEW:
            return Cached(page, page.until, stale=False)
        pause = self._asked_again
        if pause is not None and now < pause <= now + _LONGEST_BACK_OFF:
            return Cached(page, pause, stale=True)
        return None

    def _ask(self, name: NormalizedName, page: UpstreamPage | None) -> Cached:
        try:
            answer = self._upstream.page(name, page.etag if page else None)
        except NotFound:
            self._asked_again = None
            if page is not None:
                self._catalog.drop_page(self._tree, name)
            raise
        except Unavailable as error:
            return self._fall_back(name, page, error)
        self._asked_again = None
        now = self._clock()
        until = now + self._ttl
        if isinstance(answer, Page):
            return Cached(self._save(name, answer, now, until), until, stale=False)
        assert isinstance(answer, NotModified) and page is not None
        self._catalog.touch_page(self._tree, name, fetched=now, until=until)
        return Cached(msgspec.structs.replace(page, fetched=now, until=until), until, stale=False)

    def _fall_back(self, name: NormalizedName, page: UpstreamPage | None, error: Unavailable) -> Cached:
        pause = min(max(BACK_OFF, error.retry_after or 0), _LONGEST_BACK_OFF)
        self._asked_again = self._clock() + pause
        if page is None:
            raise error
        log.warning("upstream.failed", upstream=self._upstream.name, project=name, error=str(error), served="stale")
        return Cached(page, self._asked_again, stale=True)

    def _save(self, name: NormalizedName, page: Page, now: float, until: float) -> UpstreamPage:
        return self._catalog.save_page(
            self._tree,
            name,
            UpstreamPage(
                files=page.files,
                versions=page.versions,
                status=page.status,
                status_reason=page.status_reason,
                etag=page.etag,
                fetched=now,
                until=until,
            ),
        )
