"""An index seen anew each time, and as it was: when upstreams are asked, and what is told when they can't be."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from caseus.errors import NotFound, Unavailable
from caseus.index import Index
from caseus.names import normalize
from caseus.site import HostedIndex, Site, build
from conformance.index_conformance import (
    ALPHA,
    ALPHA_SDIST,
    ALPHA_SIGNATURE,
    ALPHA_WHEEL,
    BETA,
    BETA_WHEEL,
    NOBODY,
    YANKED,
    IndexConformance,
    read_all,
)
from support.forms import form_for
from support.packages import make_wheel
from support.proxied import Clock
from support.upstream import FakeUpstream, Fault, Listed, Options
from support.web import make_config

PAGE = "/simple/alpha/"
WHEEL = (*ALPHA_WHEEL, Options(requires_python=">=3.8"))
SDIST = (*ALPHA_SDIST, Options(signature=ALPHA_SIGNATURE, gpg_sig=True))
NEWER = make_wheel("alpha", "2.0")
CONTENT: Mapping[str, Sequence[Listed]] = {
    "alpha": [WHEEL, SDIST],
    "beta": [(*BETA_WHEEL, Options(yanked=YANKED))],
}


class World:
    """A site over an upstream, whose clock the test moves."""

    def __init__(self, site: Site, upstream: FakeUpstream, clock: Clock) -> None:
        self.site, self.upstream, self.clock = site, upstream, clock

    @property
    def main(self) -> HostedIndex:
        return self.site.indexes["main"]

    @property
    def plain(self) -> Index:
        return self.main.index

    @property
    def refresh(self) -> Index:
        return self.main.views["refresh"]

    @property
    def norefresh(self) -> Index:
        return self.main.views["norefresh"]

    def publish(self, name: str, filename: str, data: bytes) -> None:
        with closing(self.main.publisher.stage()) as staged:
            staged.write(data)
            form = form_for(name, "9.0", filename, data)
            self.main.publisher.publish(staged, form, filename=filename, signature=None, actor="test")

    def release(self) -> None:
        self.upstream.projects["alpha"] = [WHEEL, SDIST, NEWER]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def make(stack: ExitStack, root: Path, content: Mapping[str, Sequence[Listed]] = CONTENT, **told: Any) -> World:
    upstream, clock = stack.enter_context(FakeUpstream(content)), Clock()
    site = build(make_config(root, upstreams=[upstream.url], **told), clock=clock)
    stack.callback(site.close)
    return World(site, upstream, clock)


@pytest.fixture
def world(stack: ExitStack, tmp_path: Path) -> World:
    return make(stack, tmp_path / "root")


class TestRefreshingAsAnIndex(IndexConformance):
    @pytest.fixture
    def index(self, world: World) -> Index:
        return world.refresh


class TestRestingAsAnIndex(IndexConformance):
    @pytest.fixture
    def index(self, world: World) -> Index:
        """Of what was asked for before."""
        for name in (ALPHA, BETA):
            world.plain.project(name)
        return world.norefresh


class TestRefresh:
    def test_the_upstream_is_asked_each_time_and_what_it_says_is_kept(self, world: World) -> None:
        assert world.plain.project(ALPHA).versions == ("1.0",)
        world.release()
        assert world.plain.project(ALPHA).versions == ("1.0",)
        sent = world.upstream.sent
        seen = world.refresh.project(ALPHA)
        assert seen.versions == ("1.0", "2.0")
        assert (seen.validity.until, seen.hosted) == (world.clock.now, False)  # right for this moment only
        assert world.upstream.sent > sent
        assert world.plain.project(ALPHA).versions == ("1.0", "2.0")
        assert world.upstream.count(PAGE) == 2
        sent = world.upstream.sent
        world.refresh.project(ALPHA)
        assert (world.upstream.count(PAGE), world.upstream.sent) == (3, sent)  # answered by a 304

    def test_absence_is_not_believed(self, world: World) -> None:
        for index in (world.plain, world.plain, world.refresh, world.refresh):
            with pytest.raises(NotFound):
                index.project(NOBODY)
        assert world.upstream.count("/simple/nobody/") == 3
        world.upstream.projects["nobody"] = [make_wheel("nobody", "1.0")]
        assert world.refresh.project(NOBODY).versions == ("1.0",)
        assert world.plain.project(NOBODY).versions == ("1.0",)

    def test_a_pause_after_a_failure_is_not_kept(self, world: World) -> None:
        world.plain.project(ALPHA)
        world.clock.now += 700
        world.upstream.fail(Fault("html"))
        assert world.plain.project(ALPHA).validity.stale
        seen = world.refresh.project(ALPHA)
        assert seen.validity.stale
        assert seen.validity.until == world.clock.now
        world.upstream.heal()
        world.release()
        assert world.refresh.project(ALPHA).versions == ("1.0", "2.0")
        assert not world.plain.project(ALPHA).validity.stale

    def test_who_asked_to_be_left_alone_is(self, world: World) -> None:
        world.plain.project(ALPHA)
        world.upstream.fail(Fault("status", status=429, retry_after=60))
        assert world.refresh.project(ALPHA).validity.stale
        asked = world.upstream.count(PAGE)
        assert world.refresh.project(ALPHA).validity.stale
        assert world.upstream.count(PAGE) == asked

    def test_nothing_older_is_an_error(self, world: World) -> None:
        world.upstream.fail(Fault("html"))
        with pytest.raises(Unavailable):
            world.refresh.project(ALPHA)

    def test_a_file_is_what_its_page_listed(self, world: World) -> None:
        world.refresh.project(ALPHA)
        assert read_all(world.refresh.open(ALPHA, ALPHA_WHEEL[0])) == ALPHA_WHEEL[1]
        assert world.upstream.count(PAGE) == 1

    def test_a_file_that_nobody_listed_yet_is_asked_for(self, world: World) -> None:
        world.plain.project(ALPHA)
        world.release()
        with pytest.raises(NotFound):
            world.plain.open(ALPHA, NEWER[0])
        assert read_all(world.refresh.open(ALPHA, NEWER[0])) == NEWER[1]

    def test_a_name_that_is_ours_is_never_asked_for(self, world: World) -> None:
        world.publish("alpha", *make_wheel("alpha", "9.0"))
        assert world.refresh.project(ALPHA).versions == ("9.0",)
        with pytest.raises(NotFound):
            world.refresh.open(ALPHA, ALPHA_WHEEL[0])
        assert world.upstream.requests == []

    def test_who_waits_while_a_later_request_runs_shares_its_answer(self, stack: ExitStack, tmp_path: Path) -> None:
        """Of many at once the first asks, and one more for all who came meanwhile: its request began after theirs."""
        gate = threading.Event()
        world = make(stack, tmp_path / "root")
        world.plain.project(ALPHA)
        world.upstream.etags = False
        world.upstream.fail(Fault("slow", gate=gate, times=1), PAGE)
        with ThreadPoolExecutor(32) as pool:
            first = pool.submit(world.refresh.project, ALPHA)
            world.upstream.wait_for(PAGE, 2)
            others = [pool.submit(world.refresh.project, ALPHA) for _ in range(30)]
            pages = world.main.views["refresh"]._anew._indexes[1]._index._pages  # type: ignore[attr-defined]
            _until_waiting(pages, 31)
            world.release()
            gate.set()
            assert {each.result().versions for each in others} == {("1.0", "2.0")}
            assert first.result().name == ALPHA
        assert world.upstream.count(PAGE) == 3


def _until_waiting(pages: Any, users: int) -> None:
    """Until so many hold or want the lock of the project."""
    pause = threading.Event()
    for _ in range(5000):
        if pages._locks._locks.get(ALPHA, (None, 0))[1] == users:
            return
        pause.wait(0.002)
    raise AssertionError("they did not come")


class TestNorefresh:
    def test_no_page_is_asked_for_however_old_it_is(self, world: World) -> None:
        world.plain.project(ALPHA)
        world.release()
        world.upstream.forget()
        world.clock.now += 365 * 86_400
        seen = world.norefresh.project(ALPHA)
        assert seen.versions == ("1.0",)
        assert (seen.validity.stale, seen.validity.until) == (False, None)
        assert world.norefresh.knows(ALPHA)
        assert world.upstream.requests == []

    def test_what_nobody_asked_for_is_not_there(self, world: World) -> None:
        for _ in range(2):
            with pytest.raises(NotFound) as caught:
                world.norefresh.project(ALPHA)
        assert not world.norefresh.knows(ALPHA)
        with pytest.raises(NotFound):
            world.norefresh.open(ALPHA, ALPHA_WHEEL[0])
        assert world.upstream.requests == []
        validity = caught.value.validity
        assert validity is not None
        assert world.site.catalog.is_current(validity, world.clock.now)
        world.plain.project(ALPHA)
        assert not world.site.catalog.is_current(validity, world.clock.now)

    def test_a_newer_page_that_somebody_else_asked_for_is_seen(self, world: World) -> None:
        world.plain.project(ALPHA)
        before = world.norefresh.project(ALPHA).validity
        world.release()
        world.refresh.project(ALPHA)
        assert not world.site.catalog.is_current(before, world.clock.now)
        assert world.norefresh.project(ALPHA).versions == ("1.0", "2.0")

    def test_a_listed_file_is_fetched_when_it_is_asked_for(self, world: World) -> None:
        world.plain.project(ALPHA)
        world.clock.now += 700
        assert read_all(world.norefresh.open(ALPHA, ALPHA_WHEEL[0])) == ALPHA_WHEEL[1]
        world.upstream.down()
        assert read_all(world.norefresh.open(ALPHA, ALPHA_WHEEL[0])) == ALPHA_WHEEL[1]
        assert world.upstream.count(PAGE) == 1

    def test_ours_is_there(self, world: World) -> None:
        world.publish("alpha", *make_wheel("alpha", "9.0"))
        assert world.norefresh.project(ALPHA).versions == ("9.0",)


class TestForever:
    """`--upstream-ttl forever`: an upstream is asked about what is not known, and about nothing else."""

    @pytest.fixture
    def world(self, stack: ExitStack, tmp_path: Path) -> World:
        return make(stack, tmp_path / "root", upstream_ttl=math.inf)

    def test_only_if_unknown(self, world: World) -> None:
        world.plain.project(ALPHA)
        world.release()
        world.clock.now += 1000 * 365 * 86_400
        seen = world.plain.project(ALPHA)
        assert (seen.versions, seen.validity.until) == (("1.0",), math.inf)
        assert world.upstream.count(PAGE) == 1
        assert world.refresh.project(ALPHA).versions == ("1.0", "2.0")

    def test_it_is_no_longer_for_ever_once_it_is_set_otherwise(
        self, world: World, stack: ExitStack, tmp_path: Path
    ) -> None:
        world.plain.project(ALPHA)
        world.release()
        site = build(make_config(tmp_path / "root", upstreams=[world.upstream.url]), clock=world.clock)
        stack.callback(site.close)
        assert site.indexes["main"].index.project(ALPHA).versions == ("1.0",)
        world.clock.now += 700
        assert site.indexes["main"].index.project(ALPHA).versions == ("1.0", "2.0")

    def test_what_was_fetched_for_a_while_is_kept_for_ever_from_now_on(
        self, world: World, stack: ExitStack, tmp_path: Path
    ) -> None:
        before = make(stack, tmp_path / "other")
        before.plain.project(ALPHA)
        before.release()
        config = make_config(tmp_path / "other", upstreams=[before.upstream.url], upstream_ttl=math.inf)
        site = build(config, clock=before.clock)
        stack.callback(site.close)
        before.clock.now += 365 * 86_400
        assert site.indexes["main"].index.project(normalize("alpha")).versions == ("1.0",)
