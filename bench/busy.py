"""A page while others publish."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.load import wrk
from bench.peers import HTML, caseus
from bench.publisher import publishing
from bench.results import Part, Row, Run, at_most, told
from bench.stock import make_stock

CLIENTS = 8


def rows(run: Run) -> Iterator[Row]:
    run.tell("data")
    make_stock(run.folder / "data", projects=0)
    seconds, rounds = (2, 2) if run.quick else (3, 5)
    with caseus(run.folder / "data") as (peer, server):
        token = server.token("admin")
        path, headers = "/simple/ten/", {"Accept": HTML}
        idle, busy, rates = [], [], []
        for _ in range(rounds):
            run.tell("a page, idle")
            idle.append(wrk(peer, path, headers, seconds=seconds))
            run.tell(f"a page beside {CLIENTS} uploads and renders")
            with publishing(peer, token, CLIENTS) as clients:
                busy.append(wrk(peer, path, headers, seconds=seconds))
                rates.append(clients.stop())
    ratio = statistics.median(full.p99 / calm.p99 for calm, full in zip(idle, busy, strict=True))
    figures = {
        name: f"p99 {told(1e3 * statistics.median(load.p99 for load in loads))} ms, "
        f"{told(statistics.median(load.rate for load in loads))}/s"
        for name, loads in (("idle", idle), ("busy", busy))
    }
    figures["published meanwhile"] = f"{told(statistics.median(rates))}/s"
    yield Row("page of 10 files", figures, (at_most(5, ratio, "its p99 when idle"),))


PART = Part(
    title="A page while others publish",
    text=f"""\
The page of 10 files is asked for over 16 connections, by turns with nothing else to do and while {CLIENTS} clients each
publish a small wheel, ask for its project's page, which has to be rendered anew, and begin again. One of them publishes
to the project with 2,000 files. Uploads are durable before they are answered. The clients share the machine with the
server.""",
    rows=rows,
)
