"""The first look at a list: where each line is, whose it is, and what is wrong with those that can't be used."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import msgspec

from caseus.errors import Invalid
from caseus.export import workers
from caseus.export.digests import DIGEST, blake2b
from caseus.export.entries import UNREADABLE, Decode, Entry, identify, shown
from caseus.export.report import Fault
from caseus.export.spool import Spool

_LEAST_PIECE: Final = 128 << 10
_MOST_PIECE: Final = 4 << 20
_PIECES_A_JOB: Final = 8
_KEPT_FAULTS: Final = 10_000
_MASK: Final = (1 << 8 * DIGEST) - 1

NO_FILE: Final = -(1 << 62)
"""The stamp of a line that tells no file that is there."""

_encode = msgspec.msgpack.Encoder().encode


class Memory(NamedTuple):
    """What an earlier run knew of its lines, by the digests of their texts: (project, stamp) each."""

    lines: Mapping[bytes, int]
    owners: Sequence[int]
    stamps: Sequence[int]
    names: Sequence[str]


class Scan:
    """The lines of a list that can be used, in their order, by numbers from 0.

    `starts`, `sizes`: where they are. `stamps`: when they were uploaded, in Unix seconds, 0 if that is not told.
    `texts`: 16 bytes each, which tell their texts apart. `lines`: project to the numbers of its lines. `digests`:
    project to 16 bytes that change with its lines, but not with their order; `meanings`: that change with what they
    say, however it is written, where this was asked for.
    """

    def __init__(self, spool: Spool, decode: Decode) -> None:
        self.spool, self.decode = spool, decode
        self.starts, self.sizes, self.stamps = array("Q"), array("I"), array("q")
        self.texts = b""
        self.lines: dict[str, array[int]] = {}
        self.digests: dict[str, bytes] = {}
        self.meanings: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.bad = 0

    def line(self, number: int) -> bytes:
        start = self.starts[number]
        return self.spool.read(start, start + self.sizes[number])

    def lines_of(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Without the blanks around them."""
        read, starts, sizes = self.spool.read, self.starts, self.sizes
        for number in self.lines[name]:
            start = starts[number]
            yield number, read(start, start + sizes[number]).strip()


