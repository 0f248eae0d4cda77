"""A page ready to go: its variants, and the headers that go with each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from deflate import gzip_compress

from caseus.model import Validity
from caseus.render import ContentType, make_page
from caseus.render.pieces import Piece, Pieced
from caseus.web.answers import LOCKED_POLICY, PAGE_SECURITY, Headers, header_lines
from caseus.web.caching import page_headers, vary
from caseus.web.judge import Made
from caseus.web.negotiate import Coding

GZIP_LEVEL: Final = 5
ZSTD_LEVEL: Final = 1
"""Fixed, as neither has a time stamp: else every worker would make another ETag of the same page."""
_COMPRESSED_FROM: Final = 1024
_OVERHEAD: Final = 1024


class Told:
    """Headers of an answer: in full, and of a 304; both also as bytes of HTTP/1.1. `until`: Unix seconds."""

    __slots__ = ("full", "full_lines", "unchanged", "unchanged_lines", "until")

    def __init__(self, full: Headers, unchanged: Headers, until: float = math.inf) -> None:
        self.full, self.unchanged, self.until = full, unchanged, until
        self.full_lines, self.unchanged_lines = header_lines(full), header_lines(unchanged)


class Variant:
    """The page in one coding."""

    __slots__ = ("body", "coding", "etag", "latest")

    def __init__(self, body: bytes, etag: str, coding: Coding) -> None:
        self.body, self.etag, self.coding = body, etag, coding
        self.latest: Told | None = None

    def again(self) -> Variant:
        """The same bytes, of which nothing was told yet."""
        return Variant(self.body, self.etag, self.coding)

    def told(self, ready: Ready, now: float) -> Told:
        """What is told with it at that time."""
        told = self.latest
        if told is None or now >= told.until:
            told = self.latest = self._tell(ready, now)
        return told

    def _tell(self, ready: Ready, now: float) -> Told:
        caching, until = page_headers(hosted=ready.hosted, validity=ready.validity, now=now, private=ready.private)
        unchanged = (
            ("ETag", self.etag), *caching, *vary("Accept", "Accept-Encoding", private=ready.private)
        )  # fmt: skip
        charset = "; charset=utf-8" if ready.content_type.startswith("text/") else ""
        full = (
            ("Content-Type", ready.content_type + charset),
            *((("Content-Encoding", self.coding),) if self.coding else ()),
            *unchanged,
            ("Content-Security-Policy", LOCKED_POLICY),
            *PAGE_SECURITY,
        )
        return Told(full, unchanged, until)


@dataclass(slots=True, kw_only=True)
class Ready(Made):
    """A page. `variants`: those that were made so far; a coding that gains nothing stands for the plain one.

    `pieces`: of a large one, for the next rendering of it.
    """

    content_type: ContentType
    hosted: bool
    private: bool
    pieces: tuple[Piece, ...] = ()
    variants: dict[Coding, Variant] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return self.variants[""].body

    @property
    def weight(self) -> int:
        """Bytes that it takes."""
        bodies = {id(variant): len(variant.body) for variant in self.variants.values()}
        again = self.variants.get("gzip") if self.pieces else None  # they keep what they are when compressed
        return _OVERHEAD + sum(bodies.values()) + (len(again.body) if again is not None else 0)


def make_ready(
    body: bytes,
    content_type: ContentType,
    *,
    hosted: bool,
    validity: Validity,
    serial: int,
    private: bool = False,
    of_all: bool = False,
    older: Ready | None = None,
    pieces: tuple[Piece, ...] = (),
) -> Ready:
    """The page, with its plain variant only; with all that `older` has, if that is of the same bytes."""
    plain = _variant(body, content_type, "")
    variants: dict[Coding, Variant] = {"": plain}
    if older is not None and older.variants[""].etag == plain.etag:
        useless = older.variants[""]
        for coding, variant in list(older.variants.items()):
            variants[coding] = plain if variant is useless else variant.again()
    return Ready(
        validity=validity, serial=serial, of_all=of_all, content_type=content_type, hosted=hosted, private=private,
        pieces=pieces, variants=variants,
    )  # fmt: skip


def make_variant(ready: Ready, coding: Coding) -> Variant:
    """The page in that coding, where it gets smaller by it; else the plain one. Takes a while."""
    plain = ready.variants[""]
    if not coding or len(plain.body) <= _COMPRESSED_FROM:
        return plain
    if coding == "gzip" and ready.pieces:
        compressed = Pieced(plain.body, ready.pieces).gzipped()
    else:
        compressed = _compress(plain.body, coding)
    if len(compressed) >= len(plain.body):
        return plain
    return _variant(compressed, ready.content_type, coding)


def _variant(body: bytes, content_type: ContentType, coding: Coding) -> Variant:
    return Variant(body, make_page(body, content_type, coding).etag, coding)


def _compress(body: bytes, coding: Coding) -> bytes:
    if coding == "gzip":
        return bytes(gzip_compress(body, GZIP_LEVEL))
    from zstandard import ZstdCompressor

    return ZstdCompressor(level=ZSTD_LEVEL).compress(body)
