"""The relay that breaks connections does break them: else the fault tests behind it would test nothing."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.certificates import Certificates
from support.tcp_proxy import TcpFault, TcpProxy
from support.upstream import FakeUpstream

BODY = b"0123456789" * 10_000
PATH = "/files/alpha/alpha-1.0.tar.gz"


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    upstream = FakeUpstream({"alpha": [("alpha-1.0.tar.gz", BODY)]})
    with upstream, TcpProxy(upstream.port) as proxy:
        yield proxy


def fetch(proxy: TcpProxy, timeout: float = 20) -> tuple[bytes, str]:
    """All bytes of an answer, and how the connection ended."""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout) as client:
            client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            while data := client.recv(65_536):
                got += data
    except TimeoutError:
        return got, "silence"
    except (ConnectionResetError, BrokenPipeError):
        return got, "reset"
    return got, "end"


def test_healthy(proxy: TcpProxy) -> None:
    got, how = fetch(proxy)
    assert (got.endswith(b"\r\n\r\n" + BODY), how) == (True, "end")


def test_cut_reset_and_half_close(proxy: TcpProxy) -> None:
    for fault, expected in ((TcpFault(cut=1000), "end"), (TcpFault(half_close=1000), "end")):
        proxy.fail(fault)
        got, how = fetch(proxy)
        assert (len(got), how) == (1000, expected)
    proxy.fail(TcpFault(reset=1000))
    got, how = fetch(proxy)
    assert len(got) <= 1000 and how == "reset"
    proxy.heal()
    assert fetch(proxy)[0].endswith(BODY)


def test_half_close_still_takes_requests(proxy: TcpProxy) -> None:
    proxy.fail(TcpFault(half_close=10))
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert len(client.recv(10, socket.MSG_WAITALL)) == 10
        assert client.recv(1) == b""
        for _ in range(10):
            client.sendall(b"x" * 1000)  # no RST comes back
        linger = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert linger == 0


def test_down_and_up(proxy: TcpProxy) -> None:
    proxy.down()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=20)
    proxy.up()
    assert fetch(proxy)[0].endswith(BODY)


def test_refuse_blackhole_and_garbage(proxy: TcpProxy) -> None:
    proxy.fail(TcpFault(refuse=True))
    assert fetch(proxy) == (b"", "reset")
    proxy.fail(TcpFault(blackhole=True))
    assert fetch(proxy, timeout=0.2) == (b"", "silence")
    proxy.fail(TcpFault(garbage=b"SSH-2.0-x\r\n"))
    assert fetch(proxy) == (b"SSH-2.0-x\r\n", "end")


def test_corrupt(proxy: TcpProxy) -> None:
    whole, _ = fetch(proxy)
    proxy.fail(TcpFault(corrupt=len(whole) - 1))
    got, _ = fetch(proxy)
    assert got[:-1] == whole[:-1] and got[-1] == whole[-1] ^ 0xFF


def test_rate_and_latency(proxy: TcpProxy) -> None:
    """Bytes come in drops, or not yet."""
    proxy.fail(TcpFault(rate=20_000))
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert 0 < len(client.recv(65_536)) <= 1000
    proxy.fail(TcpFault(latency=30))
    assert fetch(proxy, timeout=0.2) == (b"", "silence")


def test_a_new_fault_ends_open_connections(proxy: TcpProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(100, socket.MSG_WAITALL)
        proxy.fail(TcpFault(blackhole=True))
        while True:
            try:
                if not client.recv(65_536):
                    break
            except ConnectionResetError:
                break
    assert proxy.accepted == 1


def test_a_client_that_never_says_farewell_holds_nothing_up(tmp_path: Path) -> None:
    """TLS ends by words of both sides; one whose client has none to say is still open when the proxy ends."""
    certificates = Certificates(tmp_path, "upstream.test")
    context = ssl.create_default_context(cafile=certificates.ca)
    upstream = FakeUpstream({"alpha": [("alpha-1.0.tar.gz", BODY)]})
    with upstream, ExitStack() as clients, TcpProxy(upstream.port, tls=certificates.good()) as proxy:
        proxy.fail(TcpFault(cut=100))
        raw = clients.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=20))
        client = clients.enter_context(context.wrap_socket(raw, server_hostname="upstream.test"))
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert len(client.recv(100)) == 100
        assert client.recv(1) == b""  # its farewell, which is not returned
