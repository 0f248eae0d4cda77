"""What speaks HTTP, and how a process that does ends."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from socket import socket
from typing import TYPE_CHECKING, NoReturn, Protocol

import structlog

from caseus.server.limits import connections_for, raise_open_files

if TYPE_CHECKING:
    from caseus.config import Config
    from caseus.server.state import State

OVERTIME = 3.0
"""Seconds beyond the grace time after which a process that still holds on to something is ended."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


class Engine(Protocol):
    """Speaks HTTP on sockets and asks an ASGI application."""

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""

    def run(self, sockets: Sequence[socket], on_ready: Callable[[], None]) -> None:
        """Until `stop`, and until what runs is finished. Unavailable if it can't start."""

    def stop(self) -> None:
        """From any thread, or a signal handler: take no new connections, and end when what runs is finished."""

    def apply(self, state: State) -> None:
        """Heed what concerns it of a new state. In the loop's thread, after the application was replaced."""

    def in_loop(self, act: Callable[[], None]) -> None:
        """Do it in the loop's thread; nothing if the loop is not there, or no longer."""


def most_connections(config: Config) -> int:
    """Of this process: its share of what the settings say, and no more than open files allow."""
    most = connections_for(raise_open_files())
    return most if config.max_clients is None else min(most, math.ceil(config.max_clients / config.workers))


def end_after(seconds: float) -> None:
    """End the process then, whatever it still does: a thread that waits for an upstream can't be cancelled, and the
    interpreter would wait for it."""
    overtime = threading.Timer(seconds, _end_overtime)
    overtime.daemon = True
    overtime.start()


def _end_overtime() -> None:
    _log.warning("ended what did not finish within the grace time")
    end(0)


def end(code: int) -> NoReturn:
    """Without waiting for threads: what is stored is whole at every moment, also under kill -9."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
