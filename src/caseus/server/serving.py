"""One process that serves: uvicorn with our protocol over a site, both of which a reload can change."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import sys
import threading
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable, Iterator, Sequence
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import structlog
import uvicorn

from caseus import site
from caseus.errors import CaseusError, Unavailable
from caseus.server.http import Protocol
from caseus.server.limits import connections_for, raise_open_files
from caseus.server.sockets import BACKLOG
from caseus.server.swap import Swap
from caseus.server.tls import Tls
from caseus.web import Metrics, create_app

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from caseus.config import Config
    from caseus.server.state import State
    from caseus.site import Site

OVERTIME = 3.0
"""Seconds beyond the grace time after which a process that still holds on to something is ended."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


class Serving:
    """Answers on listening sockets what a site has, until it is stopped. The site is its own: `close` closes it."""

    def __init__(self, state: State, opened: Site, metrics: Metrics, on_ready: Callable[[], None]) -> None:
        self._metrics = metrics
        self._swap = Swap(create_app(opened, metrics), opened)
        self._tls = Tls(state.certificate) if state.certificate is not None else None
        self._protocol = Protocol.for_at_most(_most_connections(state.config))
        self.server = Server(_uvicorn_config(self._swap, state.config, self._protocol), on_ready)
        if self._tls is not None:
            self.server.config.load()
            self.server.config.ssl = self._tls.context

    def run(self, sockets: Sequence[socket]) -> None:
        """Unavailable if the application did not start."""
        self._swap.site.catalog.watch_serial()
        try:
            self.server.run(list(sockets))
        except SystemExit:  # uvicorn's word for an application that failed to start; it has logged why
            raise Unavailable("the application failed to start: see the log", kind="local") from None

    def close(self) -> None:
        self._swap.close()

    def apply(self, state: State) -> None:
        """Answer new requests by another state; no connection notices. For any thread but the loop's.

        If it can't be, everything stays as it was, and log and metrics tell.
        """
        try:
            self._apply(state)
        except (CaseusError, OSError) as error:
            _log.error("reload failed: what was in force stays", reason=str(error), pid=os.getpid())
            self._metrics.reloaded(False)
        else:
            self._metrics.reloaded(True)

    def _apply(self, state: State) -> None:
        new = site.rebuild(self._swap.site, state.config, state.listed)
        app = create_app(new, self._metrics)
        if self._tls is not None and state.certificate is not None:
            self._tls.replace(state.certificate)
        self._protocol.limits = Protocol.for_at_most(_most_connections(state.config)).limits
        self.server.config.timeout_graceful_shutdown = math.ceil(state.config.grace)
        self.server.in_loop(lambda: self._swap.replace(app, new))
        _log.info("reloaded", users=len(state.listed))


class Server(uvicorn.Server):
    """uvicorn's, without its signals: `stop` ends it in good order."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._loop: AbstractEventLoop | None = None

    def stop(self) -> None:
        """From any thread, or a signal handler: take no new connections, and end when what runs is finished."""
        self.should_exit = True

    def in_loop(self, act: Callable[[], None]) -> None:
        """Do it in the loop's thread; nothing if the loop is not there, or no longer."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(act)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signals again at the end: that would be exit code -15.
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        self._loop = get_running_loop()
        await super().startup(sockets)
        gc.freeze()  # what a start has made stays: no collection need ever look at it
        gc.enable()
        if self.started and not self.should_exit:
            self._on_ready()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # A thread that waits for an upstream can't be cancelled, and the interpreter would wait for it.
        grace = self.config.timeout_graceful_shutdown or 0
        overtime = threading.Timer(grace + OVERTIME, _end_overtime)
        overtime.daemon = True
        overtime.start()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal handler: the first signal stops it, a second one ends the process at once."""
        if self.should_exit:
            end(128 + sig)
        self.stop()


def _uvicorn_config(app: ASGIApp, config: Config, protocol: type[Protocol]) -> uvicorn.Config:
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


def _most_connections(config: Config) -> int:
    """Of this process: its share of what the settings say, and no more than open files allow."""
    most = connections_for(raise_open_files())
    return most if config.max_clients is None else min(most, math.ceil(config.max_clients / config.workers))


def _end_overtime() -> None:
    structlog.get_logger().warning("ended what did not finish within the grace time")
    end(0)


def end(code: int) -> NoReturn:
    """Without waiting for threads: what is stored is whole at every moment, also under kill -9."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
