"""Connections that are counted, and can be cut off: a time-out of each read alone would let a head drip for hours."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class Watcher:
    """Counts the connections that are opened, and ends those that are open."""

    def __init__(self) -> None:
        self.count = 0
        self._open: set[Watched] = set()

    def opened(self, connection: Watched) -> None:
        self.count += 1
        self._open.add(connection)

    def closed(self, connection: Watched) -> None:
        self._open.discard(connection)

    def cut_off(self) -> None:
        for connection in tuple(self._open):
            connection.cut_off()


class Watched:
    """A connection whose socket can be shut down from outside, though TLS has taken it over."""

    watcher: Watcher
    _line: socket.socket | None = None

    def watch(self, line: socket.socket) -> None:
        self._line = line.dup()
        self.watcher.opened(self)

    def unwatch(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        self.watcher.closed(self)

    def cut_off(self) -> None:
        line = self._line
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


def pool_classes(watcher: Watcher) -> dict[str, Any]:
    """urllib3's pools, with connections that are counted and can be cut off."""

    class Plain(Watched, HTTPConnection):
        def _new_conn(self) -> socket.socket:
            line = super()._new_conn()
            self.watch(line)
            return line

        def close(self) -> None:
            self.unwatch()
            super().close()

    class Secure(Watched, HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            line = super()._new_conn()
            self.watch(line)
            return line

        def close(self) -> None:
            self.unwatch()
            super().close()

    Plain.watcher = Secure.watcher = watcher

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
