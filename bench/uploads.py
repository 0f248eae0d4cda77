"""Uploads of small wheels, durable here, beside pypiserver, which does not fsync: `python -m bench uploads`.

pypiserver runs as its README says: behind wsgiref, which is what `pip install pypiserver` alone leads to. In turns,
each round on a folder of its own with nothing in it, unless `--stock` says otherwise (pypiserver looks through its
folder at each upload). A client sends the next file when the last was answered; both servers get the same bytes from
the same client.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.rows import Row, at_least, cuts, show
from caseus import durability
from support.clients import Login, upload_form
from support.packages import make_wheel
from support.server import CaseusServer, clean_environment

PEER = Path(__file__).parents[1] / ".venv-peers" / "bin" / "pypi-server"
CLIENTS = (1, 8)
_LOGGED = 40_000  # bytes that the catalog's log takes for an upload
PROJECTS = 50
"""Over which the files of a round are spread."""


class Server(NamedTuple):
    port: int
    path: str
    login: Login | None
    pid: int


Start = Callable[[Path], AbstractContextManager[Server]]


class Round(NamedTuple):
    """`latencies` in seconds, sorted; `cpu`: of the server, seconds."""

    seconds: float
    latencies: list[float]
    cpu: float

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench uploads", description=__doc__)
    parser.add_argument("--peer", type=Path, default=PEER, help="pypi-server's program")
    parser.add_argument("--peer-server", default="wsgiref", help="what it is run behind (default: wsgiref)")
    parser.add_argument("--folder", type=Path, help="where the servers keep their files (default: a temporary folder)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uploads", type=int, default=400, help="of each round")
    parser.add_argument("--stock", type=int, default=0, help="files that were uploaded before each round (default: 0)")
    parser.add_argument("--quick", action="store_true", help="two rounds of 200")
    options = parser.parse_args()
    number, uploads = (2, 200) if options.quick else (options.rounds, options.uploads)
    return show(
        rows(
            number,
            uploads,
            stock=options.stock,
            peer=options.peer,
            peer_server=options.peer_server,
            folder=options.folder,
        )
    )


def rows(
    rounds: int = 5,
    uploads: int = 400,
    *,
    stock: int = 0,
    peer: Path = PEER,
    peer_server: str = "wsgiref",
    folder: Path | None = None,
) -> Iterator[Row]:
    """Half a minute for each round on a quiet machine; all at the end."""
    if not peer.exists():
        raise SystemExit(f"bench: {peer} is missing: run `make test-deps`")
    servers: dict[str, Start] = {"caseus": caseus, "pypiserver": lambda at: pypiserver(peer, at, peer_server)}
    found: dict[tuple[str, int], list[Round]] = {}
    waits: list[float] = []
    with tempfile.TemporaryDirectory(prefix="caseus-bench-", dir=folder) as temporary:
        for number in range(rounds):
            waits.append(wait_time(Path(temporary)))
            for clients in CLIENTS:
                asked = [forms(f"r{number}", uploads // clients, client) for client in range(1, clients + 1)]
                before = forms(f"s{number}", stock, 0)
                for name, start in servers.items():
                    result = measure(start, Path(temporary) / f"{name}-{number}-{clients}", before, asked)
                    found.setdefault((name, clients), []).append(result)
    yield from _told(found, waits)


def _told(found: dict[tuple[str, int], list[Round]], waits: list[float]) -> Iterator[Row]:
    wait = 1000 * statistics.median(waits)
    yield Row("what the disk alone takes for an upload: bytes, then fact", f"{wait:.2f} ms, {1000 / wait:.0f} a second")
    for (name, clients), rounds in sorted(found.items(), key=lambda item: item[0][1]):
        p50, p99 = cuts([latency for each in rounds for latency in each.latencies])
        rate = statistics.median(each.rate for each in rounds)
        cpu = statistics.median(1000 * each.cpu / len(each.latencies) for each in rounds)
        told = f"{rate:.0f} a second, p50 {p50:.1f} ms, p99 {p99:.1f} ms, CPU {cpu:.2f} ms"
        yield Row(f"uploads by {clients}, {name}", told)
    for clients, least in zip(CLIENTS, (1.0, 4.0), strict=True):
        pairs = zip(found["caseus", clients], found["pypiserver", clients], strict=True)
        ratios = sorted(ours.rate / theirs.rate for ours, theirs in pairs)
        more = "rounds: " + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        yield at_least(f"uploads by {clients}, against pypiserver", statistics.median(ratios), least, more)


def forms(prefix: str, number: int, client: int) -> list[tuple[bytes, str]]:
    """Of small wheels, each of its own version; the projects are those of every client."""
    wheels = (make_wheel(f"{prefix}p{n % PROJECTS}", f"{client}.{n}", content=os.urandom(2000)) for n in range(number))
    return [upload_form(filename, data) for filename, data in wheels]


def measure(
    start: Start, folder: Path, before: list[tuple[bytes, str]], requests: list[list[tuple[bytes, str]]]
) -> Round:
    """Each client is a process of its own, as they are in life: none waits for another's Python."""
    with start(folder) as server:
        run(server, [*before, *forms(f"warm{time.monotonic_ns()}", 5, 0)])
        cpu = cpu_seconds(server.pid)
        begin = time.perf_counter()
        results = [in_process(partial(run, server, mine)) for mine in requests]
        latencies = sorted(latency for result in results for latency in result())
        seconds = time.perf_counter() - begin
        cpu = cpu_seconds(server.pid) - cpu
    shutil.rmtree(folder)
    return Round(seconds, latencies, cpu)


def in_process(work: Callable[[], list[float]]) -> Callable[[], list[float]]:
    """Begin the work in a fork of this process; what is returned waits for its result."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(read)
            with os.fdopen(write, "wb") as pipe:
                pipe.write(json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)

    def wait() -> list[float]:
        with os.fdopen(read, "rb") as pipe:
            data = pipe.read()
        if os.waitpid(pid, 0)[1]:
            sys.exit("bench: a client failed")
        result: list[float] = json.loads(data)
        return result

    return wait


def run(server: Server, requests: list[tuple[bytes, str]]) -> list[float]:
    """One client: over one connection where the server keeps it open. Seconds that each request took."""
    latencies = []
    login = ""
    if server.login is not None:
        login = f"Authorization: Basic {base64.b64encode(':'.join(server.login).encode()).decode()}\r\n"
    connection: socket.socket | None = None
    for body, content_type in requests:
        head = (
            f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{login}"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        begin = time.perf_counter()
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
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
def caseus(folder: Path) -> Iterator[Server]:
    with CaseusServer(folder) as server:
        yield Server(server.port, "/legacy/", ("__token__", server.token("admin")), server.pid)
    (folder.parent / f"{folder.name}.stderr").unlink()


@contextmanager
def pypiserver(program: Path, folder: Path, server: str = "wsgiref") -> Iterator[Server]:
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(program),
        "run",
        "-i",
        "127.0.0.1",
        "-p",
        str(port),
        "-a",
        ".",
        "-P",
        ".",
        "--server",
        server,
        str(folder),
    ]
    process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_open(port)
        yield Server(port, "/", None, process.pid)
    finally:
        process.terminate()
        process.wait()


def until_open(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                sys.exit("bench: the peer does not start")
            time.sleep(0.02)
        else:
            return


def cpu_seconds(pid: int) -> float:
    """Of the process, its children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


if __name__ == "__main__":
    sys.exit(main())
