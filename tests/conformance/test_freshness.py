"""How old a page may be, how often an upstream is asked, and what becomes of its answers when nothing can be kept."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from caseus.catalog import Catalog
from caseus.errors import NotFound, Unavailable
from caseus.model import Project
from caseus.names import normalize
from caseus.proxy.pages import ABSENT, BACK_OFF
from caseus.upstream import Timeouts
from caseus.upstream.circuit import Circuit
from support.packages import make_wheel
from support.proxied import Proxied, read_all, until
from support.upstream import FakeUpstream, Fault, Listed, Options

ALPHA, BETA = normalize("alpha"), normalize("beta")
WHEEL, NEWER = make_wheel("alpha", "1.0"), make_wheel("alpha", "2.0")
PAGE = "/simple/alpha/"
TTL, STALE = 600, 60
PATIENT = Timeouts(connect=30, read=30, page=60)  # for gates, on a busy machine


class GatedUpstream(FakeUpstream):
    """Answers nothing, not even a head, while `gate` is closed."""

    def __init__(self, projects: Mapping[str, Sequence[Listed]]) -> None:
        super().__init__(projects)
        self.gate = threading.Event()
        self.gate.set()

    def fault(self, path: str) -> Fault | None:
        assert self.gate.wait(60)
        return super().fault(path)


@pytest.fixture
def upstream() -> Iterator[GatedUpstream]:
    content = {f"p{number}": [make_wheel(f"p{number}", "1.0")] for number in range(10)}
    with GatedUpstream(content | {"alpha": [WHEEL], "beta": [make_wheel("beta", "1.0")]}) as server:
        yield server
        server.gate.set()


@pytest.fixture
def proxied(tmp_path: Path, upstream: GatedUpstream) -> Iterator[Proxied]:
    with Proxied(tmp_path / "root", upstream, ttl=TTL, stale=STALE, timeouts=PATIENT) as made:
        yield made


def project(proxied: Proxied) -> Project:
    return proxied.proxy.project(ALPHA)


def release(upstream: GatedUpstream) -> None:
    upstream.projects["alpha"] = [WHEEL, NEWER]


class TestStaleWhileRevalidate:
    def test_at_once_and_newer_at_the_next_request(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        """The answer doesn't wait: the upstream sends nothing until it was given."""
        project(proxied)
        release(upstream)
        upstream.gate.clear()
        proxied.clock.now += TTL
        given = project(proxied)
        assert given.versions == ("1.0",)
        assert not given.validity.stale
        assert given.validity.until == proxied.clock.now + 1  # who keeps it looks again soon
        upstream.wait_for(PAGE, 2)
        upstream.gate.set()
        until(lambda: project(proxied).versions == ("1.0", "2.0"))
        assert upstream.count(PAGE) == 2
        assert not proxied.catalog.is_current(given.validity, proxied.clock.now)

    def test_two_hundred_at_once_are_one_request(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        project(proxied)
        upstream.gate.clear()
        release(upstream)
        proxied.clock.now += TTL
        with ThreadPoolExecutor(50) as pool:
            given = list(pool.map(lambda _: project(proxied), range(200)))
        assert {each.versions for each in given} == {("1.0",)}
        upstream.gate.set()
        until(lambda: len(project(proxied).versions) == 2)
        assert upstream.count(PAGE) == 2

    def test_two_hundred_at_once_are_one_request_when_all_must_wait(
        self, proxied: Proxied, upstream: GatedUpstream
    ) -> None:
        project(proxied)
        release(upstream)
        proxied.clock.now += TTL + STALE
        with ThreadPoolExecutor(50) as pool:
            given = list(pool.map(lambda _: project(proxied), range(200)))
        assert {each.versions for each in given} == {("1.0", "2.0")}
        assert upstream.count(PAGE) == 2

    def test_what_is_too_old_is_asked_for_before_it_is_given(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        project(proxied)
        release(upstream)
        proxied.clock.now += TTL + STALE
        assert project(proxied).versions == ("1.0", "2.0")

    def test_a_glance_ends_with_what_is_bearable(self, proxied: Proxied) -> None:
        project(proxied)
        proxied.clock.now += TTL + STALE - 0.25
        assert project(proxied).validity.until == proxied.clock.now + 0.25

    def test_no_page_is_given_that_is_older_than_was_asked_for(self, tmp_path: Path, upstream: GatedUpstream) -> None:
        """With a TTL of nothing each page is revalidated, whatever `upstream_stale` says."""
        with Proxied(tmp_path / "root", upstream, ttl=0, stale=STALE) as proxied:
            project(proxied)
            release(upstream)
            assert project(proxied).versions == ("1.0", "2.0")

    def test_a_refresh_that_fails_makes_it_stale(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        project(proxied)
        upstream.fail(Fault("status", status=500))
        proxied.clock.now += TTL
        assert not project(proxied).validity.stale
        until(lambda: project(proxied).validity.stale)
        proxied.clock.now += BACK_OFF
        assert project(proxied).validity.stale  # it failed last: nobody hopes again at a reader's expense
        upstream.heal()
        release(upstream)
        proxied.clock.now += BACK_OFF
        assert project(proxied).versions == ("1.0", "2.0")

    def test_a_project_that_goes_away_meanwhile(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        project(proxied)
        del upstream.projects["alpha"]
        proxied.clock.now += TTL
        assert project(proxied).versions == ("1.0",)
        until(lambda: not proxied.catalog.has_page(proxied.proxy.tree, "alpha"))
        with pytest.raises(NotFound):
            project(proxied)


class TestJitter:
    def test_pages_that_came_together_expire_apart(self, tmp_path: Path, upstream: GatedUpstream) -> None:
        numbers = iter([0.0, 1.0, 0.5])
        with Proxied(tmp_path / "root", upstream, ttl=TTL, random=lambda: next(numbers)) as proxied:
            now = proxied.clock.now
            untils = [proxied.proxy.project(normalize(f"p{number}")).validity.until for number in range(3)]
            assert untils == [now + 600, now + 540, now + 570]  # never more than the TTL


class TestAbsence:
    def test_it_is_believed_for_a_while(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        nobody = normalize("nobody")
        for _ in range(3):
            with pytest.raises(NotFound) as caught:
                proxied.proxy.project(nobody)
            with pytest.raises(NotFound):
                proxied.proxy.open(nobody, "nobody-1.0.zip")
            assert not proxied.proxy.knows(nobody)
        assert upstream.count("/simple/nobody/") == 1
        assert caught.value.validity is not None and caught.value.validity.until == proxied.clock.now + ABSENT
        upstream.projects["nobody"] = [make_wheel("nobody", "1.0")]
        proxied.clock.now += ABSENT
        assert proxied.proxy.knows(nobody)

    def test_it_can_be_forgotten(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        assert not proxied.proxy.knows(normalize("nobody"))
        upstream.projects["nobody"] = [make_wheel("nobody", "1.0")]
        proxied.proxy.forget_absence("nobody")
        assert proxied.proxy.knows(normalize("nobody"))

    def test_a_failure_is_no_absence(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        upstream.fail(Fault("status", status=500), "/simple/nobody/")
        for _ in range(2):
            with pytest.raises(Unavailable):
                proxied.proxy.project(normalize("nobody"))
        upstream.heal()
        assert not proxied.proxy.knows(normalize("nobody"))

    def test_who_waited_while_another_was_refused_is_refused_too(
        self, proxied: Proxied, upstream: GatedUpstream
    ) -> None:
        upstream.gate.clear()

        def refused(_: int) -> bool:
            try:
                project(proxied)
            except Unavailable:
                return True
            return False

        with ThreadPoolExecutor(20) as pool:
            first = pool.submit(refused, 0)
            upstream.wait_for(PAGE)
            others = [pool.submit(refused, number) for number in range(1, 20)]
            until(lambda: proxied.proxy._pages._locks._locks["alpha"][1] == 20)
            upstream.fail(Fault("status", status=500), PAGE)
            upstream.gate.set()
            assert first.result() and all(other.result() for other in others)
        assert upstream.count(PAGE) == 1


class TestRateLimits:
    @pytest.mark.parametrize(("status", "told", "seconds"), [(429, 45, 45), (429, None, 10), (503, 45, 45)])
    def test_it_is_left_alone_for_as_long_as_it_says(
        self, proxied: Proxied, upstream: GatedUpstream, status: int, told: int | None, seconds: int
    ) -> None:
        """Whatever is asked for: pages, also such that we don't have, and files."""
        project(proxied)
        upstream.fail(Fault("status", status=status, retry_after=told), "/simple/beta/")
        with pytest.raises(Unavailable):
            proxied.proxy.project(BETA)
        upstream.heal()
        upstream.forget()
        proxied.clock.now += seconds - 1
        with pytest.raises(Unavailable) as caught:
            proxied.proxy.project(BETA)
        assert (caught.value.kind, caught.value.retry_after) == ("upstream", 1)
        with pytest.raises(Unavailable):
            read_all(proxied.proxy.open(ALPHA, WHEEL[0]))
        assert upstream.requests == []
        proxied.clock.now += 1
        assert proxied.proxy.knows(BETA)
        assert read_all(proxied.proxy.open(ALPHA, WHEEL[0])) == WHEEL[1]

    def test_a_wait_of_a_day_is_not_believed(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        upstream.fail(Fault("status", status=429, retry_after=86_400))
        with pytest.raises(Unavailable):
            proxied.proxy.project(BETA)
        upstream.heal()
        proxied.clock.now += 600
        assert proxied.proxy.knows(BETA)

    def test_what_we_have_is_served_meanwhile(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        project(proxied)
        proxied.clock.now += TTL + STALE
        upstream.fail(Fault("status", status=429, retry_after=100))
        assert project(proxied).validity.until == proxied.clock.now + 100
        upstream.heal()
        proxied.clock.now += 99
        assert project(proxied).validity.stale
        assert upstream.count(PAGE) == 2


class TestCircuit:
    """Five failures in a row, then one request each ten seconds."""

    def fail(self, proxied: Proxied, number: int) -> Unavailable:
        with pytest.raises(Unavailable) as caught:
            proxied.proxy.project(normalize(f"p{number}"))
        return caught.value

    def open_it(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        for number in range(Circuit.opens_after):
            self.fail(proxied, number)
        upstream.forget()

    def test_it_opens_and_probes(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        upstream.fail(Fault("status", status=500))
        self.open_it(proxied, upstream)
        for number in range(10):
            error = self.fail(proxied, number)
            assert error.retry_after == 10
            assert "left alone for 10 more seconds" in str(error)
        assert upstream.requests == []
        proxied.clock.now += 10
        self.fail(proxied, 1)
        self.fail(proxied, 2)
        assert len(upstream.requests) == 1  # the probe
        upstream.heal()
        proxied.clock.now += 10
        assert proxied.proxy.knows(normalize("p3"))
        assert proxied.proxy.knows(normalize("p4"))

    def test_no_stampede_at_recovery(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        """Two hundred wait for it to come back, and it meets one request until that is answered."""
        upstream.fail(Fault("status", status=500))
        self.open_it(proxied, upstream)
        upstream.heal()
        upstream.gate.clear()
        proxied.clock.now += 10

        def known(number: int) -> bool:
            try:
                return proxied.proxy.knows(normalize(f"p{number % 10}"))
            except Unavailable:
                return False

        with ThreadPoolExecutor(50) as pool:
            answers = [pool.submit(known, number) for number in range(200)]
            until(lambda: sum(answer.done() for answer in answers) >= 180)  # but who asks for the probe's own page
            assert len(upstream.requests) == 1
            upstream.gate.set()
            assert sum(answer.result() for answer in answers) >= 1

    def test_one_page_that_is_broken_for_good_opens_nothing(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        upstream.fail(Fault("status", status=500), "/simple/p0/")
        for _ in range(3 * Circuit.opens_after):
            self.fail(proxied, 0)
        assert proxied.proxy.knows(ALPHA)

    def test_answers_in_between_keep_it_closed(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        for number in range(2 * Circuit.opens_after):
            upstream.fail(Fault("cut"), f"/simple/p{number % 10}/")
            self.fail(proxied, number % 10)
            with pytest.raises(NotFound):
                proxied.proxy.project(normalize(f"nobody{number}"))
        assert len(upstream.requests) == 4 * Circuit.opens_after

    def test_the_rest_is_there_while_it_is_open(self, proxied: Proxied, upstream: GatedUpstream) -> None:
        assert read_all(proxied.proxy.open(ALPHA, WHEEL[0])) == WHEEL[1]
        proxied.clock.now += TTL + STALE
        upstream.down()
        self.open_it(proxied, upstream)
        upstream.up()
        assert project(proxied).validity.stale
        assert read_all(proxied.proxy.open(ALPHA, WHEEL[0])) == WHEEL[1]
        assert upstream.requests == []
        proxied.clock.now += 10
        assert not project(proxied).validity.stale  # the page is the probe


class TestDiskFull:
    """Nothing can be written to the catalog; what the upstream answers is given all the same."""

    @pytest.fixture
    def full(self, proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> Proxied:
        project(proxied)
        full_disk(proxied.catalog, monkeypatch)
        return proxied

    def test_a_changed_page(self, full: Proxied, upstream: GatedUpstream) -> None:
        release(upstream)
        full.clock.now += TTL + STALE
        given = project(full)
        assert given.versions == ("1.0", "2.0")
        assert given.validity.until == full.clock.now + BACK_OFF
        assert project(full).versions == ("1.0", "2.0")
        assert upstream.count(PAGE) == 2
        full.clock.now += BACK_OFF
        upstream.down()
        assert project(full).versions == ("1.0",)  # the copy that is kept

    def test_an_unchanged_page(self, full: Proxied, upstream: GatedUpstream) -> None:
        full.clock.now += TTL + STALE
        assert project(full).versions == ("1.0",)
        assert not project(full).validity.stale
        assert upstream.count(PAGE) == 2

    def test_a_new_page(self, full: Proxied) -> None:
        assert full.proxy.project(BETA).versions == ("1.0",)
        assert full.proxy.knows(BETA)

    def test_a_page_that_is_gone(self, full: Proxied, upstream: GatedUpstream) -> None:
        del upstream.projects["alpha"]
        full.clock.now += TTL + STALE
        for _ in range(2):
            with pytest.raises(NotFound):
                project(full)

    def test_an_upstream_that_fails(self, full: Proxied, upstream: GatedUpstream) -> None:
        upstream.down()
        full.clock.now += TTL + STALE
        assert project(full).validity.stale


def full_disk(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on SQLite finds no space for a transaction."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(catalog.writer, "_transact", refuse)


def test_yanked_and_quarantined_after_the_ttl(proxied: Proxied, upstream: GatedUpstream) -> None:
    assert project(proxied).files[0].yanked is False
    upstream.projects["alpha"] = [(*WHEEL, Options(yanked="broken"))]
    proxied.clock.now += TTL + STALE
    assert project(proxied).files[0].yanked == "broken"
