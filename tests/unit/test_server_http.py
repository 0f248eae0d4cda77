"""The reason phrase, on the wire."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from caseus.server.http import LONGEST_PHRASE, Protocol, with_phrase


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


async def converse(request: bytes) -> bytes:
    """All that the server says until it closes."""
    config = uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None, access_log=False, ws="none")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 20)
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
