"""The changelog: a row of each file, newest first, in pages.

A row is rendered while its project's other pages are; one whose line did not change is taken of the last run's page.
"""

from __future__ import annotations

import io
import math
import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import BinaryIO, Final

from caseus.export import workers
from caseus.export.classic import changelog_frame, changelog_row
from caseus.export.digests import DIGEST
from caseus.export.found import Links, release_of
from caseus.export.options import Options
from caseus.export.scan import Scan
from caseus.export.target import Target
from caseus.export.writing import Counts, Writer, total

PAGE_ENTRIES: Final = 5000
"""Rows of one page."""

_FEW: Final = 4  # pages that are made in the time in which a helper starts
_ROW: Final = b"<tr><td>"


class Rows:
    """Files by project and release: `lines` has the numbers of their lines, `sizes` how many bytes each one's row has.

    0 where it was not rendered. The rows are in `files`, one after the other; `lengths` are theirs.
    """

    def __init__(self, lines: array[int], sizes: array[int], files: Sequence[BinaryIO], lengths: Sequence[int]) -> None:
        self.lines, self._sizes = lines, sizes
        self._starts = array("Q", accumulate(sizes, initial=0))
        self._files = [file.fileno() for file in files]
        self._bases = list(accumulate(lengths, initial=0))

    def newest_first(self, scan: Scan) -> Sequence[int]:
        """Places in `lines`; those of one moment stay in their order."""
        stamps = [scan.stamps[line] for line in self.lines]
        return array("I", sorted(range(len(stamps)), key=stamps.__getitem__, reverse=True))

    def row(self, at: int) -> bytes:
        """Empty where it was not rendered."""
        size = self._sizes[at]
        if not size:
            return b""
        start = self._starts[at]
        number = bisect_right(self._bases, start) - 1
        return os.pread(self._files[number], size, start - self._bases[number])


class Changelog:
    """`known`: what `write` gave in the last run, as far as its pages are there."""

    def __init__(self, scan: Scan, rows: Rows, options: Options, known: bytes | None) -> None:
        self._scan, self._rows, self._options, self._known = scan, rows, options, known
        self._links = Links(options)
        self._newest = rows.newest_first(scan)
        self._count = _pages(len(self._newest))

    def lines(self) -> Iterator[int]:
        """Numbers of all files' lines, the newest first."""
        return map(self._rows.lines.__getitem__, self._newest)

    @property
    def keys(self) -> list[str]:
        return [_key(number) for number in range(1, self._count + 1)]

    def write(self, new_writer: Callable[[], Writer], jobs: int) -> tuple[bytes, Counts]:
        """Digests of the lines' texts, the newest first, `DIGEST` bytes each."""

        def page(number: int) -> tuple[bytes, Counts]:
            texts, writer = self._texts(number), new_writer()
            if self._known is not None and (texts, self._count) == (
                self._known_texts(number),
                _pages(len(self._known) // DIGEST),
            ):
                return texts, Counts(kept=1 + len(self._options.compress))
            writer.put(_key(number), self._page(number, texts, self._old_rows(number, writer.target)))
            return texts, writer.counts

        made = workers.run(jobs if self._count > _FEW else 1, range(1, self._count + 1), page)
        return b"".join([texts for texts, _ in made]), total([counts for _, counts in made])

    def _places(self, number: int) -> Sequence[int]:
        return self._newest[(number - 1) * PAGE_ENTRIES : number * PAGE_ENTRIES]

    def _texts(self, number: int) -> bytes:
        text, lines = self._scan.text_digest, self._rows.lines
        return b"".join([text(lines[at]) for at in self._places(number)])

    def _known_texts(self, number: int) -> bytes:
        """Of the page that had the number."""
        size = PAGE_ENTRIES * DIGEST
        return (self._known or b"")[(number - 1) * size : number * size]

    def _page(self, number: int, texts: bytes, old: Mapping[bytes, bytes]) -> bytes:
        head, tail = changelog_frame(number, self._count, self._options)
        page = io.BytesIO()
        page.write(head)
        for at, text in zip(self._places(number), _cut(texts), strict=True):
            page.write(old.get(text) or self._rows.row(at) or self._rendered(self._rows.lines[at]))
        page.write(tail)
        return page.getvalue()

    def _old_rows(self, number: int, target: Target) -> Mapping[bytes, bytes]:
        """Of the page that had the number: digest of a line's text to its row."""
        texts = self._known_texts(number)
        data = target.read(_key(number)) if texts else None
        rows = [line for line in data.splitlines(keepends=True) if line.startswith(_ROW)] if data is not None else []
        return dict(zip(_cut(texts), rows, strict=True)) if len(rows) * DIGEST == len(texts) else {}

    def _rendered(self, line: int) -> bytes:
        scan = self._scan
        return changelog_row(release_of(line, scan.decode(scan.line(line).strip())), self._links)


def _key(number: int) -> str:
    return f"changelog/page{number}.html"


def _pages(files: int) -> int:
    return max(1, math.ceil(files / PAGE_ENTRIES))  # the page at the top leads to the first


def _cut(texts: bytes) -> Iterator[bytes]:
    return (texts[at : at + DIGEST] for at in range(0, len(texts), DIGEST))
