from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable

from starlette.types import Message

from caseus.server.access_log import AccessLog, Shown
from caseus.server.logs import Lines
from caseus.web.forwarded import Origin
from caseus.web.metrics import Metrics
from caseus.web.request import Body, Request

PAGE = Shown("GET", "/simple/acme/")


def adder(log: AccessLog) -> Callable[[int], None]:
    loop = asyncio.get_running_loop()

    def add(count: int) -> None:
        for number in range(count):
            log.add(PAGE, 200, 5, f"{number:016x}", "127.0.0.1", "hit", None, loop)

    return add


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- nothing tells of it
        await asyncio.sleep(0)


def test_lines_of_a_busy_loop_do_not_pile_up() -> None:
    """All that wait are written in one go, and no request is answered meanwhile."""
    stream, metrics = io.StringIO(), Metrics()

    async def main() -> None:
        lines = Lines(stream)
        log = AccessLog(lines, metrics)
        add = adder(log)
        for most in (64, 128, 1000):
            add(most - len(stream.getvalue().splitlines()) - len(lines.waiting))
            assert len(lines.waiting) < 64
        await until(lambda: not lines.waiting)
        add(3)
        assert len(lines.waiting) == 3
        await until(lambda: not lines.waiting)

    asyncio.run(main())
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == [
        f"{n:016x}" for n in (*range(64), *range(64), *range(872), *range(3))
    ]
    assert b'caseus_requests_total{status="200"} 1003.0' in metrics.text()


def test_a_flush_counts_and_writes_at_once() -> None:
    stream, metrics = io.StringIO(), Metrics()

    async def main() -> None:
        log = AccessLog(Lines(stream), metrics)
        adder(log)(2)
        assert not stream.getvalue()
        log.flush()

    asyncio.run(main())
    assert len(stream.getvalue().splitlines()) == 2
    assert b'caseus_requests_total{status="200"} 2.0' in metrics.text()


def test_requests_that_end_in_one_turn_of_the_loop_are_written_together() -> None:
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    async def receive() -> Message:
        raise AssertionError

    async def main() -> None:
        log = AccessLog(Lines(Stream()), Metrics())
        for number in range(3):
            origin = Origin("http", "pkgs.example.com", "127.0.0.1", False)
            body = Body(receive, waits=False)
            log.say(Request("POST", b"/legacy/", b"", {}, origin, f"{number:016x}", body, None), 200, 9)
        assert not written
        await asyncio.sleep(0)
        assert [len(text.splitlines()) for text in written if text] == [3]

    asyncio.run(main())