def scan(spool: Spool, decode: Decode, jobs: int, memory: Memory | None = None, *, meanings: bool = False) -> Scan:
    """`memory` is of lines of the same kind, read by the same rules. Unavailable."""
    size = min(max(spool.size // (jobs * _PIECES_A_JOB) + 1, _LEAST_PIECE), _MOST_PIECE)
    pieces = spool.pieces(max(size, spool.size // 2000))
    known = None if meanings else memory  # it does not tell what lines mean
    looked = workers.run(
        jobs, pieces, lambda piece: _Looker(decode, known, meanings).look(spool.read(*piece), piece[0])
    )
    return _joined(Scan(spool, decode), looked)


class _Look(NamedTuple):
    """Of one piece: `owners` has a number of `names` for each line; `height` counts lines, blank and bad ones too."""

    height: int
    starts: array[int]
    sizes: array[int]
    stamps: array[int]
    texts: bytes
    owners: array[int]
    names: Sequence[str]
    digests: Sequence[int]
    meanings: Sequence[int]
    faults: Sequence[Fault]
    bad: int


class _Looker:
    """Looks at one piece."""

    def __init__(self, decode: Decode, memory: Memory | None, meanings: bool) -> None:
        self._decode, self._meant = decode, meanings
        self._memory = memory or Memory({}, (), (), ())
        self._numbers: dict[str, int] = {}
        self._digests: list[int] = []
        self._meanings: list[int] = []
        self._faults: list[Fault] = []
        self._bad = 0

    def look(self, data: bytes, start: int) -> _Look:
        starts, sizes, stamps, owners = array("Q"), array("I"), array("q"), array("I")
        texts: list[bytes] = []
        digests, number_of = self._digests, int.from_bytes
        recall, known, told, names = self._memory
        again: dict[int, int] = {}  # numbers of projects: an earlier run's to ours
        height = 0
        for height, line in enumerate(data.split(b"\n"), 1):
            size = len(line)
            if text := line.strip():
                digest = blake2b(text, digest_size=DIGEST).digest()
                at = recall.get(digest)
                if at is not None:
                    owner, stamp = known[at], told[at]
                    number = again.get(owner)
                    if number is None:
                        number = again[owner] = self._number(names[owner])
                else:
                    name, stamp = self._read(height, text)
                    number = self._number(name) if name else -1
                if number >= 0:
                    digests[number] += number_of(digest, "little")  # a sum: their order does not matter
                    starts.append(start)
                    sizes.append(size)
                    stamps.append(stamp)
                    owners.append(number)
                    texts.append(digest)
            start += size + 1
        if data.endswith(b"\n"):
            height -= 1
        rest = (list(self._numbers), digests, self._meanings, self._faults, self._bad)
        return _Look(height, starts, sizes, stamps, b"".join(texts), owners, *rest)

    def _read(self, number: int, text: bytes) -> tuple[str, int]:
        """Project and stamp; no project where the line can't be used."""
        try:
            entry = self._decode(text)
            name, _ = identify(entry)
            stamp = _stamp(entry)
        except (*UNREADABLE, Invalid) as error:
            self._bad += 1
            if len(self._faults) < _KEPT_FAULTS:
                self._faults.append(Fault(number, shown(text), str(error)))
            return "", 0
        if self._meant:
            meaning = blake2b(_encode(entry), digest_size=DIGEST).digest()
            self._meanings[self._number(name)] += int.from_bytes(meaning, "little")
        return name, stamp

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._digests)
            self._digests.append(0)
            if self._meant:
                self._meanings.append(0)
        return number


def _stamp(entry: Entry) -> int:
    """When the file was uploaded, in Unix seconds; 0 if that is not told, NO_FILE if there is none."""
    if not entry.filename or entry.deleted is not None:
        return NO_FILE
    return int(entry.uploaded or 0)


def _joined(found: Scan, looks: Iterable[_Look]) -> Scan:
    digests: dict[str, int] = {}
    meanings: dict[str, int] = {}
    texts = bytearray()
    before = first = 0
    for look in looks:
        found.starts += look.starts
        found.sizes += look.sizes
        found.stamps += look.stamps
        texts += look.texts
        own: list[array[int]] = []
        for name, digest in zip(look.names, look.digests, strict=True):
            lines = found.lines.get(name)
            if lines is None:
                lines = found.lines[name] = array("I")
                digests[name] = digest
            else:
                digests[name] += digest
            own.append(lines)
        for number, owner in enumerate(look.owners, first):
            own[owner].append(number)
        for name, meaning in zip(look.names, look.meanings, strict=False):  # none where this was not asked for
            meanings[name] = meanings.get(name, 0) + meaning
        found.bad += look.bad
        room = _KEPT_FAULTS - len(found.faults)
        found.faults += [fault._replace(line=fault.line + before) for fault in look.faults[:room]]
        before += look.height
        first += len(look.starts)
    found.texts = bytes(texts)
    found.digests = {name: _bytes(digest) for name, digest in digests.items()}
    found.meanings = {name: _bytes(meaning) for name, meaning in meanings.items()}
    return found


def _bytes(total: int) -> bytes:
    return (total & _MASK).to_bytes(DIGEST, "little")


def shares(counts: Sequence[int], parts: int) -> list[tuple[int, int]]:
    """(first, one behind the last) of at most `parts` runs in which about the same is to do."""
    sums = list(accumulate(counts, initial=0))
    cuts = sorted({bisect_right(sums, sums[-1] * part / parts) - 1 for part in range(parts)} | {0, len(counts)})
    return list(pairwise(cuts))
