"""The first look at a list: where each line is, whose it is, and what is wrong with those that can't be used."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import msgspec

from caseus.errors import Invalid
from caseus.export import workers
from caseus.export.entries import UNREADABLE, Decode, Entry, identify, shown
from caseus.export.report import Fault
from caseus.export.spool import Spool

_LEAST_PIECE: Final = 256 << 10
_MOST_PIECE: Final = 4 << 20
_PIECES_A_JOB: Final = 4
_KEPT_FAULTS: Final = 10_000
_SUM_BITS: Final = 128

NO_FILE: Final = -(1 << 62)
"""The stamp of a line that tells no file that is there."""

_encode = msgspec.msgpack.Encoder().encode


class Scan:
    """The lines of a list that can be used, in their order, by numbers from 0.

    `starts`, `sizes`: where they are. `stamps`: when they were uploaded, in Unix seconds, 0 if that is not told.
    `lines`: project to the numbers of its lines. `digests`: project to 16 bytes that change with what its lines say,
    but not with their order.
    """

    def __init__(self, spool: Spool, decode: Decode) -> None:
        self.spool, self.decode = spool, decode
        self.starts, self.sizes, self.stamps = array("Q"), array("I"), array("q")
        self.lines: dict[str, array[int]] = {}
        self.digests: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.bad = 0

    def line(self, number: int) -> bytes:
        start = self.starts[number]
        return self.spool.read(start, start + self.sizes[number])

    def lines_of(self, name: str) -> Iterator[tuple[int, bytes]]:
        return ((number, self.line(number)) for number in self.lines[name])


def scan(spool: Spool, decode: Decode, jobs: int) -> Scan:
    """Unavailable."""
    size = min(max(spool.size // (jobs * _PIECES_A_JOB) + 1, _LEAST_PIECE), _MOST_PIECE)
    pieces = spool.pieces(max(size, spool.size // 2000))
    looked = workers.run(jobs, pieces, lambda piece: _look(spool.read(*piece), piece[0], decode))
    return _joined(Scan(spool, decode), looked)


class _Look(NamedTuple):
    """Of one piece: `owners` has a number of `names` for each line; `height` counts lines, blank and bad ones too."""

    height: int
    starts: array[int]
    sizes: array[int]
    stamps: array[int]
    owners: array[int]
    names: Sequence[str]
    sums: Sequence[int]
    faults: Sequence[Fault]
    bad: int


def _look(data: bytes, start: int, decode: Decode) -> _Look:
    starts, sizes, stamps, owners = array("Q"), array("I"), array("q"), array("I")
    numbers: dict[str, int] = {}
    sums: list[int] = []
    faults: list[Fault] = []
    bad, count = 0, 0
    for count, line in enumerate(data.split(b"\n"), 1):
        size = len(line)
        if text := line.strip():
            try:
                entry = decode(text)
                project, _ = identify(entry)
                stamp = stamp_of(entry)
            except (*UNREADABLE, Invalid) as error:
                bad += 1
                if len(faults) < _KEPT_FAULTS:
                    faults.append(Fault(count, shown(text), str(error)))
            else:
                number = numbers.get(project)
                if number is None:
                    number = numbers[project] = len(sums)
                    sums.append(0)
                sums[number] += weight(entry)
                starts.append(start)
                sizes.append(size)
                stamps.append(stamp)
                owners.append(number)
        start += size + 1
    if data.endswith(b"\n"):
        count -= 1
    return _Look(count, starts, sizes, stamps, owners, list(numbers), sums, faults, bad)


def stamp_of(entry: Entry) -> int:
    """When the file was uploaded, in Unix seconds; 0 if that is not told, NO_FILE if there is none."""
    if not entry.filename or entry.deleted is not None:
        return NO_FILE
    return int(entry.uploaded or 0)


def weight(entry: Entry) -> int:
    """What it says, as a number of 128 bits: those of a project's lines are summed up, whatever their order."""
    return int.from_bytes(blake2b(_encode(entry), digest_size=16).digest(), "little")


def _joined(found: Scan, looks: Iterable[_Look]) -> Scan:
    sums: dict[str, int] = {}
    before = first = 0
    for look in looks:
        found.starts += look.starts
        found.sizes += look.sizes
        found.stamps += look.stamps
        own = [found.lines.setdefault(name, array("I")) for name in look.names]
        for number, owner in enumerate(look.owners, first):
            own[owner].append(number)
        for name, amount in zip(look.names, look.sums, strict=True):
            sums[name] = sums.get(name, 0) + amount
        found.bad += look.bad
        room = _KEPT_FAULTS - len(found.faults)
        found.faults += [fault._replace(line=fault.line + before) for fault in look.faults[:room]]
        before += look.height
        first += len(look.starts)
    for name, amount in sums.items():
        found.digests[name] = (amount % 2**_SUM_BITS).to_bytes(_SUM_BITS // 8, "little")
    return found


def shares(counts: Sequence[int], parts: int) -> list[tuple[int, int]]:
    """(first, one behind the last) of at most `parts` runs in which about the same is to do."""
    sums = list(accumulate(counts, initial=0))
    cuts = sorted({bisect_right(sums, sums[-1] * part / parts) - 1 for part in range(parts)} | {0, len(counts)})
    return list(pairwise(cuts))
