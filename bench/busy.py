"""A page while others publish."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from bench.load import Load, wrk
from bench.peers import HTML, Peer, caseus, nginx
from bench.publisher import publishing
from bench.reads import TEN, mirror
from bench.results import Goal, Part, Row, Run, at_most, told
from bench.stock import make_stock

CLIENTS = 8
PATH = "/simple/ten/"


def rows(run: Run) -> Iterator[Row]:
    run.tell("data")
    make_stock(run.folder / "data", projects=0)
    seconds, rounds = (2, 2) if run.quick else (3, 5)
    with caseus(run.folder / "data") as (ours, server), nginx(run.folder / "nginx", run.folder / "static") as limit:
        token = server.token("admin")
        mirror(ours, TEN, run.folder / "static")
        seen = {"caseus": _Seen(ours, [], [], []), "nginx": _Seen(limit, [], [], [])}
        for _ in range(rounds):
            for name, (peer, idle, busy, rates) in seen.items():
                run.tell(f"a page of {name}, idle")
                idle.append(wrk(peer, PATH, {"Accept": HTML}, seconds=seconds))
                run.tell(f"a page of {name} beside {CLIENTS} uploads and renders")
                with publishing(ours, token, CLIENTS) as clients:
                    busy.append(wrk(peer, PATH, {"Accept": HTML}, seconds=seconds))
                    rates.append(clients.stop())
    yield seen["caseus"].row("page of 10 files", at_most(5, seen["caseus"].ratio, "its p99 when idle"))
    yield seen["nginx"].row("the same page of nginx, while files are published to caseus")


class _Seen(NamedTuple):
    """A server, and what each round found: its page when idle and busy, and files published in a second."""

    peer: Peer
    idle: list[Load]
    busy: list[Load]
    rates: list[float]

    @property
    def ratio(self) -> float:
        """The p99 when busy, of that when idle."""
        return statistics.median(full.p99 / calm.p99 for calm, full in zip(self.idle, self.busy, strict=True))

    def row(self, what: str, *goals: Goal) -> Row:
        figures = {
            name: f"p99 {told(1e3 * statistics.median(load.p99 for load in loads))} ms, "
            f"{told(statistics.median(load.rate for load in loads))}/s"
            for name, loads in (("idle", self.idle), ("busy", self.busy))
        }
        figures["times as long"] = told(self.ratio)
        figures["published meanwhile"] = f"{told(statistics.median(self.rates))}/s"
        return Row(what, figures, goals)


PART = Part(
    title="A page while others publish",
    text=f"""\
The page of 10 files is asked for over 16 connections, by turns with nothing else to do and while {CLIENTS} clients each
publish a small wheel, ask for its project's page, which has to be rendered anew, and begin again. One of them publishes
to the project with 2,000 files. Uploads are durable before they are answered. The clients share the machine with the
server. What that alone does to a page, a server shows that has no part in it: nginx, asked in the same way while files
are published to caseus.""",
    rows=rows,
)
