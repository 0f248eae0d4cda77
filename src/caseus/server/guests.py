"""Connections that the publisher took over from readers (`server/handover.py`)."""

from __future__ import annotations

from asyncio import Task, get_running_loop
from contextlib import suppress
from socket import socket
from typing import TYPE_CHECKING, Any

from caseus.server.handover import Handover
from caseus.server.http import Protocol

if TYPE_CHECKING:
    from asyncio import BaseTransport, Transport

    import uvicorn
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from caseus.server.lane import Lane


class Guest(Protocol):
    """`first`: what a reader read of it."""

    first = b""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        first, self.first = self.first, b""
        if not transport.is_closing():
            self.data_received(first)

    def _take_lane(self, lane: Lane, data: bytes) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.scope["method"] in ("GET", "HEAD"):  # the client is back at reading: its next connection is a reader's
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)


class Reception:
    """Takes connections for a server whose protocol is `Guest`, from `open` on to the loop's end."""

    def __init__(self, handover: Handover, server: uvicorn.Server) -> None:
        self._handover, self._server = handover, server
        self._tasks: set[Task[None]] = set()

    def open(self) -> None:
        """In the loop."""
        get_running_loop().add_reader(self._handover.fileno(), self._take)

    def _take(self) -> None:
        taken = self._handover.take()
        if taken is not None:
            task = get_running_loop().create_task(self._admit(*taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _admit(self, connection: socket, first: bytes) -> None:
        def make() -> Guest:
            server = self._server
            guest: Guest = server.config.http_protocol_class(  # type: ignore[call-arg, assignment]
                config=server.config, server_state=server.server_state, app_state=server.lifespan.state
            )
            guest.first = first
            return guest

        made: tuple[BaseTransport, Any]
        with suppress(OSError):  # the client has gone
            made = await get_running_loop().connect_accepted_socket(make, connection)
            if self._server.should_exit:
                made[1].shutdown()
