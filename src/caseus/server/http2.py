"""HTTP/2, and HTTP/1.1 beside it, by granian: experimental.

granian opens its sockets itself, so ours only hold the ports for it. It has limits of its own in place of those of our
protocol class, tells errors without our reason phrases, and takes a new certificate at a restart only.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Callable, Sequence
from socket import socket
from typing import TYPE_CHECKING

import structlog
import uvloop

from caseus.errors import Unavailable
from caseus.server.engine import OVERTIME, end_after, most_connections
from caseus.server.sockets import BACKLOG
from caseus.server.swap import Swap
from caseus.server.turns import BRIEF

if TYPE_CHECKING:
    from granian.server.embed import Server

    from caseus.server.state import State

_MISSING = "http2 needs granian: install it by `pip install 'caseus[http2]'`, or leave --http2 out"
_PATIENCE = 30.0  # seconds that granian gets to listen
_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


def check() -> None:
    """Unavailable if granian is not there."""
    try:
        import granian.server.embed  # noqa: F401
    except ImportError:
        raise Unavailable(_MISSING, kind="local") from None


class Http2:
    """An `Engine`. Its certificate is read from the files, by granian."""

    def __init__(self, app: Swap, state: State) -> None:
        self._app, self._state = app, state
        self._certificate = state.certificate
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.stopping = False

    def run(self, sockets: Sequence[socket], on_ready: Callable[[], None]) -> None:
        sys.setswitchinterval(BRIEF)
        uvloop.run(self._serve(sockets, on_ready))

    def stop(self) -> None:
        self.stopping = True
        self.in_loop(lambda: self._stop.set() if self._stop is not None else None)

    def apply(self, state: State) -> None:
        if state.certificate != self._certificate:
            _log.warning("reload: with http2 a new certificate is taken at a restart only")
        self._state = state

    def in_loop(self, act: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(act)

    async def _serve(self, sockets: Sequence[socket], on_ready: Callable[[], None]) -> None:
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        addresses = [sock.getsockname()[:2] for sock in sockets]
        servers = [self._server(host, port) for host, port in addresses]
        running = [asyncio.create_task(server.serve()) for server in servers]
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.gather(*(_until_listening(host, port) for host, port in addresses))
        except TimeoutError:
            raise Unavailable("granian did not begin to listen: see the log", kind="local") from None
        gc.freeze()
        gc.enable()
        if not self.stopping:
            on_ready()
            await self._stop.wait()
        end_after(self._state.config.grace + OVERTIME)
        for server in servers:
            server.stop()  # type: ignore[no-untyped-call]
        await asyncio.gather(*running)
        await self._app.end()

    def _server(self, host: str, port: int) -> Server:
        from granian.constants import HTTPModes, Interfaces, SSLProtocols
        from granian.server.embed import Server

        config = self._state.config
        return Server(
            self._app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto,
            websockets=False,
            backlog=BACKLOG,
            backpressure=most_connections(config),
            log_enabled=False,
            ssl_cert=config.tls_cert,
            ssl_key=config.tls_key or config.tls_cert,
            ssl_protocol_min=SSLProtocols.tls12,
        )


async def _until_listening(host: str, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return
