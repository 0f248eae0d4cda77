"""The first look at a list: where each line is, whose it is, and what is wrong with those that can't be used."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

from caseus.export import workers
from caseus.export.digests import DIGEST
from caseus.export.entries import Decode
from caseus.export.looking import KEPT_FAULTS, NEW, Look, Looker
from caseus.export.memory import Memory, Noted, split
from caseus.export.report import Fault
from caseus.export.spool import Spool

_LEAST_PIECE: Final = 128 << 10
_MOST_PIECE: Final = 4 << 20
_HOT_PIECE: Final = 512 << 10  # what is just digested is near the processor still when it is read
_PIECES_A_JOB: Final = 8
_MASK: Final = (1 << 8 * DIGEST) - 1
_NOTHING: Final = Memory(Noted(), (), ())


class Scan:
    """The lines of a list that can be used, in their order, by numbers from 0.

    `starts`, `sizes`: where they are. `stamps`: when they were uploaded, in Unix seconds, 0 if that is not told.
    `texts`: 16 bytes each, which tell their texts apart. `before`: their numbers in the list of the last run, as far as
    that is remembered, else NEW. `counts`, `blocks`: as `Noted` has them. `lines`: project to
    the numbers of its lines. `digests`: project to 16 bytes that change with its lines, but not with their order;
    `meanings`: that change with what they say, however it is written, where this was asked for.
    """

    def __init__(self, spool: Spool, decode: Decode) -> None:
        self.spool, self.decode = spool, decode
        self.starts, self.sizes, self.stamps, self.counts = array("Q"), array("I"), array("q"), array("I")
        self.before = array("i")
        self.texts = self.blocks = b""
        self.lines: dict[str, array[int]] = {}
        self.digests: dict[str, bytes] = {}
        self.meanings: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.bad = 0

    def line(self, number: int) -> bytes:
        """With the blanks around it."""
        start = self.starts[number]
        return self.spool.read(start, start + self.sizes[number])

    def lines_of(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Without the blanks around them."""
        read, starts, sizes = self.spool.read, self.starts, self.sizes
        for number in self.lines[name]:
            start = starts[number]
            yield number, read(start, start + sizes[number]).strip()


class Seen:
    """A list that was looked at, piece by piece."""

    def __init__(self, spool: Spool, decode: Decode, looks: Sequence[Look], memory: Memory) -> None:
        self._spool, self._decode, self._looks, self._memory = spool, decode, looks, memory

    @property
    def is_known(self) -> bool:
        """Whether it has just the lines of the last run's list, in their order."""
        blocks = 0
        for look in self._looks:
            for part in look.parts:
                if look.bad or part.block != blocks:
                    return False
                blocks += part.length
        return 0 < blocks == len(self._memory.counts)

    def scan(self) -> Scan:
        return _Joiner(Scan(self._spool, self._decode), self._memory).join(self._looks)


