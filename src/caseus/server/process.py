"""One serving process from start to end: data folder, site, sockets, signals, uvicorn."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING

import structlog
import uvicorn

from caseus import site
from caseus.config import Config, Loaded
from caseus.errors import Unavailable
from caseus.folder import make_root
from caseus.server import logs, sockets, welcome
from caseus.server.access_log import AccessLog
from caseus.server.admin import make_first_admin
from caseus.server.http import Protocol
from caseus.server.lane import Lane
from caseus.server.limits import connections_for, raise_open_files
from caseus.web import create_app

if TYPE_CHECKING:
    from starlette.types import ASGIApp

SIGNALS = (signal.SIGTERM, signal.SIGINT)
OVERTIME = 3.0
"""Seconds beyond the grace time after which a process that still holds on to something is ended."""


def run(config: Config, loaded: Loaded) -> int:
    """Serve until a signal; the exit code. CaseusError if it can't start."""
    logs.configure()
    listeners = sockets.listen(config.host, config.port)
    address = sockets.address_of(listeners, config.host)
    make_root(config.root)
    opened = site.build(config)
    try:
        admin = make_first_admin(opened.catalog, config.root, os.environ, opened.access.passwords.hash)
        text = welcome.compose(loaded, address, admin, secret=sys.stderr.isatty())
        welcome.show(text, sys.stderr)
        connections = connections_for(raise_open_files())
        app = create_app(opened)
        access_log = AccessLog(logs.plain_lines())
        protocol = Protocol.for_at_most(connections, Lane(app, access_log))
        server = Server(_uvicorn_config(app, config, protocol), on_ready=lambda: _say_ready(address))
        server.take_signals()
        try:
            server.run(listeners)
        except SystemExit:  # uvicorn's word for an application that failed to start; it has logged why
            raise Unavailable("the application failed to start: see the log", kind="local") from None
        access_log.flush()
        return 0
    finally:
        opened.close()


class Server(uvicorn.Server):
    """uvicorn's, with our signals: one ends in good order with exit code 0, a second at once."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    def take_signals(self) -> None:
        """Handle signals from now until the process ends, so that a second one ends a close that hangs, too."""
        for number in SIGNALS:
            signal.signal(number, self.handle_exit)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signals again at the end: that would be exit code -15.
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            _end(128 + sig)
        self.should_exit = True

    async def startup(self, sockets: list[socket] | None = None) -> None:
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
        backlog=sockets.BACKLOG,
        timeout_keep_alive=math.ceil(protocol.limits.idle_seconds),
        timeout_graceful_shutdown=math.ceil(config.grace),
    )


def _say_ready(address: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever started us may not listen
        print(f"caseus: ready on http://{address}/", flush=True)


def _end_overtime() -> None:
    structlog.get_logger().warning("ended what did not finish within the grace time")
    _end(0)


def _end(code: int) -> None:
    """Without waiting for threads: what is stored is whole at every moment, also under kill -9."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
