"""The line of each request that was answered well: as `caseus.web.log` writes it, for a fraction of the time."""

from __future__ import annotations

import json
import math
import time
from asyncio import AbstractEventLoop, get_running_loop
from collections import Counter
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import structlog

from caseus.server.logs import Lines, clean
from caseus.web.log import RequestLog
from caseus.web.metrics import Metrics
from caseus.web.request import CacheMark, Request

_PAUSE: Final = 0.02
"""Seconds that a line waits at most."""
_MOST: Final = 64
"""Lines that wait: all of a pause would be written in a millisecond or two, in which no request is answered."""
_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.web")


class Shown:
    """What a line tells of a request line; made once for each. `path`: without secrets."""

    __slots__ = ("begin", "method", "path")

    def __init__(self, method: str, path: str) -> None:
        self.method, self.path = method, path
        self.begin = json.dumps({"method": method, "path": path})[:-1]


class AccessLog:
    """Lines are put together by hand where they go to a file or pipe. The first is written at once; those that come
    soon after it wait for some others, as a write for each would be a tenth of what a request costs. `metrics` count
    at each pause.

    `lines`: None where structlog shall make of the events what it makes of others. `flush` at the end.
    """

    def __init__(self, lines: Lines | None, metrics: Metrics) -> None:
        self._lines = lines
        self._metrics = metrics
        self._counts: Counter[int] = Counter()
        self._awaited = False  # a flush is to come
        self._ends = False  # one at the end of this turn
        self._flushed = -math.inf
        self._second = -1
        self._stamp = ""
        self._events = RequestLog(metrics)

    def say(self, request: Request, status: int, size: int) -> None:
        """For what the fast lane did not answer: by the end of this turn of the loop, as uploads end several at once.

        What failed is told by structlog, at once, which cleans all of it.
        """
        if self._lines is None or status >= HTTPStatus.BAD_REQUEST or request.failure is not None:
            self._events.say(request, status, size)
            return
        shown = Shown(request.method, clean(request.shown_path()))
        seconds = time.monotonic() - request.began
        client, cache, user = request.origin.client, request.cache, request.user and clean(request.user)
        loop = get_running_loop()
        self.add(shown, status, size, request.id, client, cache, user, loop, seconds=seconds)
        if not self._ends:
            self._ends = True
            loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._ends = False
        self.flush()

    def add(
        self,
        shown: Shown,
        status: int,
        size: int,
        request_id: str,
        client: str,
        cache: CacheMark,
        user: str | None,
        loop: AbstractEventLoop,
        *,
        seconds: float = 0.0,
        failure: str | None = None,
    ) -> None:
        """`size`: of the body, as much of it as was sent."""
        if self._lines is None:
            more = {} if failure is None else {"failure": failure}
            _log.info(
                "request", method=shown.method, path=shown.path, status=status, bytes=size,
                duration_ms=round(seconds * 1000, 1), request_id=request_id, client=client, cache=cache, user=user,
                **more,
            )  # fmt: skip
            self._metrics.requested(status)
            return
        self._counts[status] += 1
        wall = time.time()
        second = int(wall)
        if second != self._second:
            self._second = second
            self._stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        told = "null" if user is None else json.dumps(user)
        failed = "" if failure is None else f'"failure": {json.dumps(failure)}, '
        fraction = str(1_000_000 + int((wall - second) * 1e6))[1:]  # half the time of a format
        duration = f"{seconds * 1000:.1f}" if seconds else "0.0"
        if not self._awaited:
            self._awaited = True
            if loop.time() - self._flushed >= _PAUSE:
                loop.call_soon(self._pause, loop)
            else:
                loop.call_later(_PAUSE, self._pause, loop)
        self._lines.add(
            f'{shown.begin}, "status": {status}, "bytes": {size}, "duration_ms": {duration}, '
            f'"request_id": "{request_id}", "client": "{client}", "cache": "{cache}", "user": {told}, {failed}'
            f'"event": "request", "level": "info", "timestamp": "{self._stamp}.{fraction}Z"}}\n'
        )
        if len(self._lines.waiting) >= _MOST:
            self._lines.flush()

    def _pause(self, loop: AbstractEventLoop) -> None:
        self._awaited = False
        self._flushed = loop.time()
        self.flush()

    def flush(self) -> None:
        """Write and count what waits."""
        counts, self._counts = self._counts, Counter()
        for status, count in counts.items():
            self._metrics.requested(status, count)
        if self._lines is not None and self._lines.waiting:
            self._lines.flush()