def look(
    spool: Spool,
    decode: Decode,
    jobs: int,
    memory: Memory | None = None,
    *,
    meanings: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> Seen:
    """`memory` is of lines of the same kind, read by the same rules. `meanwhile` as for `workers.run`. Unavailable."""
    known = None if meanings else memory  # it does not tell what lines mean
    size = min(
        max(spool.size // (jobs * _PIECES_A_JOB) + 1, _LEAST_PIECE), _MOST_PIECE if known is None else _HOT_PIECE
    )
    pieces = spool.pieces(max(size, spool.size // 2000), known.begin if known is not None else None)

    def look_at(piece: tuple[int, int]) -> Look:
        return Looker(spool.read(*piece), piece[0], decode, known, meant=meanings).look()

    looks = workers.run(jobs, pieces, look_at, meanwhile)
    return Seen(spool, decode, looks, known or _NOTHING)


def scan(spool: Spool, decode: Decode, jobs: int, *, meanings: bool = False) -> Scan:
    """Of a list of which nothing is known. Unavailable."""
    return look(spool, decode, jobs, meanings=meanings).scan()


class _Joiner:
    """Puts together what was seen and what the last run knew of it."""

    def __init__(self, found: Scan, memory: Memory) -> None:
        self._found, self._memory = found, memory
        self._texts, self._blocks = bytearray(), bytearray()
        self._lines: dict[str, array[int]] = {name: array("I") for name in memory.names}
        self._known = list(self._lines.values())
        self._kept: list[tuple[int, int]] = []

    def join(self, looks: Sequence[Look]) -> Scan:
        found = self._found
        digests: dict[str, int] = {}
        meanings: dict[str, int] = {}
        height = 0
        for look in looks:
            self._take(look)
            for name, digest in zip(look.names, look.digests, strict=True):
                digests[name] = digests.get(name, 0) + digest
            for name, meaning in zip(look.names, look.meanings, strict=False):  # none where this was not asked for
                meanings[name] = meanings.get(name, 0) + meaning
            found.bad += look.bad
            room = KEPT_FAULTS - len(found.faults)
            found.faults += [fault._replace(line=fault.line + height) for fault in look.faults[:room]]
            height += look.height
        found.texts, found.blocks = bytes(self._texts), bytes(self._blocks)
        found.lines = {name: lines for name, lines in self._lines.items() if lines}
        found.digests = self._digests(digests)
        found.meanings = {name: _bytes(meaning) for name, meaning in meanings.items()}
        return found

    def _take(self, look: Look) -> None:
        own = [self._lines.get(name) or self._lines.setdefault(name, array("I")) for name in look.names]
        line = block = 0
        for part in look.parts:
            if part.block != NEW:
                self._keep(part.start, part.block, part.block + part.length)
                continue
            stop, counts = line + part.length, split(part.length)
            self._append(own, look.owners[line:stop], look.starts[line:stop], look.sizes[line:stop])
            self._found.stamps += look.stamps[line:stop]
            self._found.before += array("i", [NEW]) * part.length
            self._found.counts.extend(counts)
            self._texts += look.texts[line * DIGEST : stop * DIGEST]
            self._blocks += look.blocks[block * DIGEST : (block + len(counts)) * DIGEST]
            line, block = stop, block + len(counts)

    def _keep(self, start: int, first: int, behind: int) -> None:
        """Blocks that the last run had, which are at `start` now."""
        memory = self._memory
        begin, end = memory.firsts[first], memory.firsts[behind]
        sizes = memory.sizes[begin:end]
        starts = array("Q", accumulate(sizes, initial=start))
        starts.pop()
        self._append(self._known, memory.owners[begin:end], starts, sizes)
        self._found.stamps += memory.stamps[begin:end]
        self._found.before.extend(range(begin, end))
        self._found.counts += memory.counts[first:behind]
        self._texts += memory.texts[begin * DIGEST : end * DIGEST]
        self._blocks += memory.blocks[first * DIGEST : behind * DIGEST]
        self._kept.append((begin, end))

    def _append(self, own: Sequence[array[int]], owners: array[int], starts: array[int], sizes: array[int]) -> None:
        for number, owner in enumerate(owners, len(self._found.starts)):
            own[owner].append(number)
        self._found.starts += starts
        self._found.sizes += sizes

    def _digests(self, new: dict[str, int]) -> dict[str, bytes]:
        """Of all projects; `new`: sums of their new lines."""
        memory = self._memory
        found = dict(zip(memory.names, memory.digests, strict=True))
        changes = self._changes(new)
        for name in found.keys() - self._found.lines.keys():
            del found[name]
        for name in self._found.lines:
            known = found.get(name)
            if known == b"":
                found[name] = _bytes(sum(_number(self._found.texts, line) for line in self._found.lines[name]))
            elif name in changes:
                found[name] = _bytes(int.from_bytes(known or b"", "little") + changes[name])
        return found

    def _changes(self, new: dict[str, int]) -> dict[str, int]:
        """`new`, less what is not there any more. A block may be there more than once."""
        memory, changes, behind = self._memory, dict(new), 0

        def change(first: int, end: int, sign: int) -> None:
            for line in range(first, end):
                name = memory.names[memory.owners[line]]
                changes[name] = changes.get(name, 0) + sign * _number(memory.texts, line)

        for begin, end in sorted([*self._kept, (len(memory.owners), len(memory.owners))]):
            change(behind, begin, -1)
            change(begin, min(behind, end), 1)
            behind = max(behind, end)
        return changes


def _number(texts: bytes, line: int) -> int:
    return int.from_bytes(texts[line * DIGEST : (line + 1) * DIGEST], "little")


def _bytes(total: int) -> bytes:
    return (total & _MASK).to_bytes(DIGEST, "little")


def shares(counts: Sequence[int], parts: int) -> list[tuple[int, int]]:
    """(first, one behind the last) of at most `parts` runs in which about the same is to do."""
    sums = list(accumulate(counts, initial=0))
    cuts = sorted({bisect_right(sums, sums[-1] * part / parts) - 1 for part in range(parts)} | {0, len(counts)})
    return list(pairwise(cuts))
