"""Ready pages: right at every moment, rendered once, never more bytes than the limit."""

from __future__ import annotations

import asyncio
import gzip
import random
import threading
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from packaging.utils import NormalizedName

from caseus.errors import NotFound
from caseus.model import File, Project, Validity
from caseus.render import JSON, PLAIN_HTML
from caseus.web.pages import Key, Pages, make_ready, page_answer
from caseus.web.threads import Threads
from support.web import ScriptedCatalog, ScriptedIndex

TREE = "files/main"
KEY = Key("main", "acme", JSON)
LIST = Key("main", "", PLAIN_HTML)


class World:
    """Pages over a catalog and an index that the test changes."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.catalog, self.index, self.threads = ScriptedCatalog(), ScriptedIndex(), Threads()
        self.pages = Pages(self.catalog, {"main": self.index}, self.threads, clock=self.catalog.clock, limit=limit)
        self.publish("acme", "acme-1.zip")

    def publish(self, name: str, *filenames: str, until: float | None = None) -> None:
        self.catalog.change(TREE, name)
        validity = Validity(serials=((TREE, name, self.catalog.number),), until=until)
        files = tuple(File(filename=filename) for filename in filenames)
        self.index.known[name] = Project(name=NormalizedName(name), files=files, validity=validity)


def run(scenario: Callable[[World], Awaitable[None]], limit: int = 1 << 20) -> None:
    world = World(limit)
    try:
        asyncio.run(scenario(world))  # type: ignore[arg-type]
    finally:
        world.threads.close()


def test_a_page_is_rendered_once_and_checked_without_a_query() -> None:
    async def scenario(world: World) -> None:
        first, mark = await world.pages.get(KEY)
        assert mark == "miss"
        second, mark = await world.pages.get(KEY)
        assert (second, mark) == (first, "hit")
        assert world.index.asked == ["acme"]
        assert world.catalog.asked == 0

    run(scenario)


def test_a_change_is_seen_by_the_next_request() -> None:
    async def scenario(world: World) -> None:
        await world.pages.get(KEY)
        world.publish("acme", "acme-1.zip", "acme-2.zip")
        ready, mark = await world.pages.get(KEY)
        assert mark == "miss"
        assert b"acme-2.zip" in ready.page.body

    run(scenario)


def test_a_change_of_another_project_asks_once_and_renders_nothing() -> None:
    async def scenario(world: World) -> None:
        await world.pages.get(KEY)
        world.publish("other")
        for _ in range(3):
            assert (await world.pages.get(KEY))[1] == "hit"
        assert world.index.asked == ["acme"]
        assert world.catalog.asked == 1

    run(scenario)


def test_a_page_ends_with_its_freshness() -> None:
    async def scenario(world: World) -> None:
        world.publish("acme", until=world.catalog.now + 10)
        await world.pages.get(KEY)
        world.catalog.now += 9.9
        assert (await world.pages.get(KEY))[1] == "hit"
        world.catalog.now += 0.1
        assert (await world.pages.get(KEY))[1] == "miss"

    run(scenario)


def test_the_list_follows_every_change() -> None:
    async def scenario(world: World) -> None:
        ready, _ = await world.pages.get(LIST)
        assert (await world.pages.get(LIST))[1] == "hit"
        world.publish("zope")
        newer, mark = await world.pages.get(LIST)
        assert mark == "miss"
        assert b"zope" in newer.page.body
        assert newer.page.etag != ready.page.etag

    run(scenario)


def test_many_who_ask_at_once_get_one_rendering() -> None:
    async def scenario(world: World) -> None:
        go = threading.Event()
        project = world.index.known["acme"]
        assert isinstance(project, Project)

        def slowly() -> Project:
            assert go.wait(10)
            return project

        world.index.known["acme"] = slowly
        asking = [asyncio.create_task(world.pages.get(KEY)) for _ in range(50)]
        while not world.index.asked:  # noqa: ASYNC110  (a thread says it)
            await asyncio.sleep(0)
        go.set()
        answers = await asyncio.gather(*asking)
        assert len({id(ready) for ready, _ in answers}) == 1
        assert world.index.asked == ["acme"]

    run(scenario)


def test_who_asks_after_a_change_never_gets_what_was_begun_before() -> None:
    async def scenario(world: World) -> None:
        go = threading.Event()
        old = world.index.known["acme"]
        assert isinstance(old, Project)

        def slowly() -> Project:
            assert go.wait(10)
            return old

        world.index.known["acme"] = slowly
        early = asyncio.create_task(world.pages.get(KEY))
        while not world.index.asked:  # noqa: ASYNC110  (a thread says it)
            await asyncio.sleep(0)
        world.publish("acme", "acme-2.zip")
        late, _ = await world.pages.get(KEY)
        assert b"acme-2.zip" in late.page.body
        go.set()
        await early
        ready, mark = await world.pages.get(KEY)  # the older one, made later, took no place
        assert (ready, mark) == (late, "hit")

    run(scenario)


def test_who_waits_for_what_is_under_way_gets_what_is_begun_after() -> None:
    """For a page that has to be asked for anew each time, though nothing here has changed."""

    async def scenario(world: World) -> None:
        go = threading.Event()
        old = world.index.known["acme"]
        assert isinstance(old, Project)
        asked = 0

        def anew() -> Project:
            nonlocal asked
            asked += 1
            assert go.wait(10)
            moment = Validity(until=world.catalog.now)
            return msgspec.structs.replace(old, files=(File(filename=f"acme-{asked}.zip"),), validity=moment)

        async def settled() -> bytes:
            await world.pages.settle(KEY)
            return (await world.pages.get(KEY))[0].page.body

        world.index.known["acme"] = anew
        early = asyncio.create_task(world.pages.get(KEY))
        while not asked:  # noqa: ASYNC110  (a thread says it)
            await asyncio.sleep(0)
        late = [asyncio.create_task(settled()) for _ in range(5)]
        await asyncio.sleep(0)
        go.set()
        assert b"acme-1.zip" in (await early)[0].page.body
        assert {b"acme-2.zip" in body for body in await asyncio.gather(*late)} == {True}

    run(scenario)


def test_errors_are_told_to_all_and_not_kept() -> None:
    async def scenario(world: World) -> None:
        results = await asyncio.gather(
            *(world.pages.get(Key("main", "none", JSON)) for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(result, NotFound) for result in results)
        world.publish("none", "none-1.zip")
        assert (await world.pages.get(Key("main", "none", JSON)))[1] == "miss"

    run(scenario)


def test_memory_stays_under_the_limit_and_the_least_used_goes_first() -> None:
    async def scenario(world: World) -> None:
        for number in range(20):
            world.publish(f"p{number}", *(f"p{number}-{i}.zip" for i in range(30)))
        await world.pages.get(Key("main", "p0", JSON))
        for number in range(1, 20):
            await world.pages.get(Key("main", f"p{number}", JSON))
            assert (await world.pages.get(Key("main", "p0", JSON)))[1] == "hit"
            assert world.pages.weight <= 20_000
        assert (await world.pages.get(Key("main", "p1", JSON)))[1] == "miss"

    run(scenario, limit=20_000)


def test_a_page_over_the_limit_is_served_and_not_kept() -> None:
    async def scenario(world: World) -> None:
        assert (await world.pages.get(KEY))[1] == "miss"
        assert (await world.pages.get(KEY))[1] == "miss"
        assert world.pages.weight == 0

    run(scenario, limit=100)


def ready_of(body: bytes) -> tuple[bytes, bytes | None]:
    ready = make_ready(body, JSON, hosted=True, validity=Validity(), serial=1)
    return ready.page.body, ready.gzip.body if ready.gzip else None


def test_variants_are_the_same_bytes_each_time() -> None:
    body = b"a" * 5000
    plain, zipped = ready_of(body)
    assert zipped is not None
    assert gzip.decompress(zipped) == plain == body
    assert ready_of(body)[1] == zipped
    assert zipped[4:8] == b"\0\0\0\0"  # no time stamp
    assert ready_of(b"a" * 1024)[1] is None
    assert ready_of(random.Random(1).randbytes(2000))[1] is None  # not smaller


@pytest.mark.parametrize("private", [False, True])
def test_answers(private: bool) -> None:
    ready = make_ready(b"a" * 5000, JSON, hosted=True, validity=Validity(), serial=1)
    assert ready.gzip is not None
    plain = page_answer(ready, {}, now=0, private=private)
    zipped = page_answer(ready, {"accept-encoding": "gzip"}, now=0, private=private)
    assert (plain.status, plain.body) == (200, ready.page.body)
    assert zipped.body == ready.gzip.body
    assert ("Content-Encoding", "gzip") in zipped.headers
    etag = dict(zipped.headers)["ETag"]
    assert etag != dict(plain.headers)["ETag"]
    same = page_answer(ready, {"accept-encoding": "gzip", "if-none-match": f'"x", W/{etag}'}, now=0, private=private)
    assert same.status == 304
    assert same.body == b""
    assert set(dict(same.headers)) == {"ETag", "Cache-Control", "Vary"}
    assert page_answer(ready, {"if-none-match": etag}, now=0, private=private).status == 200
    assert dict(same.headers)["Vary"] == "Accept, Accept-Encoding" + (", Authorization" if private else "")
