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
from caseus.upstream import NotModified, Page, Unreachable, Upstream

BACK_OFF = 10.0
"""Seconds for which a page that failed is not asked for again, nor any that we have if the upstream is out of reach."""

_LONGEST_BACK_OFF = 60.0  # where it says how long by Retry-After
_MOST_PAUSES = 1000
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
        self._pauses: dict[str, float] = {}  # until when not to ask about a project, under "" about any

    def get(self, name: NormalizedName) -> Cached:
        """What the upstream says of the project. NotFound, Unavailable (if nothing older is there)."""
        cached = self._usable(name, self._catalog.page(self._tree, name))
        if cached is not None:
            return cached
        with self._locks.hold(name):
            page = self._catalog.page(self._tree, name)  # another thread may have asked meanwhile
            return self._usable(name, page) or self._ask(name, page)

    def _usable(self, name: str, page: UpstreamPage | None) -> Cached | None:
        """The page if the upstream need not be asked."""
        if page is None:
            return None
        now = self._clock()
        if now < page.until and page.fetched <= now + _SKEW:
            return Cached(page, page.until, stale=False)
        pause = max(self._pauses.get(name, 0), self._pauses.get("", 0))
        return Cached(page, pause, stale=True) if now < pause <= now + _LONGEST_BACK_OFF else None

    def _ask(self, name: NormalizedName, page: UpstreamPage | None) -> Cached:
        try:
            answer = self._upstream.page(name, page.etag if page else None)
        except NotFound:
            self._answered(name)
            if page is not None:
                self._catalog.drop_page(self._tree, name)
            raise
        except Unavailable as error:
            return self._fall_back(name, page, error)
        self._answered(name)
        now = self._clock()
        until = now + self._ttl
        if isinstance(answer, Page):
            return Cached(self._save(name, answer, now, until), until, stale=False)
        assert isinstance(answer, NotModified) and page is not None
        self._catalog.touch_page(self._tree, name, fetched=now, until=until)
        return Cached(msgspec.structs.replace(page, fetched=now, until=until), until, stale=False)

    def _fall_back(self, name: NormalizedName, page: UpstreamPage | None, error: Unavailable) -> Cached:
        pause = min(max(BACK_OFF, error.retry_after or 0), _LONGEST_BACK_OFF)
        until = self._clock() + pause
        if len(self._pauses) >= _MOST_PAUSES:
            self._pauses.clear()
        self._pauses["" if isinstance(error, Unreachable) else name] = until
        if page is None:
            raise error
        log.warning("upstream.failed", upstream=self._upstream.name, project=name, error=str(error), served="stale")
        return Cached(page, until, stale=True)

    def _answered(self, name: NormalizedName) -> None:
        """It does answer, and about this project."""
        self._pauses.pop("", None)
        self._pauses.pop(name, None)

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
