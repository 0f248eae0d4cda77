"""One moment by which a whole exchange must be over, however slowly the other side sends.

A timeout of a socket is for each wait: a byte every nine seconds keeps to it for hours. While a deadline is set for the
thread, sockets made here wait no longer than what is left of it.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

Resolve = Callable[[str], Sequence[str]]
"""Host to IP addresses in the order to try them; OSError (socket.gaierror) if there are none."""

_current = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[float]:
    """All that this thread does with sockets inside ends in so many seconds; gives the moment (monotonic)."""
    before: float | None = getattr(_current, "at", None)
    at = time.monotonic() + seconds
    _current.at = at if before is None else min(before, at)
    try:
        yield _current.at
    finally:
        _current.at = before


def left(timeout: float | None) -> float | None:
    """The timeout, or what is left until the thread's deadline if that is less. TimeoutError if nothing is."""
    at: float | None = getattr(_current, "at", None)
    if at is None:
        return timeout
    remaining = at - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("timed out")
    return remaining if timeout is None else min(timeout, remaining)


@contextmanager
def _bounded(sock: socket.socket) -> Iterator[None]:
    timeout = sock.gettimeout()
    bound = left(timeout)
    if bound == timeout:
        yield
        return
    sock.settimeout(bound)
    try:
        yield
    finally:
        sock.settimeout(timeout)


class TimedSocket(socket.socket):
    """Reads within the thread's deadline."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        with _bounded(self):
            return super().recv_into(*args, **kwargs)


class TimedTlsSocket(ssl.SSLSocket):
    """Reads and shakes hands within the thread's deadline."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        with _bounded(self):
            return super().recv_into(*args, **kwargs)

    def do_handshake(self, block: bool = False) -> None:
        with _bounded(self):
            super().do_handshake(block)


def connect(address: str, port: int, timeout: float | None) -> socket.socket:
    """A connected socket to an IP address that keeps to the thread's deadline. OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = TimedSocket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(left(timeout))
        sock.connect(socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4])
    except BaseException:
        sock.close()
        raise
    sock.settimeout(timeout)
    return sock


class BoundedResolve:
    """A resolver that answers in time: TimeoutError after `seconds`, or at the thread's deadline.

    getaddrinfo can't be told when to give up, so it runs in a thread that nobody waits for any longer. There is one
    look-up of a host at a time, which all who ask for the host share: a resolver that hangs costs a thread a host.
    """

    def __init__(self, resolve: Resolve, seconds: float) -> None:
        self._resolve, self._seconds = resolve, seconds
        self._running: dict[str, Future[Sequence[str]]] = {}
        self._guard = threading.Lock()

    def __call__(self, host: str) -> Sequence[str]:
        with self._guard:
            future = self._running.get(host)
            if future is None:
                future = self._running[host] = Future()
                threading.Thread(target=self._run, args=(host, future), name="resolve", daemon=True).start()
        return future.result(left(self._seconds))

    def _run(self, host: str, future: Future[Sequence[str]]) -> None:
        try:
            answer = self._resolve(host)
        except BaseException as error:
            outcome: BaseException | None = error
        else:
            outcome = None
        with self._guard:
            del self._running[host]
        if outcome is None:
            future.set_result(answer)
        else:
            future.set_exception(outcome)
