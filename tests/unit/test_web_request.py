"""A request's body and what is logged of its head."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from caseus.web import create_app
from caseus.web.forwarded import TrustedProxies
from caseus.web.request import Body, Pace, Request
from support.served import captured_log, logged
from support.web import Doubles, make_config

Receive = Callable[[], Awaitable[Message]]


def receiving(*messages: Message) -> tuple[Receive, list[Message]]:
    """A client that sends these and then nothing; what it has left."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive, left


def piece(data: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def collect(body: Body) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


def test_a_body_is_read_to_its_end() -> None:
    receive, _ = receiving(piece(b"a"), piece(b""), piece(b"b", more=False))
    body = Body(receive, waits=False)
    assert asyncio.run(collect(body)) == b"ab"
    assert body.complete


def test_a_client_that_leaves_and_one_that_stalls() -> None:
    receive, _ = receiving(piece(b"a"), {"type": "http.disconnect"})
    with pytest.raises(ClientDisconnect):
        asyncio.run(collect(Body(receive, waits=False)))
    receive, _ = receiving(piece(b"a"))
    with pytest.raises(TimeoutError):
        asyncio.run(collect(Body(receive, waits=False, pace=Pace(idle=0.01))))


def test_what_is_left_is_dropped_up_to_the_limits() -> None:
    receive, left = receiving(*[piece(b"x" * 10)] * 9, piece(b"", more=False))
    body = Body(receive, waits=False)
    asyncio.run(body.drop(limit=50))
    assert (body.complete, len(left)) == (False, 4)
    asyncio.run(body.drop(limit=50))
    assert body.complete
    stalled = Body(receiving(piece(b"x"))[0], waits=False)
    asyncio.run(stalled.drop(seconds=0.01))
    assert not stalled.complete


def test_a_client_that_waits_to_be_told_is_not_told_to_send() -> None:
    receive, left = receiving(piece(b"x", more=False))
    body = Body(receive, waits=True)
    asyncio.run(body.drop())
    assert len(left) == 1
    assert asyncio.run(collect(body)) == b"x"


def read(
    path: bytes, query: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None, peer: str = "9.9.9.9"
) -> Any:
    scope = {
        "type": "http", "method": "GET", "path": path.decode("latin-1"), "raw_path": path, "query_string": query,
        "headers": headers or [], "client": (peer, 1), "server": ("::1", 80), "scheme": "http",
    }  # fmt: skip
    return Request.read(scope, receiving()[0], TrustedProxies(["10.0.0.1"]))


@pytest.mark.parametrize(
    ("path", "query", "shown"),
    [
        (b"/simple/", b"", "/simple/"),
        (b"/simple/", b"token=abc&format=text/html&x", "/simple/?***&format=text/html&***"),
        (b"/simple/", b"format=secret&:action=secret", "/simple/?***&***"),
        (b"/legacy/", b":action=file_upload", "/legacy/?:action=file_upload"),
        (b"/\xff\x1b[31m", b"", "/??[31m"),
        (b"/" + b"a" * 1000, b"", "/" + "a" * 499 + "…"),
    ],
)
def test_the_log_shows_no_secret_and_no_control_character(path: bytes, query: bytes, shown: str) -> None:
    assert read(path, query).shown_path() == shown


def test_request_ids_come_from_trusted_proxies_only() -> None:
    given = [(b"x-request-id", b"abc-1.2_3")]
    assert read(b"/", headers=given, peer="10.0.0.1").id == "abc-1.2_3"
    assert read(b"/", headers=given).id != "abc-1.2_3"
    assert read(b"/", headers=[(b"x-request-id", b"a b")], peer="10.0.0.1").id != "a b"
    assert read(b"/").id != read(b"/").id


def test_repeated_headers_are_joined_and_two_hosts_are_none() -> None:
    request = read(b"/", headers=[(b"host", b"a"), (b"host", b"b"), (b"accept", b"x"), (b"accept", b"y")])
    assert request.headers["accept"] == "x, y"
    assert request.base == "http://[::1]:80/"


def test_a_request_that_is_cut_by_the_end_of_the_server_is_told_so(tmp_path: Path) -> None:
    async def scenario() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        head = b'--x\r\nContent-Disposition: form-data; name="content"; filename="a-1.zip"\r\n\r\n'
        receive, left = receiving(piece(head + bytes(1 << 18)))
        scope = {
            "type": "http", "method": "POST", "path": "/legacy/", "raw_path": b"/legacy/", "query_string": b"",
            "headers": [(b"authorization", b"Basic bWlh"), (b"content-type", b"multipart/form-data; boundary=x")],
            "client": None, "server": None, "scheme": "http",
        }  # fmt: skip
        doubles = Doubles(make_config(tmp_path))
        running = asyncio.ensure_future(create_app(doubles.site)(scope, receive, send))
        while not doubles.publisher.staged:  # noqa: ASYNC110  (a thread makes it)
            await asyncio.sleep(0)
        running.cancel()
        left.append({"type": "http.disconnect"})
        await running
        assert doubles.publisher.staged[0].closed.is_set()
        return sent

    with captured_log() as log:
        sent = asyncio.run(scenario())
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"5") in sent[0]["headers"]
    assert logged(log)[0]["failure"] == "the server stopped"
