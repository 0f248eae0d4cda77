"""Pages of an upstream: fresh for a while, then asked for again, and older ones while it fails."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import structlog
from packaging.utils import NormalizedName

from caseus.catalog import Catalog, UpstreamPage
from caseus.errors import NotFound, Unavailable
from caseus.expiring import Expiring
from caseus.model import Validity
from caseus.proxy.locks import KeyedLocks
from caseus.proxy.refresh import Refresher
from caseus.upstream import LeftAlone, NotModified, Page, Unreachable, Upstream

BACK_OFF = 10.0
"""Seconds for which a page that failed is not asked for again, nor any that we have if the upstream is out of reach."""

ABSENT = 30.0
"""Seconds for which an upstream's word that it has no such project is believed."""

_LONGEST_BACK_OFF = 600.0  # where it says how long by Retry-After
_MOST_PAUSES = 1000
_MOST_ABSENT = 10_000
_MOST_UNKEPT = 64
_SKEW = 60.0  # a page from further in the future was kept before the clock was set back
_GLANCE = 1.0  # how long an expired page is right while a newer one is asked for
_JITTER = 0.1  # of the time that a page is fresh: pages that came together don't expire together

log: Any = structlog.get_logger(__name__)


class Cached(NamedTuple):
    """A page, how long it may be used (Unix seconds), and whether it is an older one because the upstream fails.

    `until` is None for one that is right for as long as nobody asks for another.
    """

    page: UpstreamPage
    until: float | None
    stale: bool


class Freshness(NamedTuple):
    """Seconds: how long a page is fresh, and for how long after that it is given at once while it is refreshed.

    `random` gives numbers from 0 to 1, by which pages are fresh for up to a tenth less.
    """

    ttl: float
    stale: float = 0.0
    random: Callable[[], float] = random.random

    def until(self, page: UpstreamPage) -> float:
        """When the page ends being fresh: as was said when it came, if it is not said otherwise now."""
        return math.inf if math.isinf(self.ttl) else min(page.until, page.fetched + self.ttl)


class _Asked(NamedTuple):
    """`ticket`: drawn when the request began; `stale`: it failed, and there was an older page."""

    ticket: int
    stale: bool


