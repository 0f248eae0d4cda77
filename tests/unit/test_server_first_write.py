"""How the head of an answer goes out."""

from __future__ import annotations

import asyncio
from typing import Any, cast

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
