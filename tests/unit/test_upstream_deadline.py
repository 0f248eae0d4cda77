"""What no timeout of a socket bounds: a head that trickles in, and a resolver that hangs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from caseus.errors import Unavailable
from caseus.names import normalize
from caseus.upstream import Page, Timeouts, Upstream
from caseus.upstream.deadline import BoundedResolve, left, within
from support.packages import make_wheel
from support.tcp_proxy import TcpFault, TcpProxy
from support.upstream import FakeUpstream

ALPHA = normalize("alpha")
WHEEL = make_wheel("alpha", "1.0")


@pytest.fixture
def server() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": [WHEEL]}) as upstream:
        yield upstream


class TestTrickle:
    """A byte now and then keeps to every timeout; at this pace the head alone takes ten times the deadline."""

    @pytest.fixture
    def url(self, server: FakeUpstream) -> Iterator[str]:
        with TcpProxy(server.port) as wire:
            wire.fail(TcpFault(rate=20))
            yield f"http://127.0.0.1:{wire.port}"

    @pytest.mark.parametrize("what", ["page", "list", "file"])
    def test_the_head(self, url: str, what: str) -> None:
        client = Upstream(f"{url}/simple/", timeouts=Timeouts(connect=5, read=5, page=1), proxies={})
        asks: dict[str, Callable[[], object]] = {
            "page": partial(client.page, ALPHA),
            "list": client.projects,
            "file": partial(client.fetch, f"{url}/files/alpha/{WHEEL[0]}"),
        }
        with pytest.raises(Unavailable) as caught:
            asks[what]()
        assert caught.value.kind == "timeout"
        client.close()


class TestDeadline:
    def test_nothing_is_left_behind(self) -> None:
        assert left(None) is None
        with within(100), within(50), pytest.raises(TimeoutError), within(0):
            left(10)
        with within(50), within(100):
            bound = left(None)
            assert bound is not None and bound <= 50
            assert left(1) == 1
        assert left(7) == 7


class TestResolver:
    def test_a_hanging_one_is_not_waited_for(self, server: FakeUpstream) -> None:
        """Nor is it asked again by each who wants to know; when it answers, it is used again."""
        answer, asked = threading.Event(), []

        def resolve(host: str) -> Sequence[str]:
            asked.append(host)
            assert answer.wait(60)
            return ["127.0.0.1"]

        timeouts = Timeouts(connect=5, read=5, page=60, lookup=0.1)
        client = Upstream(f"http://upstream.test:{server.port}/simple/", timeouts=timeouts, resolve=resolve, proxies={})
        for _ in range(3):
            with pytest.raises(Unavailable, match="took too long") as caught:
                client.page(ALPHA)
            assert caught.value.kind == "timeout"
        assert asked == ["upstream.test"]
        answer.set()
        patient = Upstream(f"http://upstream.test:{server.port}/simple/", resolve=resolve, proxies={})
        assert isinstance(patient.page(ALPHA), Page)
        for each in (client, patient):
            each.close()

    def test_the_page_deadline_counts_too(self, server: FakeUpstream) -> None:
        end = threading.Event()

        def resolve(host: str) -> Sequence[str]:
            assert end.wait(60)
            return []

        client = Upstream(
            f"http://upstream.test:{server.port}/simple/",
            timeouts=Timeouts(page=0.1, lookup=60),
            resolve=resolve,
            proxies={},
        )
        with pytest.raises(Unavailable) as caught:
            client.page(ALPHA)
        assert caught.value.kind == "timeout"
        end.set()
        client.close()

    def test_one_look_up_for_all_who_ask_at_once(self) -> None:
        go, asked = threading.Event(), []

        def resolve(host: str) -> Sequence[str]:
            asked.append(host)
            assert go.wait(60)
            return ["192.0.2.1"]

        bounded = BoundedResolve(resolve, 60)
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(bounded, "a.test") for _ in range(8)]
            go.set()
            assert all(answer.result() == ["192.0.2.1"] for answer in answers)
        first = len(asked)
        assert first <= 8
        assert bounded("a.test") == ["192.0.2.1"]
        assert len(asked) == first + 1  # nothing is kept

    def test_its_errors_are_told(self) -> None:
        def resolve(host: str) -> Sequence[str]:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")

        bounded = BoundedResolve(resolve, 60)
        for _ in range(2):
            with pytest.raises(socket.gaierror):
                bounded("a.test")
