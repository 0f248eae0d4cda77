"""`make bench`: how fast pages and files are served, over keep-alive connections of a small asyncio client.

Without URLs it starts a server of its own and publishes a package to it. The client shares the machine with the server
and is plain Python: the numbers compare builds of caseus, not caseus with others.

`python -m bench big`, `python -m bench export` and `python -m bench uploads` measure what their modules say.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from support.clients import upload
from support.packages import make_wheel
from support.server import CaseusServer

FILES = 40
OTHERS = ("big", "export", "uploads")


class Result(NamedTuple):
    """`latencies` in seconds, sorted; `seconds` that the whole took; `size` of one body in bytes."""

    latencies: list[float]
    seconds: float
    size: int


def main() -> int:
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        found: int = importlib.import_module(f"bench.{sys.argv.pop(1)}").main()
        return found
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("urls", nargs="*", help="what to get (default: of a server started here)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each is measured (default: 5)")
    parser.add_argument("--connections", type=int, default=32, help="how many ask at once (default: 32)")
    options = parser.parse_args()
    with own_server(options.urls) as urls:
        print(f"{'requests/s':>10}  {'MB/s':>8}  {'p50 ms':>8}  {'p99 ms':>8}  {'bytes':>9}  what")
        for url in urls:
            asyncio.run(measure(url, options.connections, min(1.0, options.seconds)))  # warm it
            result = asyncio.run(measure(url, options.connections, options.seconds))
            rate = len(result.latencies) / result.seconds
            cuts = [1000 * cut for cut in statistics.quantiles(result.latencies, n=100)]
            print(
                f"{rate:10.0f}  {rate * result.size / 1e6:8.1f}  {cuts[49]:8.2f}  {cuts[98]:8.2f}  {result.size:9}  "
                f"{urlsplit(url).path}"
            )
    return 0


@contextmanager
def own_server(urls: list[str]) -> Iterator[list[str]]:
    """The URLs as given, else those of a page and a file of a server that runs within."""
    if urls:
        yield urls
        return
    with CaseusServer() as server:
        for number in range(FILES):
            filename, data = make_wheel("bench", f"1.{number}", content=b"# filler\n" * 4000)
            answer = upload(server.url, filename, data, login=server.admin)
            if answer.status != 200:
                sys.exit(f"bench: publishing {filename} was answered by {answer.status} {answer.reason}")
        page = f"{server.url}simple/bench/"
        yield [page, page + filename]


async def measure(url: str, connections: int, seconds: float) -> Result:
    """Ask over so many connections, each again and again, until the time is over."""
    begin = time.perf_counter()
    results = await asyncio.gather(*(ask(url, begin + seconds) for _ in range(connections)))
    latencies = sorted(latency for each, _ in results for latency in each)
    return Result(latencies, time.perf_counter() - begin, results[0][1])


async def ask(url: str, until: float) -> tuple[list[float], int]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80, limit=1 << 20)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\n\r\n".encode()
    latencies: list[float] = []
    size = 0
    while time.perf_counter() < until or not latencies:
        begin = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status, _, rest = head.decode("latin-1").partition("\r\n")
        if " 200 " not in status:
            sys.exit(f"bench: {url} was answered by {status}")
        headers = dict(line.lower().split(": ", 1) for line in rest.splitlines() if line)
        size = int(headers["content-length"])
        await reader.readexactly(size)
        latencies.append(time.perf_counter() - begin)
    writer.close()
    return latencies, size


if __name__ == "__main__":
    sys.exit(main())
