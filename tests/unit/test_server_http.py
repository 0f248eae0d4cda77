"""The reason phrase, on the wire."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from caseus.server.first_write import LONGEST_PHRASE, with_phrase
from caseus.server.http import Protocol
from caseus.server.limits import MOST_CONNECTIONS, connections_for


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers by what the path asks: STATUS/MESSAGE; the body is what was sent."""
    _, status, message = scope["path"].split("/", 2)
    body = b""
    while True:
        event = await receive()
        body += event["body"]
        if not event["more_body"]:
            break
    headers = [(b"content-length", str(len(body)).encode())]
    if message:
        headers.append((b"X-Error-Message", message.encode("latin-1")))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body[:3], "more_body": True})
    await send({"type": "http.response.body", "body": body[3:]})


async def converse(request: bytes, app: ASGIApp = app, later: bytes = b"") -> bytes:
    """All that the server says until it closes; `later` is sent when it has said something."""
    config = uvicorn.Config(cast(Any, app), http=Protocol, lifespan="off", log_config=None, access_log=False, ws="none")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(request)
        first = await asyncio.wait_for(reader.read(1), 20) if later else b""
        writer.write(later)
        answer = first + await asyncio.wait_for(reader.read(), 20)
        writer.close()
        await writer.wait_closed()
    return answer


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def test_the_phrase_is_the_message_and_the_header_stays() -> None:
    answer = asyncio.run(converse(get("/409/File%20already%20exists", "Connection: close")))
    assert answer.startswith(b"HTTP/1.1 409 File already exists\r\n")
    assert b"\r\nx-error-message: File already exists\r\n" in answer


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/404/", b"HTTP/1.1 404 Not Found"),
        ("/200/Fine", b"HTTP/1.1 200 OK"),
        ("/308/Elsewhere", b"HTTP/1.1 308 Permanent Redirect"),
        ("/507/No%20space", b"HTTP/1.1 507 No space"),
        ("/599/Odd", b"HTTP/1.1 599 Odd"),
    ],
)
def test_only_errors_with_a_message(path: str, line: bytes) -> None:
    answer = asyncio.run(converse(get(path, "Connection: close")))
    assert answer.partition(b"\r\n")[0] == line


def test_pipelined_requests_get_each_their_own() -> None:
    requests = get("/404/First") + get("/200/") + get("/404/") + get("/403/Last", "Connection: close")
    answer = asyncio.run(converse(requests))
    lines = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert [line.removeprefix(b"HTTP/1.1 ") for line in lines] == [
        b"404 First",
        b"200 OK",
        b"404 Not Found",
        b"403 Last",
    ]


def test_after_100_continue() -> None:
    head = (
        b"POST /422/Wrong HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    )
    answer = asyncio.run(converse(head + b"12345"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 422 Wrong\r\n")
    assert answer.endswith(b"\r\n\r\n12345")


def test_the_phrase_is_printable_and_short() -> None:
    head = b"HTTP/1.1 400 Bad Request\r\nx-error-message: " + b"tab\there\xff\x01" + b"y" * 300 + b"\r\n\r\n"
    line = with_phrase(head).partition(b"\r\n")[0]
    assert line.startswith(b"HTTP/1.1 400 tab?here??yyy")
    assert len(line) == len(b"HTTP/1.1 400 ") + LONGEST_PHRASE


def test_backslashes_are_plain_text() -> None:
    head = rb"HTTP/1.1 400 Bad" + b"\r\nx-error-message: " + rb"\1 \g<0> \n" + b"\r\n\r\n"
    assert with_phrase(head).startswith(rb"HTTP/1.1 400 \1 \g<0> \n" + b"\r\n")


def test_trailers_never_become_headers() -> None:
    """They come after what a proxy in front has checked, and would be read as what it has written."""
    seen: list[tuple[bytes, bytes]] = []

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        seen.extend(scope["headers"])

    head = get("/200/", "Transfer-Encoding: chunked", "Connection: close")
    body = b"1\r\na\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\nAuthorization: Basic eDp5\r\n\r\n"
    assert asyncio.run(converse(head + body, keep)).endswith(b"\r\n\r\na")
    assert [name for name, _ in seen] == [b"host", b"transfer-encoding", b"connection"]


def test_what_is_refused_waits_for_the_answers_before_it() -> None:
    """Written at once, it would land in the middle of another answer."""
    go: list[asyncio.Event] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        go.append(asyncio.Event())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        for _ in range(20):
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"cd"})

    answer = asyncio.run(converse(get("/") + get("/") + b"garbage\r\n\r\n", slow))
    first, second, third = answer.split(b"HTTP/1.1 ")[1:]
    assert first.endswith(b"\r\n\r\nabcd") and second.endswith(b"\r\n\r\nabcd")
    assert third.startswith(b"400 malformed request: ") and b"\r\nconnection: close\r\n" in third
    assert len(go) == 2


def test_a_body_that_turns_bad_while_its_answer_goes_out_gets_no_second_answer() -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await receive()
        await send({"type": "http.response.body", "body": b"cd"})

    async def scenario() -> bytes:
        return await converse(get("/", "Transfer-Encoding: chunked") + b"1\r\na\r\n", early, b"zz\r\n")

    answer = asyncio.run(scenario())
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.endswith(b"abcd")


def test_limits_may_only_shrink() -> None:
    few = Protocol.for_at_most(20).limits
    assert (few.connections, few.spare) == (20, 20)
    assert Protocol.for_at_most(10**9).limits == Protocol.limits
    assert connections_for(64) == 16 and connections_for(1064) == 467 and connections_for(10**9) == MOST_CONNECTIONS
