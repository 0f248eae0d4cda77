"""Uploads of small wheels, durable here, beside pypiserver, which does not fsync.

In turns, each round on a folder of its own with nothing in it: pypiserver looks through its folder at each upload. A
client sends the next file when the last was answered; both servers get the same bytes from the same client. What a
round leaves stays until all have ended: without a journal ext4 passes one by one over what was deleted in the last
minutes, at each new file.
"""

from __future__ import annotations

import base64
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import peers
from bench.peers import Peer, PeerError
from bench.results import Part, Row, Run, at_least, cuts
from caseus import durability
from support.clients import Login, upload_form
from support.packages import make_wheel

CLIENTS = (1, 8)
Form = tuple[bytes, str]
"""Body and its content type."""
_LOGGED = 40_000  # bytes that the catalog's log takes for an upload
PROJECTS = 50
"""Over which the files of a round are spread."""


class Server(NamedTuple):
    """Where uploads go."""

    peer: Peer
    path: str
    login: Login | None


class Way(NamedTuple):
    """`uploads`: of each round; `workers`: of caseus; `stock`: files that were uploaded before."""

    name: str = ""
    rounds: int = 4
    uploads: int = 800
    workers: int = 1
    stock: int = 0


QUICK = Way(rounds=2, uploads=200)
WAYS = (
    Way(),
    Way("; caseus has two workers, of which one publishes", rounds=2, workers=2),
    Way("; 1,000 files are there before", rounds=2, uploads=400, stock=1000),
)

Start = Callable[[Path], AbstractContextManager[Server]]


class Round(NamedTuple):
    """`latencies` in seconds, sorted; `ends`: when each was answered, seconds from the first request, in their order;
    `cpu`: of the server, seconds."""

    seconds: float
    latencies: list[float]
    ends: list[float]
    cpu: float

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def quarters(self) -> tuple[float, float]:
        """Uploads a second in the first quarter of the files, and in the last."""
        size = len(self.ends) // 4
        return size / self.ends[size - 1], size / (self.ends[-1] - self.ends[-1 - size])


