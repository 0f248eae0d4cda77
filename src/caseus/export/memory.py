"""What the last run knew of its list, block by block: one that is there again is not looked at line by line."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from caseus.export.digests import DIGEST, digest_of

if TYPE_CHECKING:
    from caseus.export.scan import Scan

BLOCK: Final = 16
"""Lines of a block, about: of fewer, more are to be found; of more, more lines are read again with one that changed."""

_FRAGMENTS: Final = 4  # lines a block on average, of which less is not worth a note


class Noted(msgspec.Struct, frozen=True, array_like=True):
    """Of the lines of a list that can be used, in their order, as arrays: digests of their texts, numbers of their
    projects, stamps, sizes.

    `counts`, `lengths`, `digests`: of blocks, how many lines and bytes each has, and its bytes' digest. They have all
    lines, in their order, and those of one block follow each other in the list.
    """

    texts: bytes = b""
    owners: bytes = b""
    stamps: bytes = b""
    sizes: bytes = b""
    counts: bytes = b""
    lengths: bytes = b""
    digests: bytes = b""


class Memory:
    """`names`: projects by their numbers, with their `digests` as `Scan` has them, b"" where that is not known.

    `firsts`: the number of each block's first line, and that of the one behind the last.
    """

    def __init__(self, noted: Noted, names: Sequence[str], digests: Sequence[bytes]) -> None:
        self.names, self.digests = names, digests
        self.texts, self.blocks = noted.texts, noted.digests
        self.owners, self.stamps, self.sizes, self.counts = array("I"), array("q"), array("I"), array("I")
        self.owners.frombytes(noted.owners)
        self.stamps.frombytes(noted.stamps)
        self.sizes.frombytes(noted.sizes)
        self.counts.frombytes(noted.counts)
        self._lengths = array("I")
        self._lengths.frombytes(noted.lengths)
        self.firsts = array("I", accumulate(self.counts, initial=0))
        self.heads = {
            self.texts[first * DIGEST : (first + 1) * DIGEST]: block for block, first in enumerate(self.firsts[:-1])
        }
        """Digest of the first line's text to the block."""

    def follow(self, block: int, data: bytes, at: int) -> tuple[int, int]:
        """How far this block and those behind it are there: the first block that is not, and where that would begin."""
        lengths, digests = self._lengths, self.blocks
        while block < len(lengths):
            stop = at + lengths[block]
            there = data[at:stop]
            if digest_of(there) != digests[block * DIGEST : (block + 1) * DIGEST]:
                break
            if stop < len(data) and not there.endswith(b"\n"):  # the last line of its list is longer now
                break
            block, at = block + 1, stop
        return block, at

    def begin(self, data: bytes) -> int:
        """Where the first line is with which a block may begin; 0 if none is near. The data begin with a line."""
        at = 0
        for line in data.split(b"\n", 2 * BLOCK)[: 2 * BLOCK]:
            if digest_of(line.strip()) in self.heads:
                return at
            at += len(line) + 1
        return 0


def split(lines: int) -> list[int]:
    """Into blocks of about the same size."""
    blocks = max(1, round(lines / BLOCK))
    return [lines * (block + 1) // blocks - lines * block // blocks for block in range(blocks)]


def noted(scan: Scan, names: Iterable[str]) -> Noted:
    """`names`: the projects, in their order."""
    owners = array("I", bytes(4 * len(scan.starts)))
    for number, name in enumerate(names):
        for line in scan.lines[name]:
            owners[line] = number
    arrays = scan.texts, owners.tobytes(), scan.stamps.tobytes(), scan.sizes.tobytes()
    if len(scan.counts) * _FRAGMENTS > len(owners):  # many runs with a new line each leave such: they are made anew
        return Noted(*arrays)
    places = list(accumulate(scan.counts, initial=0))
    lengths = array("I", [sum(scan.sizes[first:behind]) for first, behind in pairwise(places)])
    return Noted(*arrays, scan.counts.tobytes(), lengths.tobytes(), scan.blocks)
