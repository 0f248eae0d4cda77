"""A start, and what a worker needs when it has nothing to do."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.peers import caseus, resident
from bench.results import Part, Row, Run, told, within
from support.workers import lines_to_all


def rows(run: Run) -> Iterator[Row]:
    times = []
    for number in range(3 if run.quick else 9):
        run.tell("start, empty")
        with caseus(run.folder / str(number)) as (peer, _):
            times.append(peer.started)
    seconds = statistics.median(times)
    worst = f"median {told(seconds)} s, longest {told(max(times))} s"
    yield Row("start to ready, empty folder", {"caseus": worst}, (within(1.0, seconds, "s"),))
    run.tell("memory at rest")
    with caseus(run.folder / "workers", workers=2) as (_, server), lines_to_all(server):
        most = max(map(resident, server.workers))
    yield Row(
        "memory of a worker at rest (RSS), one of two", {"caseus": f"{told(most)} MiB"}, (within(80, most, "MiB"),)
    )


PART = Part(
    title="Start and rest",
    text="From the start of the process to its ready line; the memory of each worker once it has answered a request.",
    rows=rows,
)
