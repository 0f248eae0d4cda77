"""Load by wrk, and what comes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from bench.peers import Peer

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_LATENCY = re.compile(r"^\s+99%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_COUNT = re.compile(r"^\s+(\d+) requests in ([\d.]+)(us|ms|s|m),", re.MULTILINE)


class Load(NamedTuple):
    """`rate`: requests a second; `cpu`: the server's seconds per request; `p99`: seconds."""

    rate: float
    cpu: float
    p99: float


def measure(peer: Peer, path: str, headers: Mapping[str, str], *, seconds: float, connections: int) -> Load:
    """Ask for the path over so many kept connections, by one thread of wrk."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("bench: wrk is missing: apt-get install wrk")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "20s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    before = peer.cpu()
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{peer.port}{path}"], capture_output=True, text=True, check=False
    )
    cpu = peer.cpu() - before
    count, latency = _COUNT.search(done.stdout), _LATENCY.search(done.stdout)
    if done.returncode or count is None or latency is None or "Non-2xx" in done.stdout:
        raise SystemExit(f"bench: {peer.name}, {path}: {done.stdout}{done.stderr}")
    requests = int(count[1])
    return Load(
        rate=requests / (float(count[2]) * _UNITS[count[3]]),
        cpu=cpu / max(1, requests),
        p99=float(latency[1]) * _UNITS[latency[2]],
    )
