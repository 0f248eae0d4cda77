"""Pages and files beside other servers, which have the same data."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.load import Load, one_by_one, wrk
from bench.peers import HTML, JSON, Peer, caseus, devpi, nginx, proxpi, pypiserver, simple_repository
from bench.results import Goal, Part, Row, Run, at_least, at_most, told
from bench.stock import PACKAGES, make_stock, wheel, write_packages

SLOW = 0.02
"""Seconds that one page takes, above which a server is asked by one client: of 16 none may be done within the time."""

OURS, LIMIT = "caseus", "nginx"
LOGGED, UNLOGGED = "nginx, logging", "proxpi, not logging"
"""What stands behind a comma says which of them it is; they share a column."""
FOLDERS = ("pypiserver", "pypiserver, 2,000 files")


class Case(NamedTuple):
    """What is asked for, and what is to be reached: parts of nginx's requests a second, CPU per request and p99, and
    how often the best peer's requests a second."""

    name: str
    project: str
    accept: str = HTML
    file: str = ""
    zipped: bool = False
    known: bool = False
    """The client has it already: 304."""
    connections: int = 16
    of_nginx: float | None = None
    cpu: float | None = None
    p99: float | None = None
    of_peers: float | None = None
    peers: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        return {"Accept": self.accept} | ({"Accept-Encoding": "gzip"} if self.zipped else {})

    def path(self, peer: Peer) -> str:
        return peer.file(self.project, self.file) if self.file else peer.page(self.project, self.accept)


MIRRORS = ("proxpi", "simple-repository-server", "devpi")
ALL = ("pypiserver", *MIRRORS)
TEN = Case("page of 10 files, HTML", "ten", of_nginx=1.2, cpu=1.0, p99=2, of_peers=50, peers=ALL)
MANY = Case(
    "page of 2,000 files, HTML, gzip", "many", zipped=True, of_nginx=0.9, of_peers=400, peers=(FOLDERS[1], *MIRRORS)
)
LIST = Case("`/simple/` of 50,000 projects, HTML, gzip", "", zipped=True, of_nginx=0.9, of_peers=10, peers=MIRRORS)
SMALL = Case("file of 50 KB", "small", file=wheel("small"), of_nginx=0.6, of_peers=7, peers=ALL)
LARGE = Case(
    "file of 50 MB", "large", file=wheel("large"), connections=4, of_nginx=0.95, of_peers=1, peers=("proxpi", "devpi")
)
CASES = (
    TEN,
    TEN._replace(name="page of 10 files, JSON", accept=JSON, peers=MIRRORS),
    Case("the same, HTML, but nginx logs and proxpi does not", "ten", peers=(LOGGED, UNLOGGED)),
    MANY,
    MANY._replace(name="page of 2,000 files, JSON, gzip", accept=JSON, peers=MIRRORS),
    Case("304 for the page of 10 files", "ten", known=True, of_nginx=0.9),
    LIST,
    LIST._replace(name="`/simple/` of 50,000 projects, JSON, gzip", accept=JSON),
    SMALL,
    LARGE,
)
LONG = (LARGE, *(case for case in CASES if case.zipped and case.accept == JSON))
"""Not in a quick run."""


def rows(run: Run) -> Iterator[Row]:
    cases = [case for case in CASES if not (run.quick and case in LONG)]
    with ExitStack() as stack:
        peers = start(run, stack, cases)
        for case in cases:
            run.tell(case.name)
            yield row(case, measure(case, peers, quick=run.quick))
        run.tell("memory")
        told_of = {
            peer.name: f"{peer.started:.1f} s; {peer.memory():.0f} MiB"
            for peer in peers.values()
            if "," not in peer.name
        }
        yield Row("start to first answer; memory after all this", told_of)


def start(run: Run, stack: ExitStack, cases: list[Case]) -> dict[str, Peer]:
    """All servers, by name. Those that cache have the same pages and files from an nginx of its own as upstream."""
    run.tell("data of 52,000 files")
    make_stock(run.folder / "data")
    ours, _ = stack.enter_context(caseus(run.folder / "data"))
    static = run.folder / "static"
    for case in cases:
        mirror(ours, case, static)
    found = {OURS: ours, LIMIT: stack.enter_context(nginx(run.folder / "nginx", static))}
    found[LOGGED] = stack.enter_context(nginx(run.folder / "nginx-logging", static, name=LOGGED, log=True))
    upstream = stack.enter_context(nginx(run.folder / "upstream", static, name="upstream")).url + "/index/"
    for name, projects in zip(FOLDERS, (("ten", "small", "large"), PACKAGES), strict=True):
        run.tell(f"start of {name}")
        folder = run.folder / f"packages-{len(projects)}"
        write_packages(folder, static / "simple", projects)
        peer = stack.enter_context(pypiserver(run.folder / f"pypiserver-{len(projects)}", folder))
        found[name] = peer._replace(name=name)
    found[UNLOGGED] = stack.enter_context(proxpi(run.folder / "proxpi-not-logging", upstream, log=False))
    found[UNLOGGED] = found[UNLOGGED]._replace(name=UNLOGGED)
    for name, starter in (("proxpi", proxpi), ("simple-repository-server", simple_repository), ("devpi", devpi)):
        if not (run.quick and name == "devpi"):
            run.tell(f"start of {name}")
            found[name] = stack.enter_context(starter(run.folder / name, upstream))
    return found


