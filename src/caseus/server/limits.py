"""What one connection may take of the server, and how many there may be."""

from __future__ import annotations

import resource

import msgspec

from caseus.web.ready_files import MOST_READY, files_for

MOST_CONNECTIONS = 10_000
_FEWEST_CONNECTIONS = 16
_OWN_FILES = 64
"""Descriptors for the catalog, logs, locks, listening sockets and the like."""


class Limits(msgspec.Struct, frozen=True):
    """Of a connection; sizes in bytes, times in seconds. Tests give a protocol class shorter ones."""

    connections: int = MOST_CONNECTIONS
    spare: int = 64
    """So many connections more get an answer, 503; what comes beyond them is closed at once."""
    head: int = 16 << 10
    """Of the request line and the headers together."""
    target: int = 8 << 10
    headers: int = 100
    queued: int = 100
    """Requests sent ahead on one connection."""
    head_seconds: float = 10.0
    """From the first byte of a head, or from the connection's begin, to its end."""
    idle_seconds: float = 75.0
    """Between an answer and the next request."""
    unread_seconds: float = 60.0
    """For which a client may take nothing of an answer."""
    linger_seconds: float = 2.0
    """For which a refused client is listened to, see `Protocol._end`."""
    linger: int = 1 << 20


def raise_open_files() -> int:
    """Lift the soft limit of open files to the hard one, as far as caseus has use for it; the limit that now holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_CONNECTIONS + _OWN_FILES + MOST_READY
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


def connections_for(open_files: int) -> int:
    """How many connections fit: each may need a second descriptor, for the file that it is answered with."""
    left = open_files - _OWN_FILES - files_for(open_files)
    return max(_FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, left // 2))
