"""A request and its answer, as a check looks at them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PAGE_LIMIT: Final = 32 << 20


@dataclass(frozen=True)
class Exchange:
    """A request and its answer. Times in seconds since it was sent, `first_byte` with connecting where that was new."""

    method: str
    url: str
    """Where the answer came from, after redirects; without user and password."""
    status: int
    reason: str
    headers: Mapping[str, str]
    """Names in any case; repeated ones are joined by `, `."""
    raw: bytes
    """The body as it was sent, of which no more than the limit was read."""
    cut: bool
    """There was more of it than the limit."""
    first_byte: float
    hops: tuple[str, ...] = ()

    def header(self, name: str) -> str:
        return self.headers.get(name) or ""

    def words(self, name: str) -> set[str]:
        """The items of a header that is a list, in lower case."""
        return {word.strip().lower() for word in self.header(name).split(",") if word.strip()}

    @property
    def media_type(self) -> str:
        return self.header("Content-Type").partition(";")[0].strip().lower()

    @property
    def coding(self) -> str:
        """Content-Encoding; "" for none."""
        coding = self.header("Content-Encoding").strip().lower()
        return "" if coding == "identity" else coding

    @property
    def body(self) -> bytes:
        """Decoded from gzip; ValueError for what can't be, or grows over the limit."""
        if self.coding not in ("gzip", "x-gzip"):
            return self.raw
        try:
            inflater = zlib.decompressobj(31)
            body = inflater.decompress(self.raw, PAGE_LIMIT)
        except zlib.error:
            raise ValueError("its gzip can't be read") from None
        if not inflater.eof and not self.cut:
            raise ValueError("its gzip is cut off, or grows beyond reason")
        return body

    @property
    def said(self) -> str:
        """Status and reason phrase."""
        return f"{self.status} {self.reason}".strip()
