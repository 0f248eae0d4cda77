"""Clients that take their time, or come in crowds: each is ended within its limit, and others don't notice.

The server is the real one with shorter limits.
"""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import impatient
from support.clients import upload
from support.packages import make_wheel
from support.raw import LIVE, Raw, connected, request
from support.server import CaseusServer

COMMAND = (sys.executable, "-P", str(impatient.__file__))
Start = Callable[..., CaseusServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server: `limits` of connections, `pace` of bodies."""
    with ExitStack() as stack:

        def started(limits: dict[str, float] | None = None, pace: dict[str, float] | None = None) -> CaseusServer:
            environ = {"TEST_LIMITS": json.dumps(limits or {}), "TEST_PACE": json.dumps(pace or {})}
            environ["PYTHONPATH"] = str(Path(impatient.__file__).parents[1])
            return stack.enter_context(CaseusServer(tmp_path / "data", command=COMMAND, environ=environ))

        yield started


def trickle(raw: Raw, data: bytes, pause: float = 0.02) -> None:
    """A byte now and then, for as long as the server says nothing."""
    for byte in data:
        if select.select([raw.socket], [], [], pause)[0]:
            return
        raw.send(bytes([byte]))
    select.select([raw.socket], [], [])


def test_a_head_that_trickles_in_is_given_up(start: Start) -> None:
    server = start({"head_seconds": 0.5})
    with connected(server.port) as raw:
        trickle(raw, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 1000)
        answer = raw.answer()
        assert answer is not None and answer.status == 408
        assert answer.reason == "the request's head took more than 0.5 seconds"
        assert raw.answer() is None


def test_a_connection_that_says_nothing_is_closed_without_a_word(start: Start) -> None:
    server = start({"head_seconds": 0.3})
    for silence in (b"", b"\r\n\r\n"):
        with connected(server.port) as raw:
            raw.send(silence)
            assert raw.answer() is None
    assert "refused" not in server.log


def test_empty_lines_do_not_keep_a_connection(start: Start) -> None:
    server = start({"head_seconds": 0.5})
    with connected(server.port) as raw:
        trickle(raw, b"\r\n" * 1000)
        assert raw.answer() is None


def test_the_second_head_has_its_time_too(start: Start) -> None:
    server = start({"head_seconds": 0.5})
    with connected(server.port) as raw:
        assert raw.is_open()
        trickle(raw, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 1000)
        answer = raw.answer()
        assert answer is not None and answer.status == 408


def test_a_body_that_nobody_reads_does_not_keep_a_connection(start: Start) -> None:
    server = start({"head_seconds": 0.5})
    with connected(server.port) as raw:
        raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        answer = raw.answer()
        assert answer is not None and answer.status == 200
        trickle(raw, b"x" * 1000)
        assert raw.answer() is None


def test_slow_heads_hold_up_nobody(start: Start) -> None:
    server = start({"head_seconds": 5})
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(server.port)) for _ in range(200)]
        for raw in slow:
            raw.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: ")
        with connected(server.port) as good:
            for _ in range(20):
                assert good.is_open()
        for raw in slow:
            answer = raw.answer()
            assert answer is not None and answer.status == 408
            assert raw.answer() is None
    with connected(server.port) as raw:
        assert raw.is_open()


def upload_head(server: CaseusServer) -> bytes:
    token = server.token("admin")
    headers = ("Content-Type: multipart/form-data; boundary=x", "Content-Length: 100000")
    return request("POST", "/legacy/", f"Authorization: Bearer {token}", *headers)


def test_a_body_that_stops_is_given_up(start: Start) -> None:
    server = start(pace={"idle": 0.5})
    with connected(server.port) as raw:
        raw.send(upload_head(server) + b"--x\r\n")
        answer = raw.answer()
        assert answer is not None and answer.status == 408
        assert answer.reason.startswith("the upload stopped coming in")
        assert raw.answer() is None
    assert not list((server.root / ".incoming").iterdir())


def test_a_body_that_trickles_in_is_given_up(start: Start) -> None:
    server = start(pace={"patience": 0.5, "rate": 10_000})
    with connected(server.port) as raw:
        raw.send(upload_head(server))
        trickle(raw, b"--x\r\n" + b"X" * 90_000)
        answer = raw.answer()
        assert answer is not None and answer.status == 408
        assert answer.reason.startswith("the upload comes in too slowly")
    assert not list((server.root / ".incoming").iterdir())


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(start: Start) -> None:
    server = start({"unread_seconds": 0.5, "head_seconds": 0.2})
    wheel, data = make_wheel("big", "1.0", content=b"#" * (8 << 20), compress=False)
    assert upload(server.url, wheel, data, login=server.admin).status == 200
    with connected(server.port) as raw:
        raw.send(request("GET", f"/simple/big/{wheel}") * 4)
        poll = select.poll()
        poll.register(raw.socket, 0)  # errors and the end of the connection are told all the same
        assert poll.poll(60_000)
    with connected(server.port) as raw:
        assert raw.is_open()


def test_a_client_that_reads_slowly_gets_all_of_it(start: Start) -> None:
    server = start({"head_seconds": 0.1})
    wheel, data = make_wheel("big", "1.0", content=b"#" * (8 << 20), compress=False)
    assert upload(server.url, wheel, data, login=server.admin).status == 200
    with connected(server.port) as raw:
        raw.send(request("GET", f"/simple/big/{wheel}") * 4)
        for _ in range(50):  # longer than a head may take
            select.select([], [], [], 0.01)
        for _ in range(4):
            answer = raw.answer()
            assert answer is not None and answer.body == data


def test_one_connection_too_many_is_told_so_and_one_of_many_too_many_is_closed(start: Start) -> None:
    server = start({"connections": 4, "spare": 2, "head_seconds": 30})
    with ExitStack() as stack:
        within = [stack.enter_context(connected(server.port)) for _ in range(4)]
        assert all(raw.is_open() for raw in within)
        crowded = [stack.enter_context(connected(server.port)) for _ in range(2)]
        beyond = stack.enter_context(connected(server.port))
        beyond.send(LIVE)
        assert beyond.answer() is None
        crowded[0].send(request("GET", "/simple/"))
        answer = crowded[0].answer()
        assert answer is not None and (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.reason == "too many connections at once: try again" and crowded[0].answer() is None
        crowded[1].send(LIVE)  # who is restarted for being busy is busier afterwards
        answer = crowded[1].answer()
        assert answer is not None and (answer.status, answer.headers["connection"]) == (200, "close")
        assert all(raw.is_open() for raw in within)
    for _ in range(1000):  # until the server has seen that they are gone
        with connected(server.port) as raw:
            raw.send(request("GET", "/simple/"))
            answer = raw.answer()
            if answer is not None and answer.status == 200:
                return
    raise AssertionError("the connections were not given back")


def test_few_open_files_are_few_connections_and_no_failure(tmp_path: Path) -> None:
    """What the system allows is less than what caseus would take."""
    command = ("/bin/sh", "-c", 'ulimit -n 100; exec "$@"', "sh", sys.executable, "-m", "caseus")
    with CaseusServer(tmp_path / "data", command=command) as server:
        with ExitStack() as stack:
            statuses = []
            for _ in range(120):
                raw = stack.enter_context(connected(server.port))
                raw.send(request("GET", "/simple/"))
                answer = raw.answer()
                statuses.append(answer.status if answer else None)
            assert statuses[:16] == [200] * 16 and set(statuses[16:]) <= {200, 503, None}
            assert 503 in statuses
        assert "Traceback" not in server.log and "Too many open files" not in server.log
