"""Where the list of projects is cut into shards: at names that say so themselves.

So the cuts, and with them the bytes and ETags, depend on nothing but the names: every process, at every start, makes
the same of the same. A name that comes or goes moves no cut but those near it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar
from zlib import crc32

import msgspec

LEAST: Final = 2048
MOST: Final = 8192
_ONE_IN: Final = 2048
"""A shard has so many names at least and at most, half of the most on average: some 256 KiB of HTML."""

Names = Callable[[str], Iterator[str]]
"""Those that sort behind one, in order; "" for all."""


class Cut(msgspec.Struct, frozen=True):
    """The names of one shard, never none. `closed`: it ended at a cut, not where the names did."""

    names: tuple[str, ...]
    closed: bool


class Cutting(Protocol):
    """What is asked of a shard that was made before."""

    @property
    def last(self) -> str: ...  # its last name
    @property
    def closed(self) -> bool: ...


Shard = TypeVar("Shard", bound=Cutting)


def cut(names: Iterable[str]) -> Iterator[Cut]:
    """All names, in their order, in shards."""
    found: list[str] = []
    for name in names:
        found.append(name)
        if len(found) >= LEAST and (len(found) == MOST or crc32(name.encode()) % _ONE_IN == 0):
            yield Cut(tuple(found), True)
            found = []
    if found:
        yield Cut(tuple(found), False)


def follow(old: Sequence[Shard], flips: Iterable[str], names: Names, make: Callable[[Cut], Shard]) -> list[Shard]:
    """The shards as `cut` would now make them of all names.

    `flips` are the names that came or went since the `old` ones were made; no other shards are looked at than those
    that they fall into, and a few behind, until a cut falls where one fell before.
    """
    shards: list[Shard] = []
    rest, waiting = deque(old), deque(sorted(set(flips)))
    while rest or waiting:
        if rest and (not waiting or (rest[0].closed and waiting[0] > rest[0].last)):
            shards.append(rest.popleft())
        elif not _follow_change(shards, rest, waiting, names, make):
            break
    return shards


def _follow_change(
    shards: list[Shard], rest: deque[Shard], waiting: deque[str], names: Names, make: Callable[[Cut], Shard]
) -> bool:
    """Cut anew from where `shards` end; False if the names ended, and with them whatever was left of the old ones."""
    for new in cut(names(shards[-1].last if shards else "")):
        shards.append(make(new))
        end, met = new.names[-1], False
        while rest and rest[0].last <= end:
            met = rest.popleft().last == end
        while waiting and waiting[0] <= end:
            waiting.popleft()
        if new.closed and met:
            return True
    return False
