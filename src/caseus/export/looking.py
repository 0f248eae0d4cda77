"""A look at a piece of a list: where its lines are, whose they are, and what is wrong with those that can't be used."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

import msgspec

from caseus.errors import Invalid
from caseus.export.digests import DIGEST, blake2b, digest_of
from caseus.export.entries import UNREADABLE, Decode, identify, shown
from caseus.export.memory import Memory, split
from caseus.export.report import Fault

KEPT_FAULTS: Final = 10_000
NEW: Final = -1
"""In place of a block's number: the last run did not have it."""
NO_FILE: Final = -(1 << 62)
"""The stamp of a line that tells no file that is there."""

_encode = msgspec.msgpack.Encoder().encode


class Part(msgspec.Struct, frozen=True, gc=False):
    """Lines that follow each other, from the byte `start` of the list on: `length` blocks from `block` on that the last
    run had, or so many NEW lines."""

    start: int
    block: int
    length: int


class Look(msgspec.Struct, frozen=True, gc=False):
    """Of one piece: its `parts`, and arrays of their NEW lines, as `Scan` has them; digests of the blocks they make.

    `owners` has a number of `names` for each of these; `digests` and `meanings` are sums of theirs for each name.
    `height` counts lines, all of them, blank and bad ones too.
    """

    height: int
    parts: Sequence[Part]
    starts: array[int]
    sizes: array[int]
    stamps: array[int]
    texts: bytes
    owners: array[int]
    blocks: bytes
    names: Sequence[str]
    digests: Sequence[int]
    meanings: Sequence[int]
    faults: Sequence[Fault]
    bad: int


class Looker:
    """Looks at one piece, `data`, which begins at the byte `start` of the list. `meant`: what lines mean is wanted."""

    def __init__(self, data: bytes, start: int, decode: Decode, memory: Memory | None, *, meant: bool) -> None:
        self._data, self._start, self._decode, self._memory, self._meant = data, start, decode, memory, meant
        self._numbers: dict[str, int] = {}
        self._digests: list[int] = []
        self._meanings: list[int] = []
        self._faults: list[Fault] = []
        self._bad = 0
        self._parts: list[Part] = []
        self._sizes = array("I")
        self._ended = 0  # how many of the new lines are in parts
        self._blocks: list[bytes] = []

    def look(self) -> Look:
        data, start, sizes, number_of = self._data, self._start, self._sizes, int.from_bytes
        digests, numbers, find, read = self._digests, self._numbers, self._data.find, self._read
        heads = self._memory.heads if self._memory is not None else {}
        starts, stamps, owners = array("Q"), array("q"), array("I")
        texts: list[bytes] = []
        at = part = height = 0  # `part`: where those lines began that follow each other until now
        while at < len(data):
            stop = find(b"\n", at) + 1 or len(data)
            height += 1
            text = data[at:stop].strip()
            digest = blake2b(text, digest_size=DIGEST).digest()
            if digest in heads and (size := self._known(heads[digest], part, at)):
                height += data.count(b"\n", stop, at + size)
                part = at = at + size
                continue
            name, stamp = read(height, text) if text else ("", 0)
            if name:
                if (number := numbers.get(name)) is None:
                    number = self._number(name)
                digests[number] += number_of(digest, "little")  # a sum: their order does not matter
                starts.append(start + at)
                sizes.append(stop - at)
                stamps.append(stamp)
                owners.append(number)
                texts.append(digest)
            else:
                self._end(part, at)
                part = stop
            at = stop
        self._end(part, at)
        arrays = (starts, sizes, stamps, b"".join(texts), owners, b"".join(self._blocks))
        rest = (list(self._numbers), digests, self._meanings, self._faults, self._bad)
        return Look(height, self._parts, *arrays, *rest)

    def _known(self, block: int, part: int, at: int) -> int:
        """How many bytes the block and those behind it have that are here; new lines from `part` on end before it."""
        assert self._memory is not None
        behind, stop = self._memory.follow(block, self._data, at)
        if behind > block:
            self._end(part, at)
            self._parts.append(Part(self._start + at, block, behind - block))
        return stop - at

    def _end(self, part: int, stop: int) -> None:
        """Of new lines, which have these bytes."""
        first, self._ended = self._ended, len(self._sizes)
        if first == self._ended:
            return
        self._parts.append(Part(self._start + part, NEW, self._ended - first))
        for lines in split(self._ended - first):
            size = sum(self._sizes[first : first + lines])
            self._blocks.append(digest_of(self._data[part : part + size]))
            first, part = first + lines, part + size
        assert part == stop

    def _read(self, number: int, text: bytes) -> tuple[str, int]:
        """Project, and when the file was uploaded, in Unix seconds: 0 if that is not told, NO_FILE if there is none.

        No project where the line can't be used.
        """
        try:
            entry = self._decode(text)
            name, _ = identify(entry)
        except (*UNREADABLE, Invalid) as error:
            self._bad += 1
            if len(self._faults) < KEPT_FAULTS:
                self._faults.append(Fault(number, shown(text), str(error)))
            return "", 0
        if self._meant:
            meaning = blake2b(_encode(entry), digest_size=DIGEST).digest()
            self._meanings[self._number(name)] += int.from_bytes(meaning, "little")
        if not entry.filename or entry.deleted is not None:
            return name, NO_FILE
        return name, int(entry.uploaded or 0)

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._digests)
            self._digests.append(0)
            if self._meant:
                self._meanings.append(0)
        return number
