"""Load, and what comes of it."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from typing import NamedTuple

from bench.peers import Peer, PeerError

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_LATENCY = re.compile(r"^\s+99%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_COUNT = re.compile(r"^\s+(\d+) requests in ([\d.]+)(us|ms|s|m),", re.MULTILINE)


class Load(NamedTuple):
    """`rate`: requests a second; `cpu`: the server's seconds per request; `p99`: seconds."""

    rate: float
    cpu: float
    p99: float


def wrk(peer: Peer, path: str, headers: Mapping[str, str], *, seconds: int, connections: int = 16) -> Load:
    """Ask for the path over so many kept connections, by one thread of wrk, which knows whole seconds only."""
    program = shutil.which("wrk")
    if program is None:
        raise PeerError("wrk is missing: run `make test-deps`")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    before = peer.cpu()
    done = subprocess.run([*command, f"{peer.url}{path}"], capture_output=True, text=True, check=False)
    return read(f"{peer.name}, {path}", done.stdout + done.stderr, peer.cpu() - before)


def read(what: str, output: str, cpu: float) -> Load:
    """What wrk printed. `cpu`: seconds that all its requests cost. PeerError where it got no answers, or errors."""
    count, latency = _COUNT.search(output), _LATENCY.search(output)
    if count is None or latency is None or "Non-2xx" in output or not int(count[1]):
        raise PeerError(f"{what}: wrk says\n{output}")
    requests = int(count[1])
    return Load(requests / (float(count[2]) * _UNITS[count[3]]), cpu / requests, float(latency[1]) * _UNITS[latency[2]])


def one_by_one(peer: Peer, path: str, headers: Mapping[str, str], *, seconds: float) -> Load:
    """The same of a server that is too slow for a crowd: one client, at least one request."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=120)
    times: list[float] = []
    begin, before = time.perf_counter(), peer.cpu()
    try:
        while not times or time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            connection.request("GET", path, headers=dict(headers))
            answer = connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - start)
            if answer.status >= 400:
                raise PeerError(f"{peer.name} answers {path} by {answer.status} {answer.reason}")
    finally:
        connection.close()
    return Load(len(times) / (time.perf_counter() - begin), (peer.cpu() - before) / len(times), max(times))
