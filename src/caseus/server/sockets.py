"""Listening sockets, opened before the slow part of a start so that a taken port is told at once.

Of a port each worker has a socket of its own (SO_REUSEPORT), among which the system shares connections out; from one
socket, whoever wakes up first takes all that wait (measured: 64 of 64 that came at once). The supervisor keeps them all
open, so that what waits for a worker that died waits for the next. Unix sockets and inherited ones are shared.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from caseus.binds import Bind, InheritedBind, TcpBind, UnixBind
from caseus.errors import Unavailable
from caseus.server import unix

BACKLOG = 2048
_ATTEMPTS = 20
_FIRST_INHERITED = 3
"""The descriptor at which inherited sockets begin (sd_listen_fds(3))."""


class Listener(NamedTuple):
    """One address. `sockets`: one for each worker, or one that all share. `name`: the address as `bind` has it."""

    sockets: Sequence[socket.socket]
    name: str

    def socket_of(self, worker: int) -> socket.socket:
        return self.sockets[worker if len(self.sockets) > 1 else 0]


class _Share(NamedTuple):
    """Who has sockets of an address: so many workers, each its own. `hold`: they are bound, and don't listen."""

    workers: int
    hold: bool = False


class Listeners:
    """All sockets of a server. `close` takes away the paths of its unix sockets too."""

    def __init__(self, listeners: Sequence[Listener], paths: Sequence[unix.Path]) -> None:
        self._listeners = listeners
        self.names = list(dict.fromkeys(each.name for each in listeners))
        """As `bind` has them, but with the ports that were found."""
        self._paths = paths

    def of(self, worker: int) -> list[socket.socket]:
        return [each.socket_of(worker) for each in self._listeners]

    def keep(self, worker: int | None) -> list[socket.socket]:
        """In the worker's own process: its sockets, if it listens; others are closed, or they would outlive their
        worker."""
        kept = [] if worker is None else self.of(worker)
        for each in self._all():
            if each not in kept:
                each.close()
        return kept

    def _all(self) -> Iterator[socket.socket]:
        for each in self._listeners:
            yield from each.sockets

    def close(self) -> None:
        for each in self._all():
            each.close()
        for path in self._paths:
            path.remove()


def hold(binds: Iterable[TcpBind], *, workers: int) -> Listeners:
    """Hold the ports for an engine that listens on them by sockets of its own. Unavailable as `listen`."""
    listeners: list[Listener] = []
    try:
        for bind in binds:
            listeners += _listen_on_host(bind, _Share(workers, hold=True))
    except BaseException:
        Listeners(listeners, []).close()
        raise
    return Listeners(listeners, [])


def listen(binds: Iterable[Bind], *, workers: int, mode: int, environ: MutableMapping[str, str]) -> Listeners:
    """Listen on all of them, or on none: Unavailable with the reason. `mode`: of unix sockets."""
    listeners: list[Listener] = []
    paths: list[unix.Path] = []
    try:
        for bind in binds:
            match bind:
                case TcpBind():
                    listeners += _listen_on_host(bind, _Share(workers))
                case UnixBind():
                    sock, path = unix.listen(bind.path, mode, BACKLOG)
                    paths.append(path)
                    listeners.append(Listener([sock], str(bind)))
                case InheritedBind():
                    listeners += _inherit(environ)
    except BaseException:
        Listeners(listeners, paths).close()
        raise
    return Listeners(listeners, paths)


def _listen_on_host(bind: TcpBind, share: _Share) -> list[Listener]:
    """On each address of the host, all on the same port (0: a free one)."""
    host, port = bind.host, bind.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Unavailable(f"can't listen on {host!r}: {error.strerror}: give another --host", kind="local") from None
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for attempt in range(_ATTEMPTS):
        try:
            groups = _listen_on_all(addresses, port, share)
        except OSError as error:
            # A port that is free at the first address may be taken at the second: draw another.
            if port == 0 and error.errno == errno.EADDRINUSE and attempt + 1 < _ATTEMPTS:
                continue
            raise Unavailable(_explain(error, host, port), kind="local") from None
        name = str(TcpBind(host, groups[0][0].getsockname()[1]))
        return [Listener(group, name) for group in groups]
    raise AssertionError("unreachable: the last attempt returns or raises")


def _listen_on_all(
    addresses: Sequence[tuple[int, tuple[object, ...]]], port: int, share: _Share
) -> list[list[socket.socket]]:
    """For each address the sockets of the workers."""
    groups: list[list[socket.socket]] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            at = (address[0], port, *address[2:])
            try:
                groups.append(_listen_for_workers(family, at, share, alone=len(addresses) == 1))
            except OSError as error:
                # `localhost` names ::1 also where the machine has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error
                continue
            port = groups[0][0].getsockname()[1]
        if not groups:
            raise absent or OSError(errno.EADDRNOTAVAIL, "no address")
    except OSError:
        for each in (each for group in groups for each in group):
            each.close()
        raise
    return groups


def _listen_for_workers(family: int, address: tuple[object, ...], share: _Share, *, alone: bool) -> list[socket.socket]:
    first = _listen_on_one(family, address, alone=alone)
    if share.workers == 1 and not share.hold:
        return [first]
    address = (address[0], first.getsockname()[1], *address[2:])
    first.close()  # it has shown that nobody is there: sockets that share a port would bind beside another server's
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(_listen_on_one(family, address, alone=alone, share=share)) for _ in range(share.workers)
        ]
        stack.pop_all()
    return sockets


def _listen_on_one(
    family: int, address: tuple[object, ...], *, alone: bool, share: _Share | None = None
) -> socket.socket:
    result = socket.socket(family, socket.SOCK_STREAM)
    try:
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share is not None:
            result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and not alone:
            result.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        result.bind(address)
        if share is None or not share.hold:
            result.listen(BACKLOG)
        result.setblocking(False)
    except OSError:
        result.close()
        raise
    return result


def _inherit(environ: MutableMapping[str, str]) -> list[Listener]:
    """The sockets of sd_listen_fds(3); the variables are taken away, so that no child takes them for its own."""
    told = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    count = int(told["LISTEN_FDS"]) if told["LISTEN_FDS"].isdecimal() else 0
    if told["LISTEN_PID"] != str(os.getpid()) or not count:
        raise Unavailable(
            "no sockets were handed over: `systemd` as --bind is for a service that a .socket unit starts", kind="local"
        )
    return [_taken_over(descriptor) for descriptor in range(_FIRST_INHERITED, _FIRST_INHERITED + count)]


def _taken_over(descriptor: int) -> Listener:
    try:
        sock = socket.socket(fileno=descriptor)
        listens = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise Unavailable(
            f"descriptor {descriptor}, which was handed over, is no socket: {error}", kind="local"
        ) from None
    if not listens:
        sock.close()
        raise Unavailable(
            f"descriptor {descriptor}, which was handed over, does not listen: the .socket unit needs ListenStream= "
            "and Accept=no",
            kind="local",
        )
    sock.set_inheritable(False)
    sock.setblocking(False)
    address = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Listener([sock], f"unix:{address}")
    return Listener([sock], str(TcpBind(address[0], address[1])))


def _explain(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is in use: stop what holds it, or give another --port (0 takes a free one)"
        case errno.EACCES:
            return f"not allowed to listen on port {port} of {host}: give a --port above 1023"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return f"{host} is no address of this machine: give another --host, such as 127.0.0.1 or 0.0.0.0"
    return f"can't listen on port {port} of {host}: {error.strerror}"
