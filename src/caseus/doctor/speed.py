"""How fast it is: pip asks for dozens of pages an install, one after another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from caseus.doctor.caching import revalidated
from caseus.doctor.exchange import Exchange
from caseus.doctor.verdicts import Verdict, ok, skip, warn
from caseus.doctor.visit import PIP, Visit

_FEWEST = 3
_BUDGET = 5.0  # seconds a measurement
_SLOW = 2.0  # seconds of the median


def page(visit: Visit) -> Iterator[Verdict]:
    """Round trips of a page over one connection, and whether that was one."""
    for subject in visit.subjects[:1]:
        visit.client.get(subject.url, PIP)
        opened = visit.client.connections
        times = _times(visit.request.rounds, partial(visit.client.get, subject.url, PIP))
        yield from _told(times, "a page")
        if more := visit.client.connections - opened:
            yield warn(
                f"the connection is not kept: {more} more for {len(times)} requests",
                "speak HTTP/1.1 with keep-alive: each new connection costs a round trip, with TLS three",
            )
    if not visit.subjects:
        yield skip("no project")


def not_modified(visit: Visit) -> Iterator[Verdict]:
    """A page that the client has already."""
    for subject in visit.subjects[:1]:
        headers, answer = revalidated(visit, subject)
        ask = partial(visit.client.get, subject.url, PIP, headers=headers)
        if answer.status == 304:
            yield from _told(_times(visit.request.rounds, ask), "304")
        else:
            yield skip("no 304")
    if not visit.subjects:
        yield skip("no project")


def file(visit: Visit) -> Iterator[Verdict]:
    """Until the first byte of a small file comes."""
    for entry in visit.samples[:1]:
        ask = partial(visit.client.ask, "GET", entry.url, headers={"Accept-Encoding": "identity"})
        yield from _told(_times(visit.request.rounds, ask), "first byte of a file")
    if not visit.samples:
        yield skip("no files")


def _times(rounds: int, ask: Callable[[], Exchange]) -> list[float]:
    """Seconds to the first byte, sorted; as many rounds as go into the time."""
    until = time.monotonic() + _BUDGET
    times: list[float] = []
    while len(times) < rounds and (len(times) < _FEWEST or time.monotonic() < until):
        times.append(ask().first_byte)
    return sorted(times)


def _told(times: Sequence[float], what: str) -> Iterator[Verdict]:
    median, worst = _percentile(times, 50), _percentile(times, 99)
    told = f"{what}: p50 {_milliseconds(median)}, p99 {_milliseconds(worst)} of {len(times)}"
    yield (
        warn(told, "pip asks for a page a dependency: look at the server, or come nearer")
        if median > _SLOW
        else ok(told)
    )


def _percentile(times: Sequence[float], percent: int) -> float:
    """The nearest rank."""
    return times[max(0, math.ceil(len(times) * percent / 100) - 1)]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
