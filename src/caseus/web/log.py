"""One line of each request, when it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from starlette.types import Message, Send

from caseus.web.metrics import Metrics
from caseus.web.request import Request

CLIENT_LEFT = 499
"""What the log says of a request that nobody waited for: no answer began."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.web")


class Outgoing:
    """`send`, counted."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.bytes = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        else:
            self.bytes += len(message.get("body", b""))
        await self._send(message)


Say = Callable[[Request, int, int], None]
"""Logs and counts a request: status, and bytes of the body that were sent."""


class RequestLog:
    """Events of structlog, one for each request."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def say(self, request: Request, status: int, size: int) -> None:
        self._metrics.requested(status)
        failure = {} if request.failure is None else {"failure": request.failure}
        _log.info(
            "request",
            method=request.method,
            path=request.shown_path(),
            status=status,
            bytes=size,
            duration_ms=round((time.monotonic() - request.began) * 1000, 1),
            request_id=request.id,
            client=request.origin.client,
            cache=request.cache,
            user=request.user,
            **failure,
        )


@contextmanager
def log_request(request: Request, send: Send, say: Say) -> Iterator[Outgoing]:
    """Gives the `send` to answer with; logs and counts the request at the end, whatever the end was."""
    outgoing = Outgoing(send)
    try:
        yield outgoing
    finally:
        say(request, outgoing.status or CLIENT_LEFT, outgoing.bytes)
