"""The HTTP/1.1 protocol of the server: uvicorn's, with limits, and with errors told as everywhere in caseus.

Requests that come one by one are shown to the fast lane first (`server/lane.py`).

A connection is in one of three places: between messages, in a head, or in a body. Its one timer looks at it now and
then: a head must be complete within seconds of its first byte, an idle connection is closed, and so is one whose client
takes nothing of its answer. What is wrong with a head is answered after what is being answered already, never into it.
"""

from __future__ import annotations

import math
import secrets
import socket
import struct
from asyncio import TimerHandle, Transport
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Self

import httptools
import msgspec
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from caseus.server.first_write import FirstWrite, with_phrase
from caseus.server.handover import READS, Handover
from caseus.server.heads import check_head, parser_refusal, too_large
from caseus.server.lane import Lane, Reply
from caseus.server.limits import Limits
from caseus.server.sending import PIECE, Sending
from caseus.web.answers import encode
from caseus.web.errors import Refusal, problem_answer, problem_of
from caseus.web.forwarded import peer_of

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

UNSENT = 4096
"""Bytes that the last words of a TLS handshake stay below."""
LONGEST = 1 << 20
"""Bytes of a page that are handed to the transport in one piece."""

_NEVER = math.inf
_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


class Place(Enum):
    """Where in the stream of messages a connection is."""

    BETWEEN = 0
    HEAD = 1
    BODY = 2


_BETWEEN = Place.BETWEEN


