"""How the head of an answer goes out."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import uvloop

from caseus.server.first_write import FirstWrite

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Transport:
    """Keeps what is written, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.transport: Any = None  # as uvicorn's cycle has one

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def writelines(self, data: tuple[bytes, ...]) -> None:
        self.pieces.append(b"".join(data))

    def is_closing(self) -> bool:
        return b"closed" in self.pieces

    def close(self) -> None:
        self.pieces.append(b"closed")


def written(*acts: str) -> list[bytes]:
    """What goes out: "head", "100", a body, "later" for a turn of the loop, "flush" or "close"."""

    async def run() -> list[bytes]:
        real = Transport()
        first = FirstWrite(cast(Any, real), cast(Any, real))
        real.transport = first
        for act in acts:
            if act == "later":
                await asyncio.sleep(0)
            elif act in ("flush", "close"):
                getattr(first, act)()
            else:
                real.transport.write({"head": HEAD, "100": b"HTTP/1.1 100 Continue\r\n\r\n"}.get(act, act.encode()))
        await asyncio.sleep(0)
        return real.pieces

    return asyncio.run(run())


def test_head_and_body_go_out_in_one_piece() -> None:
    assert written("head", "body") == [HEAD + b"body"]
    assert written("head", "bo", "dy") == [HEAD + b"bo", b"dy"]


def test_a_head_waits_for_no_body_that_comes_later() -> None:
    assert written("head", "later", "body") == [HEAD, b"body"]
    assert written("head", "") == [HEAD]
    assert written("head", "flush", "flush") == [HEAD]


def test_a_head_goes_out_before_the_end() -> None:
    assert written("head", "close") == [HEAD, b"closed"]


def test_the_head_comes_after_100_continue() -> None:
    assert written("100", "head", "body") == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"body"]


def test_a_client_that_left_before_the_head_goes_out() -> None:
    told: list[dict[str, Any]] = []

    async def run() -> None:
        loop, accepted = asyncio.get_running_loop(), asyncio.Queue[asyncio.Transport]()
        loop.set_exception_handler(lambda _, context: told.append(context))

        class Accepting(asyncio.Protocol):
            lost = asyncio.Event()

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.put_nowait(cast(asyncio.Transport, transport))

            def connection_lost(self, exc: Exception | None) -> None:
                self.lost.set()

        async with await loop.create_server(Accepting, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            transport = await accepted.get()
            writer.transport.abort()
            await Accepting.lost.wait()
            for _ in range(3):  # until the handle is closed as well
                await asyncio.sleep(0)
            FirstWrite(transport, cast(Any, SimpleNamespace())).write(HEAD)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    uvloop.run(run())
    assert told == []