def mirror(ours: Peer, case: Case, static: Path) -> None:
    """What caseus answers, as files: pages in both types, and compressed where that is asked for."""
    if case.file:
        keep(static / "simple" / case.project / case.file, ours.get(f"/simple/{case.project}/{case.file}", {})[1])
    for accept, tree in ((HTML, "simple"), (JSON, "json")):
        page = static / tree / case.project / "index"
        path = ours.page(case.project, accept)
        keep(page, ours.get(path, {"Accept": accept})[1])
        if case.zipped:
            headers, body = ours.get(path, {"Accept": accept, "Accept-Encoding": "gzip"})
            assert headers["content-encoding"] == "gzip"
            keep(page.with_name("index.gz"), body)


def keep(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def measure(case: Case, peers: Mapping[str, Peer], *, quick: bool) -> dict[str, list[Load]]:
    """Loads of each round, by name. The servers take turns; peers have fewer and shorter ones than the two that are
    close to each other."""
    asked = {name: peers[name] for name in (OURS, LIMIT, *case.peers) if name in peers}
    ways = {name: warm(case, peer) for name, peer in asked.items()}
    found: dict[str, list[Load]] = {name: [] for name in asked}
    close = (OURS, LIMIT, LOGGED)
    for number in range(2 if quick else 4):
        for name, (path, headers, seconds) in ways.items():
            slow = seconds > SLOW and not case.file
            if name not in close and number >= (1 if quick or slow else 2):
                continue
            if slow:
                load = one_by_one(asked[name], path, headers, seconds=1)
            else:
                long = 2 if name in close and not quick else 1
                load = wrk(asked[name], path, headers, seconds=long, connections=case.connections)
            found[name].append(load)
    return {name: loads for name, loads in found.items() if loads}


def warm(case: Case, peer: Peer) -> tuple[str, dict[str, str], float]:
    """Path and headers, asked for until it is ready, and the seconds that one request then takes."""
    path, headers = case.path(peer), case.headers()
    answer, _ = peer.get(path, headers)
    if case.known:
        headers["If-None-Match"] = answer["etag"]
        return path, headers, 0.0
    begin = time.perf_counter()
    peer.get(path, headers)
    return path, headers, time.perf_counter() - begin


def row(case: Case, found: Mapping[str, list[Load]]) -> Row:
    """Medians, and medians of the rounds' ratios."""
    figures = {}
    for name, loads in found.items():  # the last of a column counts
        figures[name.partition(",")[0]] = shown(loads)
    return Row(case.name, figures, tuple(goals(case, found)))


def goals(case: Case, found: Mapping[str, list[Load]]) -> Iterator[Goal]:
    ours, limit = found[OURS], found[LIMIT]
    if case.of_nginx is not None:
        yield at_least(case.of_nginx, ratio(ours, limit, "rate"), "nginx's requests/s")
    if case.cpu is not None:
        yield at_most(case.cpu, ratio(ours, limit, "cpu"), "nginx's CPU per request")
    if case.p99 is not None:
        yield at_most(case.p99, ratio(ours, limit, "p99"), "nginx's p99")
    if case.of_peers is not None:
        peers = {name: ratio(ours, loads, "rate") for name, loads in found.items() if name not in (OURS, LIMIT, LOGGED)}
        if peers:
            best = min(peers, key=lambda name: peers[name])
            yield at_least(case.of_peers, peers[best], f"the best peer's requests/s ({best.partition(',')[0]})")


def ratio(ours: list[Load], theirs: list[Load], what: str) -> float:
    """Median over the rounds that both had."""
    pairs = [(getattr(our, what), getattr(their, what)) for our, their in zip(ours, theirs, strict=False)]
    return statistics.median(our / their if their else float("inf") for our, their in pairs)


def shown(loads: list[Load]) -> str:
    rate, cpu, p99 = (statistics.median(getattr(load, what) for load in loads) for what in Load._fields)
    return f"{told(rate)}/s, {told(cpu * 1e6)} µs, {told(p99 * 1e3)} ms"


PART = Part(
    title="Pages and files",
    text="""\
Each cell: requests per second, CPU time of all processes of the server per request, and the 99th percentile of the time
that a request takes. All servers run at the same time, one worker each, and are asked in turns over 16 kept connections
(4 for the large file) by one thread of wrk; a server that needs more than 20 ms for a page is asked by one client, and
its longest time is told. caseus logs each request; nginx has `access_log off`, `sendfile on` and `gzip_static on`, and
serves the bytes that caseus answers, as files. The index has 52,012 files in 50,004 projects. proxpi, devpi and
simple-repository-server have it from an nginx of their own as upstream and are asked again when they have it;
pypiserver, behind waitress, has a folder with the files that the row needs: 12, or 2,012. proxpi is started as in its
container, and logs each request, as caseus does; the others log what they log by themselves. One row is asked with
other logs.""",
    rows=rows,
)