class Pages:
    """Pages of one upstream through the catalog. Thread-safe, one request a project at a time."""

    def __init__(
        self, catalog: Catalog, upstream: Upstream, tree: str, freshness: Freshness, *, clock: Callable[[], float]
    ) -> None:
        self._catalog, self._upstream, self._tree = catalog, upstream, tree
        self._freshness, self._clock = freshness, clock
        self._locks = KeyedLocks()
        self._refresher = Refresher(self._refresh)
        # Until when not to ask about a project, under "" about any. One that is over stays until an answer comes.
        self._pauses: Expiring[str, None] = Expiring(_MOST_PAUSES, _LONGEST_BACK_OFF)
        self._absent: Expiring[str, str] = Expiring(_MOST_ABSENT, ABSENT)
        self._unkept: Expiring[str, UpstreamPage] = Expiring(_MOST_UNKEPT, BACK_OFF)
        self._tickets = itertools.count()
        self._failures: Expiring[str, tuple[int, Unavailable]] = Expiring(_MOST_PAUSES, BACK_OFF)
        self._asked: Expiring[str, _Asked] = Expiring(_MOST_PAUSES, BACK_OFF)

    def get(self, name: NormalizedName) -> Cached:
        """What the upstream says of the project. NotFound (with its validity), Unavailable (if nothing is there)."""
        cached = self._at_once(name, self._catalog.page(self._tree, name))
        if cached is not None:
            return cached
        ticket = next(self._tickets)
        with self._locks.hold(name):
            page = self._catalog.page(self._tree, name)  # another thread may have asked meanwhile
            cached = self._at_once(name, page)
            if cached is None:
                self._share_failure(name, ticket)
            return cached or self._ask(name, page)

    def ask(self, name: NormalizedName) -> Cached:
        """As `get`, but the upstream is asked now, whatever is fresh here, unless it is to be left alone.

        Who waits while another asks is told the same if that request began after theirs.
        """
        ticket = next(self._tickets)
        with self._locks.hold(name):
            self._share_failure(name, ticket)
            page, now = self._catalog.page(self._tree, name), self._clock()
            asked = self._asked.get(name, now)
            if page is not None and asked is not None and asked.value.ticket > ticket:
                return Cached(page, now, asked.value.stale)
            ticket = next(self._tickets)
            cached = self._ask(name, page)
            now = self._clock()
            self._asked.put(name, _Asked(ticket, cached.stale), until=now + BACK_OFF)
            return cached._replace(until=now)

    def kept(self, name: NormalizedName) -> Cached:
        """What the upstream said last, whenever that was: it is not asked. NotFound if there is nothing."""
        serial = self._catalog.project_serial(self._tree, name)
        page = self._catalog.page(self._tree, name)
        if page is None:
            absence = Validity(serials=((self._tree, name, serial),))
            raise NotFound(f"nothing is known here of {name}: it was never asked for", absence)
        return Cached(page, None, stale=False)

    def forget_absence(self, name: str) -> None:
        """The next request asks, whatever the upstream said last."""
        self._absent.drop(name)

    def close(self) -> None:
        """Waits for what is being refreshed."""
        self._refresher.close()

    def _at_once(self, name: NormalizedName, page: UpstreamPage | None) -> Cached | None:
        """The answer if nobody need wait for the upstream."""
        now = self._clock()
        absent = self._absent.get(name, now)
        if absent is not None:
            raise NotFound(absent.value, Validity(until=absent.until))
        unkept = self._unkept.get(name, now)
        if unkept is not None:
            return Cached(unkept.value, unkept.until, stale=False)
        if page is None or page.fetched > now + _SKEW:
            return None
        until = self._freshness.until(page)
        if now < until:
            return Cached(page, until, stale=False)
        pauses = [pause.until for pause in (self._pauses.get(name, now), self._pauses.get("", now)) if pause]
        if pauses:
            return Cached(page, max(pauses), stale=True)
        last = until + self._freshness.stale
        if now < last and not self._failed_last(name) and self._refresher.add(name):
            return Cached(page, min(now + _GLANCE, last), stale=False)
        return None

    def _share_failure(self, name: str, ticket: int) -> None:
        """Who waited while another's request failed is told the same, or the last in line would wait for them all."""
        failure = self._failures.get(name, self._clock())
        if failure is not None and failure.value[0] > ticket:
            error = failure.value[1]
            raise type(error)(str(error), kind=error.kind, retry_after=error.retry_after)

    def _failed_last(self, name: str) -> bool:
        return name in self._pauses or "" in self._pauses

    def _refresh(self, name: NormalizedName) -> None:
        """In the background: as `get`, but nobody is given the page."""
        with self._locks.hold(name):
            page = self._catalog.page(self._tree, name)
            if page is not None and self._clock() >= self._freshness.until(page):
                self._ask(name, page)

    def _ask(self, name: NormalizedName, page: UpstreamPage | None) -> Cached:
        try:
            answer = self._upstream.page(name, page.etag if page else None)
        except NotFound as error:
            self._answered(name)
            raise self._gone(name, page, error) from None
        except Unavailable as error:
            return self._fall_back(name, page, error)
        self._answered(name)
        now = self._clock()
        until = now + self._freshness.ttl * (1 - _JITTER * self._freshness.random())
        try:
            if isinstance(answer, Page):
                return Cached(self._catalog.save_page(self._tree, name, _kept(answer, now, until)), until, stale=False)
            assert isinstance(answer, NotModified) and page is not None
            self._catalog.touch_page(self._tree, name, fetched=now, until=until)
        except Unavailable as error:
            return self._serve_unkept(name, answer, page, error)
        return Cached(msgspec.structs.replace(page, fetched=now, until=until), until, stale=False)

    def _gone(self, name: NormalizedName, page: UpstreamPage | None, error: NotFound) -> NotFound:
        """The upstream has no such project (any more): so it is for a short while."""
        until = self._clock() + ABSENT
        self._absent.put(name, str(error), until=until)
        self._unkept.drop(name)
        if page is not None:
            try:
                self._catalog.drop_page(self._tree, name)
            except Unavailable as failure:
                log.warning("upstream.page_not_dropped", project=name, error=str(failure))
        return NotFound(str(error), Validity(until=until))

    def _serve_unkept(
        self, name: NormalizedName, answer: Page | NotModified, page: UpstreamPage | None, error: Unavailable
    ) -> Cached:
        """The catalog can't take the answer (a full disk?), which is no fault of it: readers get it all the same."""
        log.warning("upstream.page_not_kept", project=name, error=str(error))
        now = self._clock()
        until = now + min(BACK_OFF, self._freshness.ttl)
        if isinstance(answer, Page):
            serial = self._catalog.project_serial(self._tree, name)
            unkept = msgspec.structs.replace(_kept(answer, now, until), serial=serial)
        else:
            assert page is not None
            unkept = msgspec.structs.replace(page, fetched=now, until=until)
        self._unkept.put(name, unkept, until=until)
        return Cached(unkept, until, stale=False)

    def _fall_back(self, name: NormalizedName, page: UpstreamPage | None, error: Unavailable) -> Cached:
        pause = error.retry_after or 0.0
        if not isinstance(error, LeftAlone):
            pause = max(BACK_OFF, pause)
        until = self._clock() + min(pause, _LONGEST_BACK_OFF)
        self._pauses.put("" if isinstance(error, Unreachable) else name, None, until=until)
        if page is None:
            self._failures.put(name, (next(self._tickets), error), until=self._clock() + BACK_OFF)
            raise error
        log.warning("upstream.failed", upstream=self._upstream.name, project=name, error=str(error), served="stale")
        return Cached(page, until, stale=True)

    def _answered(self, name: NormalizedName) -> None:
        """It does answer, and about this project."""
        self._pauses.drop("")
        self._pauses.drop(name)
        self._absent.drop(name)


def _kept(page: Page, now: float, until: float) -> UpstreamPage:
    return UpstreamPage(
        files=page.files,
        versions=page.versions,
        status=page.status,
        status_reason=page.status_reason,
        etag=page.etag,
        fetched=now,
        until=until,
    )
