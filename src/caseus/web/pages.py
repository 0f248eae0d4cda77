"""Ready pages: rendered once, with variants and validity, and served as bytes while they are right."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from packaging.utils import NormalizedName

from caseus.index import Index
from caseus.model import Project, Validity
from caseus.render import HTML, HTML_PROJECT, JSON, JSON_PROJECT, PLAIN_HTML, ContentType
from caseus.render.pieces import Pieced, in_pieces
from caseus.web.answers import Answer
from caseus.web.conditional import not_modified
from caseus.web.judge import Judge, Serials
from caseus.web.negotiate import Coding
from caseus.web.ready import Ready, Variant, make_ready, make_variant
from caseus.web.ready_files import Known
from caseus.web.request import CacheMark
from caseus.web.threads import Threads, in_thread

CONTENT_TYPES: Final[tuple[ContentType, ...]] = (JSON, HTML, PLAIN_HTML)


class Key(NamedTuple):
    """`project`: "" for the list of projects. `audience`: who may see this page, "" for every reader."""

    index_name: str
    project: str
    content_type: ContentType
    audience: str = ""


class Found(NamedTuple):
    """A page that is right, in the coding that was asked for or in none."""

    ready: Ready
    variant: Variant
    mark: CacheMark


class Pages:
    """The ready pages of a process, at most `limit` bytes, least recently used dropped first. Belongs to one loop.

    `private`: not everybody may read them.
    """

    def __init__(
        self,
        catalog: Serials,
        indexes: Mapping[str, Index],
        threads: Threads,
        *,
        lists: Mapping[str, Callable[[ContentType], bytes]],
        judge: Judge,
        clock: Callable[[], float],
        private: bool = False,
        limit: int = 64 << 20,
    ) -> None:
        self._catalog = catalog
        self._indexes = indexes
        self._lists = lists
        self._threads = threads
        self._judge = judge
        self._clock = clock
        self._private = private
        self._limit = limit
        self._weight = 0
        self._ready: OrderedDict[Key, Ready] = OrderedDict()
        self._rendering: dict[tuple[Key, int], asyncio.Task[Ready]] = {}
        self._compressing: dict[tuple[int, Coding], asyncio.Task[Variant]] = {}

    @property
    def weight(self) -> int:
        """Bytes that are kept."""
        return self._weight

    def at_once(self, key: Key) -> Ready | None:
        """The page as it is now, if that can be said without waiting."""
        ready = self._ready.get(key)
        if ready is None or not self._judge.is_right(ready):
            return None
        self._ready.move_to_end(key)
        return ready

    def known(self, index: str, project: str) -> Known:
        """What is known of a project by its page, if one is ready and right."""
        serial = self._catalog.serial()
        for content_type in CONTENT_TYPES:
            ready = self._ready.get(Key(index, project, content_type))
            if ready is not None and self._judge.is_right(ready):
                return Known(serial, ready.validity)
        return Known(serial, None)

    async def settle(self, key: Key) -> None:
        """Waits for a rendering of the page that is under way, for who must not share one that began before."""
        running = [task for (other, _), task in self._rendering.items() if other == key]
        if running:
            await asyncio.wait(running)

    async def get(self, key: Key, coding: Coding = "") -> Found:
        """The page as it is now. NotFound and Unavailable as `Index.project`."""
        mark: CacheMark
        serial = self._catalog.serial()
        ready, mark = await self._kept(key, serial), "hit"
        if ready is None:
            ready, mark = await self._render(key, serial, coding), "miss"
        variant = ready.variants.get(coding) or await self._compress(key, ready, coding)
        return Found(ready, variant, "stale" if ready.validity.stale else mark)

    async def _kept(self, key: Key, serial: int) -> Ready | None:
        ready = self._ready.get(key)
        right = self._judge.is_right(ready) if ready is not None else False
        if ready is None or right is False:
            return None
        if right is None:
            if not await in_thread(self._threads.files, lambda: self._is_current(ready)):
                return None
            ready.serial = max(ready.serial, serial)
        if key in self._ready:
            self._ready.move_to_end(key)
        return ready

    def _is_current(self, ready: Ready) -> bool:
        """Blocks."""
        if ready.of_all:
            return self._catalog.names_serial() <= ready.serial
        return self._catalog.is_current(ready.validity, self._clock())

    async def _render(self, key: Key, serial: int, coding: Coding) -> Ready:
        """One rendering for all who ask at the same serial; who comes after a change gets none that began before it."""
        flight = (key, serial)
        task = self._rendering.get(flight)
        if task is None:
            older = self._ready.get(key)
            task = asyncio.create_task(in_thread(self._threads.pages, lambda: self._make(key, serial, coding, older)))
            self._rendering[flight] = task
            task.add_done_callback(lambda done: self._landed(flight, done))
        return await asyncio.shield(task)

    def _landed(self, flight: tuple[Key, int], task: asyncio.Task[Ready]) -> None:
        del self._rendering[flight]
        if not task.cancelled() and task.exception() is None:
            self._keep(flight[0], task.result())

    async def _compress(self, key: Key, ready: Ready, coding: Coding) -> Variant:
        """One for all who ask."""
        flight = (id(ready), coding)
        task = self._compressing.get(flight)
        if task is None:
            task = asyncio.create_task(in_thread(self._threads.files, lambda: make_variant(ready, coding)))
            self._compressing[flight] = task
            task.add_done_callback(lambda done: self._compressed(key, ready, coding, done))
        return await asyncio.shield(task)

    def _compressed(self, key: Key, ready: Ready, coding: Coding, task: asyncio.Task[Variant]) -> None:
        del self._compressing[id(ready), coding]
        if task.cancelled() or task.exception() is not None:
            return
        kept = self._ready.get(key) is ready
        if kept:
            self._drop(key)
        ready.variants[coding] = task.result()
        if kept:
            self._keep(key, ready)

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

    def _make(self, key: Key, serial: int, coding: Coding, older: Ready | None) -> Ready:
        """Blocks. The serial was read before the facts: a change in between only makes the page be judged again."""
        hosted, validity = True, Validity()
        if not key.project:
            page = Pieced(self._lists[key.index_name](key.content_type), ())
        else:
            project: Project = self._indexes[key.index_name].project(NormalizedName(key.project))
            before = Pieced(older.body, older.pieces) if older is not None else None
            page = in_pieces(JSON_PROJECT if key.content_type == JSON else HTML_PROJECT, project, before)
            hosted, validity = project.hosted, project.validity
        ready = make_ready(
            page.body, key.content_type, hosted=hosted, validity=validity, serial=serial, private=self._private,
            of_all=not key.project, older=older, pieces=page.pieces,
        )  # fmt: skip
        if coding not in ready.variants:
            ready.variants[coding] = make_variant(ready, coding)
        return ready


def page_answer(ready: Ready, variant: Variant, if_none_match: str | None, *, now: float) -> Answer:
    """The answer to a GET of the page: the variant, or 304 if the client has it."""
    told = variant.told(ready, now)
    if not_modified(if_none_match, variant.etag):
        return Answer(304, told.unchanged)
    return Answer(200, told.full, variant.body)
