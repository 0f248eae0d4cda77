"""Ready pages: rendered once, with variants and validity, and served as bytes while they are right."""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from packaging.utils import NormalizedName

from caseus.index import Index
from caseus.model import Project, Validity
from caseus.render import JSON, ContentType, Page, list_html, list_json, make_page, project_html, project_json
from caseus.web.answers import LOCKED_POLICY, PAGE_SECURITY, Answer
from caseus.web.caching import page_headers, vary
from caseus.web.conditional import not_modified
from caseus.web.negotiate import accepts_gzip
from caseus.web.request import CacheMark
from caseus.web.threads import Threads, in_thread

GZIP_LEVEL: Final = 6
"""Fixed, as is the time stamp: else every worker would make another ETag of the same page."""
_GZIP_FROM: Final = 1024
_OVERHEAD: Final = 1024
_SKEW: Final = 60.0  # seconds


class Serials(Protocol):
    """What the ready pages ask of the catalog."""

    def serial(self) -> int: ...
    def is_current(self, validity: Validity, now: float) -> bool: ...


class Key(msgspec.Struct, frozen=True):
    """`project`: "" for the list of projects. `audience`: who may see this page, "" for every reader."""

    index: str
    project: str
    content_type: ContentType
    audience: str = ""


@dataclass
class Ready:
    """A page ready to go. `serial`: the catalog's when the page was last known to be right."""

    page: Page
    gzip: Page | None
    hosted: bool
    validity: Validity
    serial: int

    @property
    def weight(self) -> int:
        return _OVERHEAD + len(self.page.body) + (len(self.gzip.body) if self.gzip else 0)


class Pages:
    """The ready pages of a process, at most `limit` bytes, least recently used dropped first. Belongs to one loop."""

    def __init__(
        self,
        catalog: Serials,
        indexes: Mapping[str, Index],
        threads: Threads,
        *,
        clock: Callable[[], float],
        limit: int = 64 << 20,
    ) -> None:
        self._catalog = catalog
        self._indexes = indexes
        self._threads = threads
        self._clock = clock
        self._limit = limit
        self._weight = 0
        self._ready: OrderedDict[Key, Ready] = OrderedDict()
        self._rendering: dict[tuple[Key, int], asyncio.Task[Ready]] = {}

    @property
    def weight(self) -> int:
        """Bytes that are kept."""
        return self._weight

    async def get(self, key: Key) -> tuple[Ready, CacheMark]:
        """The page as it is now. NotFound and Unavailable as `Index.project`."""
        serial = self._catalog.serial()
        ready = self._ready.get(key)
        if ready is not None and await self._is_right(key, ready, serial):
            if key in self._ready:
                self._ready.move_to_end(key)
            return ready, "stale" if ready.validity.stale else "hit"
        ready = await self._render(key, serial)
        return ready, "stale" if ready.validity.stale else "miss"

    async def settle(self, key: Key) -> None:
        """Waits for a rendering of the page that is under way, for who must not share one that began before."""
        running = [task for (other, _), task in self._rendering.items() if other == key]
        if running:
            await asyncio.wait(running)

    async def _is_right(self, key: Key, ready: Ready, serial: int) -> bool:
        now, validity = self._clock(), ready.validity
        if validity.until is not None and now >= validity.until:
            return False
        if validity.fetched is not None and validity.fetched > now + _SKEW:  # the clock was set back: until may be far
            return False
        if ready.serial == serial:  # nothing at all has changed: no question to the database
            return True
        if not key.project:  # the list changes with any project
            return False
        current = await in_thread(self._threads.files, lambda: self._catalog.is_current(ready.validity, self._clock()))
        if current:
            ready.serial = max(ready.serial, serial)
        return current

    async def _render(self, key: Key, serial: int) -> Ready:
        """One rendering for all who ask at the same serial; who comes after a change gets none that began before it."""
        flight = (key, serial)
        task = self._rendering.get(flight)
        if task is None:
            task = asyncio.create_task(in_thread(self._threads.pages, lambda: self._make(key, serial)))
            self._rendering[flight] = task
            task.add_done_callback(lambda done: self._landed(flight, done))
        return await asyncio.shield(task)

    def _landed(self, flight: tuple[Key, int], task: asyncio.Task[Ready]) -> None:
        del self._rendering[flight]
        if not task.cancelled() and task.exception() is None:
            self._keep(flight[0], task.result())

    def _keep(self, key: Key, ready: Ready) -> None:
        kept = self._ready.get(key)
        if kept is not None and kept.serial > ready.serial:
            return
        self._drop(key)
        if ready.weight > self._limit:
            return
        self._ready[key] = ready
        self._weight += ready.weight
        while self._weight > self._limit:
            self._drop(next(iter(self._ready)))

    def _drop(self, key: Key) -> None:
        ready = self._ready.pop(key, None)
        if ready is not None:
            self._weight -= ready.weight

    def _make(self, key: Key, serial: int) -> Ready:
        """Blocks. The serial was read before the facts: a change in between only makes the page be judged again."""
        index = self._indexes[key.index]
        if not key.project:
            names = index.projects()
            body = list_json(names) if key.content_type == JSON else list_html(names)
            return make_ready(body, key.content_type, hosted=True, validity=Validity(), serial=serial)
        project: Project = index.project(NormalizedName(key.project))
        body = project_json(project) if key.content_type == JSON else project_html(project)
        return make_ready(body, key.content_type, hosted=project.hosted, validity=project.validity, serial=serial)


def make_ready(body: bytes, content_type: ContentType, *, hosted: bool, validity: Validity, serial: int) -> Ready:
    """The page with its gzip variant, where that is worth it."""
    compressed = gzip.compress(body, GZIP_LEVEL, mtime=0) if len(body) > _GZIP_FROM else body
    return Ready(
        page=make_page(body, content_type),
        gzip=make_page(compressed, content_type, "gzip") if len(compressed) < len(body) else None,
        hosted=hosted,
        validity=validity,
        serial=serial,
    )


def page_answer(ready: Ready, headers: Mapping[str, str], *, now: float, private: bool) -> Answer:
    """The answer to a GET of the page: the variant that is taken, or 304 if the client has it."""
    zipped = ready.gzip if accepts_gzip(headers.get("accept-encoding")) else None
    page = zipped or ready.page
    told = (
        ("ETag", page.etag),
        *page_headers(hosted=ready.hosted, validity=ready.validity, now=now, private=private),
        *vary("Accept", "Accept-Encoding", private=private),
    )
    if not_modified(headers.get("if-none-match"), page.etag):
        return Answer(304, told)
    charset = "; charset=utf-8" if page.content_type.startswith("text/") else ""
    coding = (("Content-Encoding", "gzip"),) if zipped else ()
    return Answer(
        200,
        (
            ("Content-Type", page.content_type + charset),
            *coding,
            *told,
            ("Content-Security-Policy", LOCKED_POLICY),
            *PAGE_SECURITY,
        ),
        page.body,
    )
