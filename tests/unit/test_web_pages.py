"""Ready pages: right at every moment, rendered once, never more bytes than the limit."""

from __future__ import annotations

import asyncio
import gzip
import random
import threading
from collections.abc import Awaitable, Callable

import msgspec
import pytest
import zstandard
from packaging.utils import NormalizedName

from caseus.errors import NotFound, Unavailable
from caseus.model import File, Project, Validity
from caseus.render import JSON, PLAIN_HTML
from caseus.web.judge import Judge
from caseus.web.negotiate import Coding
from caseus.web.pages import Key, Pages, page_answer
from caseus.web.ready import Ready, Variant, make_ready, make_variant
from caseus.web.threads import Threads
from support.web import ScriptedCatalog, ScriptedIndex, ScriptedList

TREE = "files/main"
KEY = Key("main", "acme", JSON)
LIST = Key("main", "", PLAIN_HTML)


class World:
    """Pages over a catalog and an index that the test changes."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.catalog, self.index, self.threads = ScriptedCatalog(), ScriptedIndex(), Threads()
        clock = self.catalog.clock
        self.pages = Pages(
            self.catalog,
            {"main": self.index},
            self.threads,
            lists={"main": ScriptedList(self.index).body},
            judge=Judge(self.catalog, clock),
            clock=clock,
            limit=limit,
        )
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
        assert world.pages.at_once(KEY) is None
        first, _, mark = await world.pages.get(KEY)
        assert mark == "miss"
        second, _, mark = await world.pages.get(KEY)
        assert (second, mark) == (first, "hit")
        assert world.pages.at_once(KEY) is first
        assert world.index.asked == ["acme"]
        assert world.catalog.asked == world.catalog.looked == 0

    run(scenario)


def test_a_change_is_seen_by_the_next_request() -> None:
    async def scenario(world: World) -> None:
        await world.pages.get(KEY)
        world.publish("acme", "acme-1.zip", "acme-2.zip")
        assert world.pages.at_once(KEY) is None
        ready, _, mark = await world.pages.get(KEY)
        assert mark == "miss"
        assert b"acme-2.zip" in ready.body

    run(scenario)


def test_a_change_of_another_project_asks_once_and_renders_nothing() -> None:
    async def scenario(world: World) -> None:
        await world.pages.get(KEY)
        world.publish("other")
        assert world.pages.at_once(KEY) is not None
        for _ in range(3):
            assert (await world.pages.get(KEY)).mark == "hit"
        assert world.index.asked == ["acme"]
        assert (world.catalog.asked, world.catalog.looked) == (0, 1)

    run(scenario)


def test_a_page_ends_with_its_freshness() -> None:
    async def scenario(world: World) -> None:
        world.publish("acme", until=world.catalog.now + 10)
        await world.pages.get(KEY)
        world.catalog.now += 9.9
        assert (await world.pages.get(KEY)).mark == "hit"
        assert world.pages.at_once(KEY) is not None
        world.catalog.now += 0.1
        assert world.pages.at_once(KEY) is None
        assert (await world.pages.get(KEY)).mark == "miss"

    run(scenario)


def test_the_list_follows_every_change() -> None:
    async def scenario(world: World) -> None:
        _, older, _ = await world.pages.get(LIST)
        assert (await world.pages.get(LIST)).mark == "hit"
        world.publish("zope")
        assert world.pages.at_once(LIST) is None
        ready, newer, mark = await world.pages.get(LIST)
        assert mark == "miss"
        assert b"zope" in ready.body
        assert newer.etag != older.etag

    run(scenario)


def test_the_list_stays_while_no_name_comes_or_goes() -> None:
    async def scenario(world: World) -> None:
        _, older, _ = await world.pages.get(LIST)
        world.publish("acme", "acme-1.zip", "acme-2.zip")
        assert world.pages.at_once(LIST) is None  # that takes a question
        assert await world.pages.get(LIST) == (world.pages.at_once(LIST), older, "hit")

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
        assert len({id(ready) for ready, _, _ in answers}) == 1
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
        late, _, _ = await world.pages.get(KEY)
        assert b"acme-2.zip" in late.body
        go.set()
        await early
        ready, _, mark = await world.pages.get(KEY)  # the older one, made later, took no place
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
            return (await world.pages.get(KEY)).ready.body

        world.index.known["acme"] = anew
        early = asyncio.create_task(world.pages.get(KEY))
        while not asked:  # noqa: ASYNC110  (a thread says it)
            await asyncio.sleep(0)
        late = [asyncio.create_task(settled()) for _ in range(5)]
        await asyncio.sleep(0)
        go.set()
        assert b"acme-1.zip" in (await early).ready.body
        assert {b"acme-2.zip" in body for body in await asyncio.gather(*late)} == {True}

    run(scenario)


def test_errors_are_told_to_all_and_not_kept() -> None:
    async def scenario(world: World) -> None:
        results = await asyncio.gather(
            *(world.pages.get(Key("main", "none", JSON)) for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(result, NotFound) for result in results)
        world.publish("none", "none-1.zip")
        assert (await world.pages.get(Key("main", "none", JSON))).mark == "miss"

    run(scenario)


def test_memory_stays_under_the_limit_and_the_least_used_goes_first() -> None:
    async def scenario(world: World) -> None:
        for number in range(20):
            world.publish(f"p{number}", *(f"p{number}-{i}.zip" for i in range(30)))
        await world.pages.get(Key("main", "p0", JSON))
        for number in range(1, 20):
            await world.pages.get(Key("main", f"p{number}", JSON))
            assert (await world.pages.get(Key("main", "p0", JSON))).mark == "hit"
            assert world.pages.weight <= 20_000
        assert (await world.pages.get(Key("main", "p1", JSON))).mark == "miss"

    run(scenario, limit=20_000)


def test_a_page_over_the_limit_is_served_and_not_kept() -> None:
    async def scenario(world: World) -> None:
        assert (await world.pages.get(KEY)).mark == "miss"
        assert (await world.pages.get(KEY)).mark == "miss"
        assert world.pages.weight == 0

    run(scenario, limit=100)


def test_each_coding_is_made_once_and_counted() -> None:
    async def scenario(world: World) -> None:
        world.publish("acme", *(f"acme-{number}.zip" for number in range(100)))
        plain = (await world.pages.get(KEY)).variant
        before = world.pages.weight
        asking = [world.pages.get(KEY, coding) for coding in ("gzip", "zstd", "gzip", "zstd") for _ in range(5)]
        found = await asyncio.gather(*asking)
        assert len({id(variant) for _, variant, _ in found}) == 2
        assert world.pages.weight == before + sum({len(variant.body) for _, variant, _ in found})
        zipped, zstd = found[0].variant, found[5].variant
        assert gzip.decompress(zipped.body) == zstandard.ZstdDecompressor().decompress(zstd.body) == plain.body
        assert len({plain.etag, zipped.etag, zstd.etag}) == 3
        ready = world.pages.at_once(KEY)
        assert ready is not None and set(ready.variants) == {"", "gzip", "zstd"}
        assert world.index.asked == ["acme"]

    run(scenario)


def test_a_page_that_is_rendered_to_the_same_bytes_keeps_its_variants() -> None:
    async def scenario(world: World) -> None:
        files = [f"acme-{number}.zip" for number in range(100)]
        world.publish("acme", *files)
        first = await world.pages.get(KEY, "gzip")
        world.publish("acme", *files)
        ready, variant, mark = await world.pages.get(KEY)
        assert mark == "miss" and ready is not first.ready
        assert ready.variants["gzip"].body is first.variant.body
        assert ready.variants["gzip"].etag == first.variant.etag and variant is ready.variants[""]
        world.publish("acme", *files, "acme-b.zip")
        assert "gzip" not in (await world.pages.get(KEY)).ready.variants

    run(scenario)


def test_a_large_page_is_the_same_in_every_process_whatever_it_was_before() -> None:
    files = [f"acme-{number:03}.zip" for number in range(600)]

    async def follow(world: World) -> None:
        for now in (files, files[1:], [*files[:300], *files[301:], "acme-b.zip"]):
            world.publish("acme", *now)
            codings: tuple[Coding, ...] = ("gzip", "")
            for coding in codings:
                found[coding] = (await world.pages.get(KEY, coding)).variant

    async def begin(world: World) -> None:
        world.publish("acme", *files[:300], *files[301:], "acme-b.zip")
        codings: tuple[Coding, ...] = ("gzip", "zstd")
        for coding in codings:
            variant = (await world.pages.get(KEY, coding)).variant
            plain = (await world.pages.get(KEY)).variant
            if coding == "gzip":
                assert (found[coding].etag, found[coding].body) == (variant.etag, variant.body)
                assert gzip.decompress(variant.body) == found[""].body == plain.body
            else:
                assert zstandard.ZstdDecompressor().decompress(variant.body) == plain.body
        ready = world.pages.at_once(KEY)
        assert ready is not None
        zipped = len(ready.variants["gzip"].body)
        assert world.pages.weight > sum(len(variant.body) for variant in ready.variants.values()) + zipped

    found: dict[Coding, Variant] = {}
    run(follow)
    run(begin)


def test_while_the_catalog_can_not_tell_each_page_is_asked_for() -> None:
    async def scenario(world: World) -> None:
        await world.pages.get(KEY)
        world.publish("other")
        world.catalog.broken = Unavailable("locked", kind="local")
        assert world.pages.at_once(KEY) is None
        assert (await world.pages.get(KEY)).mark == "hit" and world.catalog.asked == 1
        world.catalog.broken = None
        world.publish("more")
        assert world.pages.at_once(KEY) is not None and world.catalog.asked == 1

    run(scenario)


def make(body: bytes, validity: Validity | None = None, *, private: bool = False) -> Ready:
    return make_ready(body, JSON, hosted=True, validity=validity or Validity(), serial=1, private=private)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_variants_are_the_same_bytes_each_time(coding: Coding) -> None:
    body = b"a" * 5000
    made = make_variant(make(body), coding)
    assert len(made.body) < 100 and made.coding == coding
    assert make_variant(make(body), coding).etag == made.etag
    assert coding == "zstd" or made.body[4:8] == b"\0\0\0\0"  # no time stamp
    for useless in (b"a" * 1024, random.Random(1).randbytes(2000)):  # not worth it, not smaller
        ready = make(useless)
        assert make_variant(ready, coding) is ready.variants[""]


@pytest.mark.parametrize("private", [False, True])
def test_answers(private: bool) -> None:
    ready = make(b"a" * 5000, private=private)
    plain, zipped = ready.variants[""], make_variant(ready, "gzip")
    whole = page_answer(ready, plain, None, now=0)
    assert (whole.status, whole.body) == (200, ready.body)
    answer = page_answer(ready, zipped, None, now=0)
    assert answer.body == zipped.body
    assert ("Content-Encoding", "gzip") in answer.headers
    etag = dict(answer.headers)["ETag"]
    assert etag != dict(whole.headers)["ETag"]
    same = page_answer(ready, zipped, f'"x", W/{etag}', now=0)
    assert same.status == 304
    assert same.body == b""
    assert set(dict(same.headers)) == {"ETag", "Cache-Control", "Vary"}
    assert page_answer(ready, plain, etag, now=0).status == 200
    assert dict(same.headers)["Vary"] == "Accept, Accept-Encoding" + (", Authorization" if private else "")


def test_what_is_told_changes_with_the_time() -> None:
    ready = make_ready(b"", JSON, hosted=False, validity=Validity(until=1100.5, fetched=1000), serial=1)
    plain = ready.variants[""]
    assert b"max-age=100\r\n" in plain.told(ready, 1000.0).full_lines
    assert plain.told(ready, 1000.4) is plain.told(ready, 1000.0)
    assert b"max-age=99\r\n" in plain.told(ready, 1000.6).full_lines
    assert b"max-age=10\r\n" in plain.told(ready, 1090.0).unchanged_lines
