"""A page while others publish."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
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
    seconds, rounds = (2, 2) if run.quick else (3, 5)
    with ExitStack() as stack:
        alone, ready = _caseus(run, stack, workers=1), _caseus(run, stack, workers=2)
        limit = stack.enter_context(nginx(run.folder / "nginx", run.folder / "static"))
        mirror(alone.peer, TEN, run.folder / "static")
        seen = {
            "a page of caseus with two workers": _Seen(ready.peer, ready, [], [], []),
            "a page of caseus with one worker": _Seen(alone.peer, alone, [], [], []),
            "a page of nginx": _Seen(limit, ready, [], [], []),
        }
        for _ in range(rounds):
            for what, (peer, to, idle, busy, rates) in seen.items():
                run.tell(f"{what}, idle")
                idle.append(wrk(peer, PATH, {"Accept": HTML}, seconds=seconds))
                run.tell(f"{what} beside {CLIENTS} uploads and renders")
                with publishing(to.peer, to.token, CLIENTS) as clients:
                    busy.append(wrk(peer, PATH, {"Accept": HTML}, seconds=seconds))
                    rates.append(clients.stop())
    two, one, other = seen.values()
    yield two.row(
        "page of 10 files, by two workers, of which one publishes", at_most(5, two.ratio, "its p99 when idle")
    )
    yield one.row("page of 10 files, by one worker that does both")
    yield other.row("the same page of nginx, while files are published to the two workers")


class _Server(NamedTuple):
    """Where to publish."""

    peer: Peer
    token: str


def _caseus(run: Run, stack: ExitStack, workers: int) -> _Server:
    folder = run.folder / f"data-{workers}"
    make_stock(folder, projects=0)
    peer, server = stack.enter_context(caseus(folder, workers=workers))
    return _Server(peer, server.token("admin"))


class _Seen(NamedTuple):
    """A server, where files are published meanwhile, and what each round found: the server's page when idle and busy,
    and files published in a second."""

    peer: Peer
    to: _Server
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
to the project with 2,000 files. Uploads are durable before they are answered. Of two workers of caseus one publishes,
and renders what its clients ask for. The clients share the machine with the server. What that alone does to a page, a
server shows that has no part in it: nginx, asked in the same way while files are published to caseus.""",
    rows=rows,
)
