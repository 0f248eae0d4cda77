"""An index of the public one's size beside a small one; three minutes, quick: one.

700,000 projects and 8,000,000 files (quick: 200,000 and 1,000,000), made straight in the catalog; see
`support.big_index`. Requests to both are interleaved, so that what else the machine does falls on both.
"""

from __future__ import annotations

import http.client
import random
import re
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.results import Part, Row, Run, at_most, cuts, figure, within
from support.big_index import counts, make_index, names
from support.clients import upload
from support.packages import make_wheel
from support.server import CaseusServer

FULL, QUICK, SMALL = (700_000, 8_000_000), (200_000, 1_000_000), (4000, 45_000)
"""Projects and files. A page of the large index has as many files as one of the small: only such are asked for."""
STARTS = 5
PAGES = 1000
LOAD_SECONDS, LOAD_CLIENTS = 10.0, 8
JSON = "application/vnd.pypi.simple.v1+json"

_USUAL = range(5, 31)
"""Files of the projects that are asked for."""


class Client:
    """One connection."""

    def __init__(self, server: CaseusServer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)

    def get(self, path: str, *, accept: str = JSON, coding: str = "gzip") -> float:
        """Seconds until the answer was there."""
        begin = time.perf_counter()
        self._connection.request("GET", path, headers={"Accept": accept, "Accept-Encoding": coding})
        answer = self._connection.getresponse()
        answer.read()
        seconds = time.perf_counter() - begin
        if answer.status != 200:
            raise SystemExit(f"bench: {path} was answered by {answer.status} {answer.reason}")
        return seconds

    def close(self) -> None:
        self._connection.close()


def rows(run: Run) -> Iterator[Row]:
    """Every figure as soon as it is known."""
    size = QUICK if run.quick else FULL
    work = run.folder
    run.tell("data")
    begin = time.perf_counter()
    make_index(work / "big", *size)
    seconds = time.perf_counter() - begin
    gigabytes = (work / "big" / "catalog.sqlite").stat().st_size / 1e9
    yield figure(f"an index of {size[0]:,} projects, {size[1]:,} files", f"{gigabytes:.2f} GB in {seconds:.0f} s")
    make_index(work / "small", *SMALL)
    for each in ("big", "small"):
        CaseusServer(work / each).start().stop()  # makes the first user, whose password takes memory to hash
    yield from _starts(work)
    with CaseusServer(work / "small") as small, CaseusServer(work / "big") as big:
        yield _limited("memory of a worker at rest, small index", _memory(small, "VmRSS"), 80, "MiB")
        yield _limited("memory of a worker at rest, large index", _memory(big, "VmRSS"), 80, "MiB")
        yield from _pages(small, big, size)
        yield from _list(big)
        _load(big, size)
        yield _limited("memory of a worker under load, large index", _memory(big, "VmHWM"), 400, "MiB")


def _starts(work: Path) -> Iterator[Row]:
    """From the process's start to its ready line."""
    times: dict[str, list[float]] = {"empty": [], "big": []}
    for number in range(STARTS):
        for what, found in times.items():
            server = CaseusServer(work / (f"empty{number}" if what == "empty" else what))
            begin = time.perf_counter()
            server.start()
            found.append(time.perf_counter() - begin)
            server.stop()
    for what, told, limit in (("empty", "an empty folder", 1.0), ("big", "the large index", 2.0)):
        more = f"least {min(times[what]):.2f}, most {max(times[what]):.2f}"
        yield _limited(f"start to ready, {told}", statistics.median(times[what]), limit, "s", more)


def _pages(small: CaseusServer, big: CaseusServer, size: tuple[int, int]) -> Iterator[Row]:
    """Each page for the first time, when it has to be made, and again, when it is ready."""
    asked = [(Client(small), _usual(SMALL)), (Client(big), _usual(size))]
    times: list[dict[str, list[float]]] = [{"first": [], "again": []} for _ in asked]
    for pair in zip(*(projects for _, projects in asked), strict=True):
        for (client, _), project, found in zip(asked, pair, times, strict=True):
            found["first"].append(client.get(f"/simple/{project}/"))
            found["again"].append(client.get(f"/simple/{project}/"))
    for client, _ in asked:
        client.close()
    for which in ("first", "again"):
        (p50, p99), (large50, large99) = (cuts(found[which]) for found in times)
        told = f"p50 {large50:.2f} against {p50:.2f} ms, p99 {large99:.2f} against {p99:.2f} ms"
        ratio = large99 / p99
        yield figure(f"a page asked for, {which}", told, at_most(1.5, ratio, "the small index's p99"))


def _usual(size: tuple[int, int]) -> list[str]:
    """Names of projects with neither very few nor very many files, as many as the small index has at most."""
    found = [name for name, count in zip(names(size[0]), counts(*size), strict=True) if count in _USUAL]
    return random.Random(4).sample(found, PAGES)


def _list(big: CaseusServer) -> Iterator[Row]:
    """`/simple/`: made once, kept on the disk, and followed as names come."""
    client = Client(big)
    login = ("__token__", big.token("admin"))
    for accept, form in (("text/html", "HTML"), (JSON, "JSON")):
        first = client.get("/simple/", accept=accept)
        again = [client.get("/simple/", accept=accept) for _ in range(20)]
        after = []
        for number in range(10):
            filename, data = make_wheel(f"a-new-name-{form.lower()}-{number}", "1.0")
            answer = upload(big.url, filename, data, login=login)
            if answer.status != 200:
                raise SystemExit(f"bench: an upload was answered by {answer.status} {answer.reason}")
            after.append(client.get("/simple/", accept=accept))
        told = f"{1000 * statistics.median(again):.0f} ms, after a new name {1000 * statistics.median(after):.0f} ms"
        yield figure(f"/simple/ of the large index, {form}, gzip", f"{told}, the very first {first:.1f} s")
    home = [client.get("/", accept="text/html") for _ in range(50)]
    yield figure("/ of the large index", f"p50 {cuts(home)[0]:.2f} ms")
    client.close()


def _load(big: CaseusServer, size: tuple[int, int]) -> None:
    """Pages of all sizes, and lists, over several connections."""
    everything, end = names(size[0]), time.monotonic() + LOAD_SECONDS
    failed: list[BaseException] = []

    def ask(seed: int) -> None:
        chance, client = random.Random(seed), Client(big)
        try:
            while time.monotonic() < end and not failed:
                path = "/simple/" if chance.random() < 0.002 else f"/simple/{chance.choice(everything)}/"
                client.get(path, accept=chance.choice([JSON, "text/html"]), coding=chance.choice(["gzip", "identity"]))
        except BaseException as error:
            failed.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(LOAD_CLIENTS)]
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
    if failed:
        raise failed[0]


def _memory(server: CaseusServer, field: str) -> float:
    """MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def _limited(what: str, value: float, limit: float, unit: str, more: str = "") -> Row:
    return figure(what, f"{value:.2f} {unit}" + (f" ({more})" if more else ""), within(limit, value, unit))


PART = Part(
    title="An index of the public one's size",
    text=f"""\
{FULL[0]:,} projects and {FULL[1]:,} files, made straight in the catalog, beside {SMALL[0]:,} projects and {SMALL[1]:,}
files. Pages of both are asked for in turns, and only such as have as many files in one as in the other.""",
    rows=rows,
    long=True,
)