def rows(run: Run) -> Iterator[Row]:
    waits: list[float] = []
    for place, way in enumerate((QUICK,) if run.quick else WAYS):
        servers: dict[str, Start] = {"caseus": partial(caseus, way.workers), "pypiserver": pypiserver}
        found: dict[tuple[str, int], list[Round]] = {}
        for number in range(way.rounds):
            waits.append(wait_time(run.folder))
            for clients in CLIENTS:
                run.tell(f"{clients} clients{way.name}, round {number + 1} of {way.rounds}")
                asked = [forms(f"r{number}", way.uploads // clients, client) for client in range(1, clients + 1)]
                before = forms(f"s{number}", way.stock, 0)
                for name, start in servers.items():
                    result = measure(start, run.folder / f"{name}-{place}-{number}-{clients}", before, asked)
                    found.setdefault((name, clients), []).append(result)
        yield from _told(way, found)
    wait = 1000 * statistics.median(waits)
    told = f"{wait:.2f} ms, {1000 / wait:.0f} a second"
    yield Row("what the disk alone takes for an upload: bytes, then fact", {"caseus": told})


def _told(way: Way, found: dict[tuple[str, int], list[Round]]) -> Iterator[Row]:
    for clients, least in zip(CLIENTS, (1.0, 4.0), strict=True):
        figures = {name: _shown(rounds) for (name, number), rounds in found.items() if number == clients}
        pairs = zip(found["caseus", clients], found["pypiserver", clients], strict=True)
        ratios = sorted(ours.rate / theirs.rate for ours, theirs in pairs)
        figures["ratio of each round"] = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        goal = at_least(least, statistics.median(ratios), "pypiserver's uploads/s")
        yield Row(f"uploads by {clients}{way.name}", figures, (goal,) if way.workers == 1 else ())


def _shown(rounds: list[Round]) -> str:
    p50, p99 = cuts([latency for each in rounds for latency in each.latencies])
    rate = statistics.median(each.rate for each in rounds)
    cpu = statistics.median(1000 * each.cpu / len(each.latencies) for each in rounds)
    first, last = (statistics.median(each.quarters[place] for each in rounds) for place in (0, 1))
    return f"{rate:.0f}/s ({first:.0f} to {last:.0f}), p50 {p50:.1f} ms, p99 {p99:.1f} ms, CPU {cpu:.2f} ms"


def forms(prefix: str, number: int, client: int) -> list[Form]:
    """Of small wheels, each of its own version; the projects are those of every client."""
    wheels = (make_wheel(f"{prefix}p{n % PROJECTS}", f"{client}.{n}", content=os.urandom(2000)) for n in range(number))
    return [upload_form(filename, data) for filename, data in wheels]


def measure(start: Start, folder: Path, before: list[Form], requests: list[list[Form]]) -> Round:
    """Each client is a process of its own, as they are in life: none waits for another's Python.

    The clock runs from when all of them are there until the last answer: to fork this process eight times, which by
    then holds the data of other parts, takes as long as some uploads.
    """
    with start(folder) as server:
        run(server, [*before, *forms(f"warm{time.monotonic_ns()}", 5, 0)])
        clients = [_Client(partial(run, server, mine)) for mine in requests]
        cpu, begin = server.peer.cpu(), time.perf_counter()
        for client in clients:
            client.begin()
        results = [client.result() for client in clients]
        cpu = server.peer.cpu() - cpu
    latencies = sorted(latency for result in results for latency in result.latencies)
    ends = sorted(end for result in results for end in accumulate(result.latencies))
    return Round(max(result.end for result in results) - begin, latencies, ends, cpu)


class _Result(msgspec.Struct):
    """`end`: when the last answer came, by the clock that all processes share; seconds, as `latencies`."""

    latencies: list[float]
    end: float


class _Client:
    """A fork of this process that does its work from `begin` on; it is there when this is made."""

    def __init__(self, work: Callable[[], list[float]]) -> None:
        self._told, told = os.pipe()
        start, self._start = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            code = 1
            try:
                os.write(told, b"!")
                os.close(self._start)
                os.read(start, 1)
                latencies = work()
                result = msgspec.json.encode(_Result(latencies, time.perf_counter()))
                with os.fdopen(told, "wb") as pipe:
                    pipe.write(result)
                code = 0
            finally:
                os._exit(code)
        os.close(told)
        os.close(start)
        os.read(self._told, 1)

    def begin(self) -> None:
        os.write(self._start, b"!")
        os.close(self._start)

    def result(self) -> _Result:
        """Waits for it; PeerError."""
        with os.fdopen(self._told, "rb") as pipe:
            data = pipe.read()
        if os.waitpid(self._pid, 0)[1]:
            raise PeerError("a client that uploads failed")
        return msgspec.json.decode(data, type=_Result)


def run(server: Server, requests: list[Form]) -> list[float]:
    """One client: over one connection where the server keeps it open. Seconds that each request took."""
    latencies = []
    login = ""
    if server.login is not None:
        login = f"Authorization: Basic {base64.b64encode(':'.join(server.login).encode()).decode()}\r\n"
    connection: socket.socket | None = None
    for body, content_type in requests:
        head = (
            f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.peer.port}\r\n{login}"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        begin = time.perf_counter()
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", server.peer.port), timeout=60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head.encode() + body)
        status, keeps = answer(connection)
        latencies.append(time.perf_counter() - begin)
        if status != 200:
            raise OSError(f"an upload was answered by {status}")
        if not keeps:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    return latencies


def answer(connection: socket.socket) -> tuple[int, bool]:
    """Status, and whether the connection stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().splitlines()
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        body += received(connection)
    keeps = lines[0].startswith("http/1.1") and headers.get("connection") != "close" and "content-length" in headers
    return int(lines[0].split()[1]), keeps


def received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise OSError("the server closed the connection")
    return data


@contextmanager
def caseus(workers: int, folder: Path) -> Iterator[Server]:
    with peers.caseus(folder, workers=workers) as (peer, server):
        yield Server(peer, "/legacy/", ("__token__", server.token("admin")))


@contextmanager
def pypiserver(folder: Path) -> Iterator[Server]:
    with peers.pypiserver(folder, folder / "packages", behind="wsgiref") as peer:
        yield Server(peer, "/", None)


def wait_time(folder: Path, times: int = 30) -> float:
    """Seconds, in the median, of the two waits that no durable upload does without: for a small file under its name,
    and then for some pages of a log that is written over."""
    found = []
    log = os.open(folder / "log", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(log, bytes(times * _LOGGED), 0)
        os.fsync(log)
        held = os.open(folder, os.O_RDONLY)
        for number in range(times):
            path = folder / f"probe{number}"
            with path.open("wb", buffering=0) as file:
                file.write(os.urandom(2000))
                begin = time.perf_counter()
                durability.sync_all([file.fileno(), held])
                os.pwrite(log, os.urandom(_LOGGED), number * _LOGGED)
                os.fdatasync(log)
                found.append(time.perf_counter() - begin)
            path.unlink()
        os.close(held)
    finally:
        os.close(log)
    return statistics.median(found)


PART = Part(
    title="Uploads",
    text="""\
Small wheels, by one client and by eight, each a process of its own that sends the next file when the last was
answered; each round on a folder with nothing in it, but where a row says otherwise. caseus answers when file and fact
are on the disk; pypiserver does not wait for it. pypiserver runs behind wsgiref, which is what its installation alone
leads to. It looks through its folder at each upload, so it is the slower, the more files there are: in brackets the
rate in the first quarter of a round's 800 files (400 where others are there before), and in the last.""",
    rows=rows,
)
