"""A file that nobody has yet, and everybody wants."""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from support.clients import ask
from support.packages import make_wheel, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream, Fault, Options

MIB = 1 << 20
HELD_BACK = 64 << 10  # what no client gets before the digest is known to be right


@dataclass
class Crowd:
    """Clients that download one file at once and compare each byte with what it must be."""

    url: str
    expected: bytes
    all_wait: threading.Event = field(default_factory=threading.Event)
    waiting: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def download(self, early: int, clients: int) -> str:
        """The outcome for one client; after `early` bytes it says that it waits for the rest."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        expected, buffer, at, told = memoryview(self.expected), memoryview(bytearray(1 << 18)), 0, False
        try:
            connection.request("GET", parts.path)
            response = connection.getresponse()
            if response.status != 200:
                return f"status {response.status}"
            while n := response.readinto(buffer[: early - at] if at < early else buffer):
                if buffer[:n] != expected[at : at + n]:
                    return "wrong bytes"
                at += n
                if at >= early and not told:
                    told = True
                    self._wait(clients)
            return "right" if at == len(expected) else "cut"
        finally:
            connection.close()

    def _wait(self, clients: int) -> None:
        with self.lock:
            self.waiting["early"] += 1
            if self.waiting["early"] == clients:
                self.all_wait.set()


@pytest.mark.parametrize(
    ("clients", "size", "length"), [(200, 50 * MIB, True), (40, 2 * MIB, False)], ids=["200x50MiB", "40x2MiB-chunked"]
)
def test_one_fetch_for_all(start_caseus: Callable[..., CaseusServer], clients: int, size: int, length: bool) -> None:
    """All of them are given what is there while the rest is still on its way: one request went upstream."""
    filename, small = make_wheel("big", "1.0")
    data = small + random.Random(1).randbytes(size - len(small))  # never opened: nobody asks for its METADATA
    gate = threading.Event()
    with FakeUpstream({"big": [(filename, data, Options(length=length, size=length))]}) as upstream:
        path = upstream.file_path("big", filename)
        upstream.fail(Fault("slow", after=size // 4, gate=gate), path)
        server = start_caseus(upstream=upstream.url)
        assert ask(f"{server.url}simple/big/").status == 200
        crowd = Crowd(f"{server.url}simple/big/{filename}", data)
        early = size // 4 - 2 * HELD_BACK if length else 0
        with ThreadPoolExecutor(clients) as pool:
            futures = [pool.submit(crowd.download, early, clients) for _ in range(clients)]
            if early:
                assert crowd.all_wait.wait(120), f"only {crowd.waiting['early']} clients got their first bytes"
            else:
                upstream.wait_for(path)
            gate.set()
            outcomes = Counter(future.result() for future in futures)
        assert outcomes == {"right": clients}
        assert upstream.count(path) == 1
        (stored,) = server.root.glob(f"fetched/*/big/{filename}")
        assert sha256(stored.read_bytes()) == sha256(data)
