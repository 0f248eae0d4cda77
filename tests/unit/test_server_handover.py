from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from caseus.server.handover import Handover


@pytest.fixture
def handover() -> Iterator[Handover]:
    with closing(Handover()) as handover:
        yield handover


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_connection_outlives_who_gave_it(handover: Handover, pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    assert handover.take() is None
    assert handover.give(one.fileno(), b"POST /legacy/ ")
    one.close()
    taken = handover.take()
    assert taken is not None and taken[1] == b"POST /legacy/ "
    with taken[0] as connection:
        other.sendall(b"HTTP/1.1")
        assert connection.recv(100) == b"HTTP/1.1"
        assert not connection.get_inheritable() and not connection.getblocking()
    assert handover.take() is None


def test_as_much_as_a_loop_reads_at_once_fits(handover: Handover, pair: tuple[socket.socket, socket.socket]) -> None:
    """256,000 bytes (uvloop 0.23, UV_STREAM_RECV_BUF_SIZE)."""
    data = bytes(range(250)) * 1024
    assert handover.give(pair[0].fileno(), data)
    taken = handover.take()
    assert taken is not None and taken[1] == data
    taken[0].close()


def test_what_does_not_fit_is_kept(handover: Handover, pair: tuple[socket.socket, socket.socket]) -> None:
    assert not handover.give(pair[0].fileno(), bytes(1 << 20))
    given = 0
    while handover.give(pair[0].fileno(), bytes(1 << 16)):
        given += 1
    assert 1 < given < 20
    for _ in range(given):
        taken = handover.take()
        assert taken is not None
        taken[0].close()
    assert handover.take() is None


def test_a_connection_for_which_no_descriptor_is_left_is_dropped(
    handover: Handover, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    assert handover.give(one.fileno(), b"POST ")
    one.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert handover.take() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert other.recv(1) == b""  # it is closed, as a server does that has none left
