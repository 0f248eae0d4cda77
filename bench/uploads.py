"""Uploads of small wheels, durable here, beside pypiserver, which does not fsync: `python -m bench.uploads`.

In turns, each round on a folder of its own with nothing in it (pypiserver looks through its folder at each upload). A
client sends the next file when the last was answered; both servers get the same bytes from the same client.
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

from support.clients import Login, upload_form
from support.packages import make_wheel
from support.server import CaseusServer, clean_environment

PEER = Path(__file__).parents[1] / ".venv-peers" / "bin" / "pypi-server"
CLIENTS = (1, 8)
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
    parser = argparse.ArgumentParser(prog="bench.uploads", description=__doc__)
    parser.add_argument("--peer", type=Path, default=PEER, help="pypi-server's program")
    parser.add_argument("--folder", type=Path, help="where the servers keep their files (default: a temporary folder)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uploads", type=int, default=400, help="of each round")
    options = parser.parse_args()
    servers: dict[str, Start] = {"caseus": caseus}
    if options.peer.exists():
        servers["pypiserver"] = lambda folder: pypiserver(options.peer, folder)
    else:
        print(f"no {options.peer}: caseus alone", file=sys.stderr)
    found: dict[tuple[str, int], list[Round]] = {}
    syncs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="caseus-bench-", dir=options.folder) as folder:
        for number in range(options.rounds):
            syncs.append(sync_time(Path(folder)))
            for clients in CLIENTS:
                requests = [forms(f"r{number}c{client}", options.uploads // clients) for client in range(clients)]
                for name, start in servers.items():
                    result = measure(start, Path(folder) / f"{name}-{number}-{clients}", requests)
                    found.setdefault((name, clients), []).append(result)
    report(found, syncs)
    return 0


def report(found: dict[tuple[str, int], list[Round]], syncs: list[float]) -> None:
    print(f"fsync of a new file: {1000 * statistics.median(syncs):.2f} ms (median of the rounds' medians)")
    print(f"{'':12} {'clients':>7}  {'uploads/s':>9}  {'p50 ms':>7}  {'p99 ms':>7}  {'CPU ms':>6}")
    for (name, clients), rounds in sorted(found.items(), key=lambda item: item[0][1]):
        latencies = sorted(latency for each in rounds for latency in each.latencies)
        cuts = [1000 * cut for cut in statistics.quantiles(latencies, n=100)]
        rate = statistics.median(each.rate for each in rounds)
        cpu = statistics.median(1000 * each.cpu / len(each.latencies) for each in rounds)
        print(f"{name:12} {clients:7}  {rate:9.0f}  {cuts[49]:7.2f}  {cuts[98]:7.2f}  {cpu:6.2f}")
    for clients in CLIENTS:
        if ("pypiserver", clients) in found:
            pairs = zip(found["caseus", clients], found["pypiserver", clients], strict=True)
            ratios = sorted(ours.rate / theirs.rate for ours, theirs in pairs)
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"{clients} client(s): {statistics.median(ratios):.2f}x pypiserver (rounds: {told})")


def forms(prefix: str, number: int) -> list[tuple[bytes, str]]:
    """Of small wheels, each of its own version."""
    wheels = (make_wheel(f"{prefix}p{n % PROJECTS}", f"1.{n}", content=os.urandom(2000)) for n in range(number))
    return [upload_form(filename, data) for filename, data in wheels]


def measure(start: Start, folder: Path, requests: list[list[tuple[bytes, str]]]) -> Round:
    """Each client is a process of its own, as they are in life: none waits for another's Python."""
    with start(folder) as server:
        run(server, forms(f"warm{time.monotonic_ns()}", 5))
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


def sync_time(folder: Path, files: int = 30) -> float:
    """Seconds that a new file of two kilobytes waits for the disk, in the median."""
    times = []
    for number in range(files):
        path = folder / f"probe{number}"
        with path.open("wb", buffering=0) as file:
            file.write(os.urandom(2000))
            begin = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begin)
        path.unlink()
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
