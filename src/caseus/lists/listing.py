"""A list of projects as it lies in its file: which bytes of it, in which order, make the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple
from zlib import crc32

import msgspec

from caseus import gzips
from caseus.render import ListForm

Coding = Literal["", "gzip"]


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Bytes of the file: from where, how many, and their digest."""

    start: int
    length: int
    digest: bytes


class Shard(msgspec.Struct, frozen=True, array_like=True):
    """Some thousand projects. `last`: the name of the last; `closed`: it ends at a cut; `crc`: of the plain bytes."""

    last: str
    closed: bool
    crc: int
    plain: Part
    deflated: Part


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a list beside its bytes.

    `key`: what it was made by besides the catalog's facts; `serial`: the catalog's, up to which it is right; `file`:
    the name of the file with the bytes; `trailer`: what ends the gzip stream.
    """

    key: str
    serial: int
    file: str
    shards: tuple[Shard, ...]
    trailer: bytes


class _Frame(NamedTuple):
    """What stands before, between and behind the shards."""

    head: bytes
    between: bytes
    tail: bytes


class Listing:
    """A page that can be sent: of some names, in one form, with and without gzip."""

    def __init__(self, form: ListForm, contents: Contents) -> None:
        self.contents = contents
        self._frames: dict[Coding, _Frame] = {
            "": _Frame(form.head, form.between, form.tail),
            "gzip": _Frame(
                gzips.HEAD + gzips.deflate(form.head),
                gzips.deflate(form.between) if form.between else b"",
                gzips.deflate(form.tail, last=True) + contents.trailer,
            ),
        }

    def pieces(self, coding: Coding) -> Iterator[bytes | Part]:
        """What the page is made of, in its order: bytes, and parts of the file."""
        frame = self._frames[coding]
        yield frame.head
        for number, part in enumerate(self._parts(coding)):
            if number and frame.between:
                yield frame.between
            yield part
        yield frame.tail

    def length(self, coding: Coding) -> int:
        """Bytes of the page."""
        return sum(piece.length if isinstance(piece, Part) else len(piece) for piece in self.pieces(coding))

    def etag(self, content_type: str, coding: Coding) -> str:
        """Strong, with its quotes: of all that the page is made of, and of how it is told to be read."""
        digest = blake2b(digest_size=16, key=f"{content_type};{coding}".encode()[:64])
        for piece in self.pieces(coding):
            digest.update(piece.digest if isinstance(piece, Part) else piece)
        return f'"{digest.hexdigest()}"'

    def _parts(self, coding: Coding) -> Iterator[Part]:
        return (shard.deflated if coding else shard.plain for shard in self.contents.shards)


def trailer(form: ListForm, shards: Sequence[Shard]) -> bytes:
    """What ends the gzip stream of a page of these shards."""
    crc, length = crc32(form.head), len(form.head)
    for number, shard in enumerate(shards):
        between = form.between if number else b""
        crc = gzips.joined_crc(crc32(between, crc), shard.crc, shard.plain.length)
        length += len(between) + shard.plain.length
    return gzips.trailer(crc32(form.tail, crc), length + len(form.tail))
