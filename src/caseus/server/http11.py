"""The engine that everybody gets: HTTP/1.1 by uvicorn with our protocol class."""

from __future__ import annotations

import contextlib
import gc
import math
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from socket import socket
from typing import TYPE_CHECKING

import uvicorn

from caseus.errors import Unavailable
from caseus.server import logs
from caseus.server.access_log import AccessLog
from caseus.server.engine import OVERTIME, end_after, most_connections
from caseus.server.guests import Guest, Reception
from caseus.server.handover import Role
from caseus.server.http import Protocol
from caseus.server.lane import Lane
from caseus.server.sockets import BACKLOG
from caseus.server.tls import Tls
from caseus.server.turns import Turns

if TYPE_CHECKING:
    from caseus.config import Config
    from caseus.server.state import State
    from caseus.server.swap import Swap


class Http11:
    """An `Engine`, with a fast lane for each application."""

    def __init__(self, swap: Swap, state: State, role: Role) -> None:
        self._swap = swap
        self._log = AccessLog(logs.plain_lines(), swap.app.metrics)
        self._tls = Tls(state.certificate) if state.certificate is not None else None
        kind = Protocol if role.takes is None else Guest
        self._protocol = kind.for_at_most(most_connections(state.config), self._lane(), role.gives)
        self._server = _Server(_uvicorn_config(swap, state.config, self._protocol))
        if role.takes is None:  # who only publishes holds up no pages
            self._server.on_look = partial(self._look, Turns())
        self._reception = None if role.takes is None else Reception(role.takes, self._server)
        if self._tls is not None:
            self._server.config.load()
            self._server.config.ssl = self._tls.context

    @property
    def stopping(self) -> bool:
        return self._server.should_exit

    def run(self, sockets: Sequence[socket], on_ready: Callable[[], None]) -> None:
        def ready() -> None:
            if self._reception is not None:
                self._reception.open()
            on_ready()

        self._server.on_ready = ready
        try:
            self._server.run(list(sockets))
        except SystemExit:  # uvicorn's word for an application that failed to start; it has logged why
            raise Unavailable("the application failed to start: see the log", kind="local") from None
        finally:
            self._log.flush()

    def stop(self) -> None:
        self._server.should_exit = True

    def apply(self, state: State) -> None:
        if self._tls is not None and state.certificate is not None:
            self._tls.replace(state.certificate)
        self._protocol.lane = self._lane()
        self._protocol.limits = Protocol.for_at_most(most_connections(state.config)).limits
        self._server.config.timeout_graceful_shutdown = math.ceil(state.config.grace)

    def _look(self, turns: Turns) -> None:
        if self._protocol.lane is not None:
            turns.look(self._protocol.lane.answered)

    def _lane(self) -> Lane:
        app = self._swap.app
        app.say = self._log.say
        return Lane(app, self._log)

    def in_loop(self, act: Callable[[], None]) -> None:
        if self._server.loop is not None:
            with contextlib.suppress(RuntimeError):  # closed
                self._server.loop.call_soon_threadsafe(act)


class _Server(uvicorn.Server):
    """uvicorn's, without its signals. `on_look` is called ten times a second."""

    on_ready: Callable[[], None]
    on_look: Callable[[], None] | None = None

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.loop: AbstractEventLoop | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signals again at the end: that would be exit code -15.
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        self.loop = get_running_loop()
        await super().startup(sockets)
        gc.freeze()  # what a start has made stays: no collection need ever look at it
        gc.enable()
        if self.started and not self.should_exit:
            self.on_ready()

    async def on_tick(self, counter: int) -> bool:
        if self.on_look is not None:
            self.on_look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        end_after((self.config.timeout_graceful_shutdown or 0) + OVERTIME)
        await super().shutdown(sockets)


def _uvicorn_config(app: Swap, config: Config, protocol: type[Protocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=math.ceil(protocol.limits.idle_seconds),
        timeout_graceful_shutdown=math.ceil(config.grace),
    )