class Protocol(HttpToolsProtocol):
    """Given to uvicorn as `http=`."""

    limits: ClassVar[Limits] = Limits()
    lane: ClassVar[Lane | None] = None
    handover: ClassVar[Handover | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._place = Place.BETWEEN
        self._peer = ""
        self._longest = LONGEST
        self._alone: bytes | None = None  # bytes with which a message begins that is the only one
        self._answering: RequestResponseCycle | Sending | None = None
        self._first: FirstWrite | None = None
        self._messages = 0
        self._unanswered = 0
        self._due = _NEVER  # when the connection is closed, unless something moves this
        self._timer: TimerHandle | None = None
        self._silent = 0  # bytes since the parser last made something of them
        self._crowded = False  # one connection too many: it gets an answer, which is no
        self._refusal: Refusal | None = None  # the last answer of this connection
        self._deaf = False  # what comes in is no longer parsed
        self._ending = False
        self._dropped = 0
        self._unsent = (-1, 0.0)  # so many bytes since this time

    @classmethod
    def for_at_most(cls, connections: int, lane: Lane | None = None, handover: Handover | None = None) -> type[Self]:
        """The same with at most so many connections, with that lane, and who hands over there."""
        most = min(connections, cls.limits.connections)
        limits = msgspec.structs.replace(cls.limits, connections=most, spare=min(most, cls.limits.spare))
        return type(cls.__name__, (cls,), {"limits": limits, "lane": lane, "handover": handover})

    # The connection

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        limits, there = self.limits, len(self.connections)
        self._peer = peer_of(self.client, self.server)
        if self.scheme == "https":  # encrypted, each client's unsent bytes are its own
            self._longest = PIECE
        if there > limits.connections + limits.spare:
            transport.abort()
            return
        self._crowded = there > limits.connections
        self._due = self.loop.time() + limits.head_seconds
        self._timer = self.loop.call_at(self._due, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._answering is not None:  # uvicorn tells the last request only, also where it is not its turn yet
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._drop(data)
            return
        if self._place is _BETWEEN and not self._unanswered and not self._crowded:
            if self.lane is not None and self._take_lane(self.lane, data):
                return
            if self.handover is not None and not data.startswith(READS) and self._hand_over(self.handover, data):
                return
            self._alone = data
        self._silent += len(data)
        fresh = self._messages if self._place is Place.BETWEEN else None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # it is not taken up; what follows may be in the other protocol
            self._deaf = True
        except httptools.HttpParserError as error:
            alone = fresh is not None and self._messages <= fresh + 1
            self._refuse(self._refusal or _refusal_of(error, data if alone else b""))
        else:
            if self._silent > self.limits.head and self._place is not Place.BETWEEN:
                self._refuse(too_large(self.limits, self.url))
        self._alone = None

    # The fast lane

    def _take_lane(self, lane: Lane, data: bytes) -> bool:
        """Whether the lane has answered."""
        if self.transport.get_write_buffer_size() > UNSENT:
            return False  # the client is slow: its answers wait where they take no memory
        reply = lane.find(data, self._peer, self.server_state.default_headers)
        if reply is None:
            return False
        lane.answered += 1
        if reply.file is not None or len(reply.body) > self._longest:
            self._unanswered += 1
            self._due = _NEVER
            sending = self._answering = Sending(reply, self.transport, self.flow, lane)
            self.cycle = sending  # type: ignore[assignment]
            task = self.loop.create_task(self._send(lane, reply, sending))
            task.add_done_callback(self.tasks.discard)
            task.add_done_callback(sending.let_go)
            self.tasks.add(task)
            return True
        if reply.body:
            self.transport.writelines((reply.head, reply.body))  # not copied: what is unsent refers to the page
        else:
            self.transport.write(reply.head)
        self.server_state.total_requests += 1
        self._due = self.loop.time() + self.timeout_keep_alive
        lane.log.add(
            reply.shown, reply.status, reply.size, reply.request_id, reply.client, reply.cache, reply.user, self.loop
        )
        return True

    async def _send(self, lane: Lane, reply: Reply, sending: Sending) -> None:
        began = self.loop.time()
        try:
            await sending.run()
        finally:
            lane.log.add(
                reply.shown, reply.status, sending.sent, reply.request_id, reply.client, reply.cache, reply.user,
                self.loop, seconds=self.loop.time() - began, failure=sending.failure,
            )  # fmt: skip
            if not sending.response_complete or not sending.keep_alive:
                self.transport.close()
            if sending.response_complete:
                self.on_response_complete()

    def _hand_over(self, handover: Handover, data: bytes) -> bool:
        """Whether the connection is the publisher's now, with what was read of its next request."""
        if self.transport.get_write_buffer_size():
            return False
        self.transport.pause_reading()  # what comes in from now on is read there
        if not handover.give(self.transport.get_extra_info("socket").fileno(), data):
            self.transport.resume_reading()
            return False
        self._deaf = True
        self.transport.abort()  # lets go of a descriptor; the connection has another one
        return True

    # What the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._place = Place.HEAD
        self._messages += 1
        if not self._unanswered:
            self._due = self.loop.time() + self.limits.head_seconds

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._place is Place.HEAD:  # else a trailer, which must not become a header of the request
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._silent = 0
        method, version = self.parser.get_method().decode("ascii"), self.parser.get_http_version()
        try:
            self.url = check_head(method, version, self.url, self.headers, self.limits)
            self._check_room()
        except Refusal as refusal:
            self._refusal = refusal
            raise
        if version == "1.0":  # RFC 9110 section 10.1.1: it is ignored there
            self.expect_100_continue = False
        super().on_headers_complete()
        data, self._alone = self._alone, None
        # Two halves that were learnt apart must not make a head that is too large.
        if self.lane is not None and data is not None and version == "1.1" and len(data) <= self.limits.head // 2:
            self.lane.learn(data, method, self.url, self.headers, self._peer)
        if self._crowded or self.parser.should_upgrade():
            self.cycle.keep_alive = False
        self._place = Place.BODY
        self._unanswered += 1
        self._due = _NEVER

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._silent = 0
        self._place = Place.BETWEEN
        super().on_message_complete()
        if not self._unanswered:  # the body of a request that was answered before its end
            self._due = self.loop.time() + self.timeout_keep_alive

    def _check_room(self) -> None:
        if self._crowded and self.url != b"/livez":  # who is restarted for being busy is busier afterwards
            text = "too many connections at once: try again"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, text, ("Retry-After", "1"))
        if len(self.pipeline) >= self.limits.queued:
            text = f"more than {self.limits.queued} requests were sent ahead: wait for answers"
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, text, ("Retry-After", "1"))

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        self._first = FirstWrite(self.transport, cycle)
        cycle.transport = self._first  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._unanswered -= 1
        if self._first is not None:
            self._first.flush()  # of an answer without a body
            self._first = None
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self.flow.resume_reading()
        if self._refusal is not None:
            self._end(self._refusal)
        elif self._place is Place.BETWEEN:
            self._due = self.loop.time() + self.timeout_keep_alive
        else:  # a head that has begun, or a body that nobody reads
            self._due = self.loop.time() + self.limits.head_seconds

    def _refuse(self, refusal: Refusal) -> None:
        """Answer that, when what came before is answered, and nothing more."""
        self._deaf = True
        if self._place is Place.BODY and not self._take_back():
            return
        self._refusal = refusal
        if not self._unanswered:
            self._end(refusal)

    def _take_back(self) -> bool:
        """The body of the last request is malformed: whether there is no answer to it yet, so that it gets this one."""
        cycle = self.cycle
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
        elif cycle.response_complete:
            self.transport.close()
            return False
        elif cycle.response_started:
            cycle.keep_alive = False
            return False
        else:
            cycle.disconnected = True  # to the handler it is as if the client had left
            cycle.message_event.set()
        self._unanswered -= 1
        return True

    def _end(self, refusal: Refusal) -> None:
        """The last answer. A socket that is closed with unread bytes resets the connection, and the client may never
        see the answer; so it is closed for writing, and read for a moment more."""
        if self.transport.is_closing():
            return
        self._ending = True
        request_id = secrets.token_hex(8)
        answer = problem_answer(problem_of(refusal), request_id=request_id, private=False)
        client = self.client[0] if self.client else ""
        _log.info("refused", status=answer.status, failure=str(refusal), request_id=request_id, client=client)
        length = str(len(answer.body)).encode()
        own = [(b"x-request-id", request_id.encode()), (b"content-length", length), (b"connection", b"close")]
        lines = b"".join(
            b"%b: %b\r\n" % line for line in (*self.server_state.default_headers, *encode(answer.headers), *own)
        )
        self.transport.write(with_phrase(STATUS_LINE[answer.status] + lines + b"\r\n") + answer.body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._look_at(self.loop.time() + self.limits.linger_seconds)

    def _drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._ending and self._dropped > self.limits.linger:
            self.transport.abort()

    # Time

    def _look_at(self, when: float) -> None:
        self._due = when
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(when, self._look)

    def _look(self) -> None:
        """The timer: whatever moves the time that is due leaves it alone, so it costs nothing a request."""
        now = self.loop.time()
        if self.flow.write_paused and self._is_stuck(now):
            self._cut()
        elif now < self._due:
            self._timer = self.loop.call_at(min(self._due, now + self.limits.head_seconds), self._look)
        elif self._place is Place.HEAD and not self._ending:
            seconds = f"{self.limits.head_seconds:g}"
            self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, f"the request's head took more than {seconds} seconds"))
        elif self.transport.get_write_buffer_size():
            self._cut()  # closed, it would wait for the client to take the rest
        else:
            self.transport.close()

    def _cut(self) -> None:
        """By a reset: else the system would keep what is unsent for as long as the client takes none of it."""
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _is_stuck(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent[0]:
            self._unsent = (unsent, now)
        return now - self._unsent[1] >= self.limits.unread_seconds


def _refusal_of(error: httptools.HttpParserError, start: bytes) -> Refusal:
    inner = error.__context__
    if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(inner, httptools.HttpParserError):
        _log.error("a request could not be taken", exc_info=inner)
    return parser_refusal(error, start)
