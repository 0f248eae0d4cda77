"""The first request after a change."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench.peers import HTML, JSON, Peer, PeerError, caseus
from bench.results import Part, Row, Run, told, within
from bench.stock import TREE, make_stock, wheel
from caseus.catalog import Catalog


def rows(run: Run) -> Iterator[Row]:
    root = run.folder / "data"
    make_stock(root, projects=0)
    with caseus(root) as (peer, _):
        for project, files, version, bound in (("ten", "10", "1.0", 2), ("many", "2,000", "1.0.0", 25)):
            for name, accept in (("HTML", HTML), ("JSON", JSON)):
                what = f"page of {files} files, {name}"
                run.tell(what)
                times = changes(root, peer, project, wheel(project, version), accept, 20 if run.quick else 100)
                p50 = 1000 * statistics.median(times)
                p99 = 1000 * statistics.quantiles(times, n=100)[98]
                yield Row(what, {"p50": f"{told(p50)} ms", "p99": f"{told(p99)} ms"}, (within(bound, p50, "ms"),))


def changes(root: Path, peer: Peer, project: str, filename: str, accept: str, count: int) -> list[float]:
    """Seconds that the page takes after each yank of a file in it, by another process."""
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    connection = http.client.HTTPConnection("127.0.0.1", peer.port)
    catalog = Catalog.open(root)
    times = []
    try:
        file = catalog.find_file(TREE, filename)
        assert file is not None
        for number in range(count):
            catalog.yank([file], f"reason {number}", actor="bench")
            begin = time.perf_counter()
            connection.request("GET", f"/simple/{project}/", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            times.append(time.perf_counter() - begin)
            if answer.status != 200 or not body:
                raise PeerError(f"{peer.name} answers a page by {answer.status} {answer.reason}")
    finally:
        connection.close()
        catalog.close()
    return times


PART = Part(
    title="The first request after a change",
    text="""\
A command yanks a file, again and again; after each time the project's page is asked for once, compressed. The page is
rendered and compressed within that request.""",
    rows=rows,
)
