"""Listening sockets, opened before the slow part of a start so that a taken port is told at once."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from caseus.errors import Unavailable

BACKLOG = 2048
_ATTEMPTS = 20


def listen(host: str, port: int) -> list[socket.socket]:
    """One socket for each address of the host, all on the same port (0: a free one). Unavailable with the reason."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Unavailable(f"can't listen on {host!r}: {error.strerror}: give another --host", kind="local") from None
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for attempt in range(_ATTEMPTS):
        try:
            return _listen_on_all(addresses, port)
        except OSError as error:
            # A port that is free at the first address may be taken at the second: draw another.
            if port == 0 and error.errno == errno.EADDRINUSE and attempt + 1 < _ATTEMPTS:
                continue
            raise Unavailable(_explain(error, host, port), kind="local") from None
    raise AssertionError("unreachable: the last attempt returns or raises")


def address_of(sockets: list[socket.socket], host: str) -> str:
    """`HOST:PORT` as URLs have it."""
    port = sockets[0].getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen_on_all(addresses: Sequence[tuple[int, tuple[object, ...]]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                sockets.append(_listen_on_one(family, (address[0], port, *address[2:]), alone=len(addresses) == 1))
            except OSError as error:
                # `localhost` names ::1 also where the machine has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error
                continue
            port = sockets[0].getsockname()[1]
        if not sockets:
            raise absent or OSError(errno.EADDRNOTAVAIL, "no address")
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _listen_on_one(family: int, address: tuple[object, ...], *, alone: bool) -> socket.socket:
    result = socket.socket(family, socket.SOCK_STREAM)
    try:
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not alone:
            result.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        result.bind(address)
        result.listen(BACKLOG)
        result.setblocking(False)
    except OSError:
        result.close()
        raise
    return result


def _explain(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is in use: stop what holds it, or give another --port (0 takes a free one)"
        case errno.EACCES:
            return f"not allowed to listen on port {port} of {host}: give a --port above 1023"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return f"{host} is no address of this machine: give another --host, such as 127.0.0.1 or 0.0.0.0"
    return f"can't listen on port {port} of {host}: {error.strerror}"
