"""`python -m bench.lane`: caseus beside nginx with the same bytes as static files, one worker each.

Rounds are interleaved and the medians of the ratios count: what else the machine does falls on both. Figures of one
machine say little; the ratios are what to look at.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.load import Load, measure
from bench.peers import Peer, nginx
from bench.stock import make_stock, wheel
from support.server import CaseusServer

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
OTHER_CACHE = "open_file_cache max=1000 inactive=60s;"


class Case(NamedTuple):
    """What is asked of caseus, by `headers`; `static` is the same thing's path at nginx, `least` the wanted ratio."""

    name: str
    path: str
    static: str
    headers: Mapping[str, str]
    least: float
    connections: int = 16
    known: bool = False
    """The client has it already: 304."""


def _page(name: str, project: str, accept: str, least: float, *, zipped: bool = False, known: bool = False) -> Case:
    tree = "json" if accept == JSON else "simple"
    place = f"{project}/" if project else ""
    headers = {"Accept": accept, **({"Accept-Encoding": "gzip"} if zipped else {})}
    return Case(name, f"/simple/{place}", f"/{tree}/{place}", headers, least, known=known)


def _file(name: str, project: str, least: float, ending: str = "", connections: int = 16) -> Case:
    path = f"/simple/{project}/{wheel(project)}{ending}"
    return Case(name, path, path, {}, least, connections)


CASES = (
    _page("10 files, HTML", "ten", HTML, 1.2),
    _page("10 files, JSON", "ten", JSON, 1.2),
    _page("2,000 files, HTML, gzip", "many", HTML, 0.9, zipped=True),
    _page("2,000 files, JSON, gzip", "many", JSON, 0.9, zipped=True),
    _page("304, HTML", "ten", HTML, 0.9, known=True),
    _page("50,000 projects, HTML, gzip", "", HTML, 0.9, zipped=True),
    _page("50,000 projects, JSON, gzip", "", JSON, 0.9, zipped=True),
    _file("file, 50 KB", "small", 0.6),
    _file("METADATA, 2.6 KB", "small", 0.9, ".metadata"),
    _file("file, 50 MB", "large", 0.95, connections=4),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.lane", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--nginx-logs", action="store_true", help="nginx with an access log, as caseus has")
    parser.add_argument("--nginx-caches", action="store_true", help="nginx with open_file_cache")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    with tempfile.TemporaryDirectory(prefix="caseus-lane-") as folder:
        more = OTHER_CACHE if options.nginx_caches else ""
        with both(Path(folder), cases, log=options.nginx_logs, more=more) as (caseus, static):
            print(f"{'':28} {'requests/s':>18} {'ratio':>6} {'':>6} {'CPU µs':>13} {'ratio':>6} {'p99 ms':>13}")
            for case in cases:
                print(row(case, *rounds(case, caseus, static, options.rounds, options.seconds)), flush=True)
    return 0


@contextmanager
def both(folder: Path, cases: list[Case], *, log: bool, more: str) -> Iterator[tuple[Peer, Peer]]:
    """caseus with a stock of its own, and nginx with what caseus answers as its files."""
    make_stock(folder / "data")
    with CaseusServer(folder / "data") as server:
        caseus = Peer("caseus", server.port, server.pid)
        for case in cases:
            _mirror(caseus, case, folder / "static")
        with nginx(folder / "nginx", folder / "static", log=log, more=more) as static:
            yield caseus, static


def _mirror(caseus: Peer, case: Case, static: Path) -> None:
    target = static / case.static.strip("/")
    if case.static.endswith("/"):
        target /= "index"
    target.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in case.headers.items() if name != "Accept-Encoding"}
    target.write_bytes(caseus.get(case.path, plain)[1])
    if len(plain) < len(case.headers):
        headers, body = caseus.get(case.path, case.headers)
        assert headers["content-encoding"] == "gzip"
        target.with_name(f"{target.name}.gz").write_bytes(body)


def rounds(case: Case, caseus: Peer, static: Peer, count: int, seconds: float) -> tuple[list[Load], list[Load]]:
    """In turns, after a short one of each."""
    found: tuple[list[Load], list[Load]] = ([], [])
    asked = []
    for peer, path in ((caseus, case.path), (static, case.static)):
        headers = dict(case.headers)
        if case.known:
            headers["If-None-Match"] = peer.get(path, headers)[0]["etag"]
        asked.append((peer, path, headers))
        measure(peer, path, headers, seconds=min(1.0, seconds), connections=case.connections)
    for _ in range(count):
        for loads, (peer, path, headers) in zip(found, asked, strict=True):
            loads.append(measure(peer, path, headers, seconds=seconds, connections=case.connections))
            time.sleep(0.1)
    return found


def row(case: Case, ours: list[Load], theirs: list[Load]) -> str:
    """Medians, and the medians of the rounds' ratios."""
    rate = [statistics.median(load.rate for load in loads) for loads in (ours, theirs)]
    cpu = [statistics.median(load.cpu for load in loads) * 1e6 for loads in (ours, theirs)]
    p99 = [statistics.median(load.p99 for load in loads) * 1e3 for loads in (ours, theirs)]
    pairs = list(zip(ours, theirs, strict=True))
    ratio = statistics.median(our.rate / their.rate for our, their in pairs)
    spent = statistics.median(our.cpu / their.cpu for our, their in pairs if their.cpu) if cpu[1] else float("nan")
    missed = "" if ratio >= case.least else f"<{case.least:g}"
    return (
        f"{case.name:28} {rate[0]:8.0f} / {rate[1]:7.0f} {ratio:6.2f} {missed:>6} "
        f"{cpu[0]:5.0f} / {cpu[1]:5.0f} {spent:6.2f} {p99[0]:5.1f} / {p99[1]:5.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
