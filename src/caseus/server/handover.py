"""Of several workers one publishes: connections that want more than to read are handed to it.

While an upload and its checks have Python's lock, the pages of their process wait. So readers keep to pages and files.
A connection is handed over between two requests, as a descriptor, with the bytes that were read of the next request:
nothing of it is passed on afterwards, and to the client it is the same connection. One that goes back to reading is
closed with that answer, so that those that a proxy keeps come back to the readers.
"""

from __future__ import annotations

import socket
from typing import Final, NamedTuple

READS: Final = (b"GET ", b"HEAD ")
"""How requests begin that readers answer."""
_ROOM: Final = 1 << 19
"""Bytes that wait for the publisher at most, as far as the system allows it: more than a loop reads at once."""


class Handover:
    """Made before the workers are forked, and open in all of them: what a publisher leaves waits for the next one."""

    def __init__(self) -> None:
        self._given, self._taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._given.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        for end in (self._given, self._taken):
            end.setblocking(False)

    def give(self, connection: int, data: bytes) -> bool:
        """Whether the publisher gets it; else who asks keeps it. `data`: what was read of the next request."""
        try:
            socket.send_fds(self._given, [data], [connection])
        except OSError:  # too much waits there, or the data is too long for the system's limits
            return False
        return True

    def take(self) -> tuple[socket.socket, bytes] | None:
        """A connection and what was read of it; None if none waits, or no descriptor is left for it."""
        try:
            data, found, _, _ = socket.recv_fds(self._taken, _ROOM, 1)
        except BlockingIOError:
            return None
        if not found:
            return None
        connection = socket.socket(fileno=found[0])
        connection.setblocking(False)
        connection.set_inheritable(False)
        return connection, data

    def fileno(self) -> int:
        """Of the end at which there is something to take."""
        return self._taken.fileno()

    def close(self) -> None:
        self._given.close()
        self._taken.close()


class Role(NamedTuple):
    """What a process does of a server's work. `gives`: it is a reader, which hands over there; `takes`: it is the
    publisher."""

    gives: Handover | None = None
    takes: Handover | None = None

    @property
    def reads(self) -> bool:
        """And nothing else."""
        return self.gives is not None


EVERYTHING: Final = Role()
