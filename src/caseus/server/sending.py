"""An answer of the fast lane that is too long for one piece: it goes out as fast as its client takes it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from caseus.server.lane import Lane, Reply
from caseus.web.threads import in_thread

if TYPE_CHECKING:
    from asyncio import Transport

    from uvicorn.protocols.http.flow_control import FlowControl

PIECE: Final = 256 << 10


class Sending:
    """Stands where uvicorn has the cycle of a request, so that what comes meanwhile waits for its turn.

    Until `let_go` it holds the file and the application that it is of, even if another one takes that one's place.
    """

    def __init__(self, reply: Reply, transport: Transport, flow: FlowControl, lane: Lane) -> None:
        self._reply, self._transport, self._flow, self._threads = reply, transport, flow, lane.threads
        self._held = ExitStack()
        self._held.enter_context(lane.busy())
        if reply.file is not None:
            reply.file.hold()
            self._held.callback(reply.file.release)
        self.sent = 0
        self.failure: str | None = None
        # What uvicorn's protocol asks a cycle for.
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.message_event = asyncio.Event()

    async def run(self) -> None:
        """Send it all. Else `failure` says why not, and the connection must be closed: the client has only a part."""
        reply = self._reply
        # So that drain() waits for all of it: the last unsent bytes of a piece keep the whole of it in memory.
        # Not 0: over TLS, uvloop 0.23 then stops the writer where nothing is unsent, and never lets it go on.
        self._transport.set_write_buffer_limits(high=1)
        try:
            self._transport.write(reply.head)
            while self.sent < reply.size and self._is_there():
                data = await self._next()
                if data is None:
                    return
                self._transport.write(data)
                self.sent += len(data)
                await self._flow.drain()
            if self._is_there():
                self.response_complete = True
        except asyncio.CancelledError:
            self.failure = "the server stopped"
            raise
        finally:
            if not self._transport.is_closing():
                self._transport.set_write_buffer_limits()

    def let_go(self, task: asyncio.Task[None]) -> None:
        """When the task that sends has ended, or was cancelled before it began."""
        self._held.close()

    def _is_there(self) -> bool:
        if self.disconnected or self._transport.is_closing():
            self.failure = "the client left"
            return False
        return True

    async def _next(self) -> bytes | bytearray | memoryview | None:
        reply = self._reply
        count = min(PIECE, reply.size - self.sent)
        if reply.file is None:
            return memoryview(reply.body)[self.sent : self.sent + count]
        data = reply.file.read_at_once(self.sent, count)
        if data is not None:
            return data
        try:
            file, start = reply.file, self.sent
            read = await in_thread(self._threads, lambda: file.read(start, count))
        except OSError as error:
            self.failure = f"the store can't read a file: {error.strerror}"
            return None
        if not read:
            self.failure = "a file of the store is shorter than it was: run `caseus verify`"
        return read or None
