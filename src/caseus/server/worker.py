"""What a worker does, from its fork to its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import socket
from types import FrameType

import structlog

from caseus import site
from caseus.server.channel import WorkerEnd
from caseus.server.handover import Role
from caseus.server.serving import Serving
from caseus.server.state import State
from caseus.web import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


NICE = 10
"""By how much the publisher steps back where readers want the same core (nice(2)): a tenth is left for it."""


def work(state: State, sockets: Sequence[socket], metrics: Metrics, channel: WorkerEnd, role: Role) -> None:
    """Serve until the supervisor says, or ends. CaseusError or OSError if it can't start."""
    metrics.begin()
    if role.takes is not None:
        os.nice(NICE)
    opened = site.build(state.config, listed=state.listed)
    serving = Serving(state, opened, metrics, role)
    # Not as of a lone process: whoever signals a whole group reaches the supervisor too, who then signals again.
    signal.signal(signal.SIGTERM, _handler(serving.engine.stop))
    try:
        serving.run(sockets, on_ready=lambda: _begin(channel, serving))
    finally:
        serving.close()


def forward_hangup() -> None:
    """From now on SIGHUP to this worker is one to its supervisor, who tells all."""
    parent = os.getppid()
    signal.signal(signal.SIGHUP, _handler(lambda: os.kill(parent, signal.SIGHUP) if os.getppid() == parent else None))


def _handler(act: Callable[[], object]) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        act()

    return handle


def _begin(channel: WorkerEnd, serving: Serving) -> None:
    threading.Thread(target=_follow, args=(channel, serving), name="caseus-follow", daemon=True).start()
    with suppress(OSError):  # the supervisor is gone: `_follow` sees that
        channel.say_ready()


def _follow(channel: WorkerEnd, serving: Serving) -> None:
    for state in channel.states():
        serving.apply(state)
    _log.error("the supervisor is gone: this worker ends", pid=os.getpid())
    serving.engine.stop()
