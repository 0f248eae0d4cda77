"""One process that serves: an engine, which speaks HTTP, over a site; a reload changes both."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING

import structlog

from caseus import site
from caseus.errors import CaseusError
from caseus.server.engine import Engine, end
from caseus.server.handover import EVERYTHING, Role
from caseus.server.http2 import Http2
from caseus.server.http11 import Http11
from caseus.server.swap import Swap
from caseus.web import App, Metrics, create_app

if TYPE_CHECKING:
    from caseus.server.state import State
    from caseus.site import Site

_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


class Serving:
    """Answers on listening sockets what a site has, until it is stopped. The site is its own: `close` closes it. What
    is done unasked is left to others where its role is to read."""

    def __init__(self, state: State, opened: Site, metrics: Metrics, role: Role = EVERYTHING) -> None:
        self._metrics, self._role = metrics, role
        self._swap = Swap(create_app(opened, metrics), opened)
        self.engine = _make_engine(self._swap, state, role)

    def run(self, sockets: Sequence[socket], on_ready: Callable[[], None]) -> None:
        """As `Engine.run`."""
        self._swap.site.catalog.watch_serial()
        with ExitStack() as stack:
            if not self._role.reads:
                self._swap.site.publish()
                stack.enter_context(self._swap.site.watching())
            self.engine.run(sockets, on_ready)

    def close(self) -> None:
        self._swap.close()

    def apply(self, state: State) -> None:
        """Answer new requests by another state; no connection notices. For any thread but the loop's.

        If it can't be, everything stays as it was, and log and metrics tell.
        """
        try:
            new = site.rebuild(self._swap.site, state.config, state.listed)
        except (CaseusError, OSError) as error:
            _log.error("reload failed: what was in force stays", reason=str(error), pid=os.getpid())
            self._metrics.reloaded(False)
            return
        app = create_app(new, self._metrics)
        self.engine.in_loop(lambda: self._take(state, app, new))

    def _take(self, state: State, app: App, new: Site) -> None:
        old = self._swap.site
        self._swap.replace(app, new)
        old.stop_publishing()  # not when its last request is done: that may be a long download
        if not self._role.reads:
            new.publish()
        self.engine.apply(state)
        self._metrics.reloaded(True)
        _log.info("reloaded", users=len(state.listed))

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        """A signal handler: the first signal stops it, a second one ends the process at once."""
        if self.engine.stopping:
            end(128 + number)
        self.engine.stop()


def _make_engine(swap: Swap, state: State, role: Role) -> Engine:
    return Http2(swap, state) if state.config.http2 else Http11(swap, state, role)
