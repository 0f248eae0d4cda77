"""The changelog: a row of each file, newest first, in pages.

A row is rendered while its project's other pages are; one whose line did not change is taken of the last run's page.
"""

from __future__ import annotations

import io
import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, cast

from caseus.export import workers
from caseus.export.build import Built
from caseus.export.classic import changelog_frame, changelog_rows
from caseus.export.digests import DIGEST
from caseus.export.entries import owner
from caseus.export.found import Links, release_of
from caseus.export.options import Options
from caseus.export.scan import Scan
from caseus.export.scratch import Piece, Scratch
from caseus.export.target import Target
from caseus.export.writing import Counts, Writer, total

PAGE_ENTRIES: Final = 5000
"""Rows of one page."""

_FEW: Final = 4  # pages that are made in the time in which a helper starts
_OFFSET: Final = 40  # bits of a place that tell where in its share it is
_MASK: Final = (1 << _OFFSET) - 1
_WINDOW: Final = 16 << 10  # about as much of a share as a page has of it
_NOWHERE: Final = (0, b"")
_ROW: Final = b"<tr><td>"


class Rows:
    """Files as they were built, whose shares follow each other; `lines` has the numbers of their lines.

    Those that were rendered are in `scratch`.
    """

    def __init__(self, built: Iterable[Built], scratch: Scratch) -> None:
        self._scratch = scratch
        self._pieces: list[Piece] = []
        self.lines, self._sizes, self._places = array("I"), array("I"), array("Q")
        for share, each in enumerate(built):
            self.lines += each.order
            self._sizes += each.sizes
            self._pieces.append(each.rows)
            self._places.extend(accumulate(each.sizes, initial=share << _OFFSET))
            self._places.pop()

    def newest_first(self, scan: Scan) -> Sequence[int]:
        """Places in `lines`; those of one moment stay in their order. Most come in the right one, by share."""
        stamps = [scan.stamps[line] for line in self.lines]
        return array("I", sorted(range(len(stamps)), key=stamps.__getitem__, reverse=True))

    def at(self, places: Iterable[int]) -> Iterator[bytes]:
        """The rows; empty ones where they were not rendered."""
        sizes, starts = self._sizes, self._places
        windows: dict[int, tuple[int, bytes]] = {}  # share to where it is read
        for place in places:
            size, start = sizes[place], starts[place]
            begin, data = windows.get(start >> _OFFSET, _NOWHERE)
            if not begin <= start <= begin + len(data) - size:
                begin, data = windows[start >> _OFFSET] = start, self._read(start, max(size, _WINDOW))
            yield data[start - begin : start - begin + size]

    def _read(self, start: int, size: int) -> bytes:
        """From there on, as far as the share goes."""
        file, first, whole = self._pieces[start >> _OFFSET]
        at = start & _MASK
        return os.pread(self._scratch.descriptors[file], min(size, whole - at), first + at)


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
            places, writer = self._newest[(number - 1) * PAGE_ENTRIES : number * PAGE_ENTRIES], new_writer()
            texts = self._texts(places)
            told = b"".join(texts)
            if (told, self._count) == self._known_page(number):
                return told, Counts(kept=1 + len(self._options.compress))
            rows = self._rows_at(places, texts, self._old_rows(number, writer.target))
            writer.put(_key(number), _page(changelog_frame(number, self._count, self._options), rows))
            return told, writer.counts

        made = workers.run(jobs if self._count > _FEW else 1, range(1, self._count + 1), page)
        return b"".join([told for told, _ in made]), total([counts for _, counts in made])

    def _texts(self, places: Iterable[int]) -> list[bytes]:
        texts, lines = self._scan.texts, map(self._rows.lines.__getitem__, places)
        return [texts[line * DIGEST : (line + 1) * DIGEST] for line in lines]

    def _rows_at(self, places: Sequence[int], texts: Iterable[bytes], old: Mapping[bytes, bytes]) -> Iterable[bytes]:
        if not old:
            return self._new_rows(places)
        rows = list(map(old.get, texts))
        missing = [number for number, row in enumerate(rows) if row is None]
        for number, row in zip(missing, self._new_rows([places[number] for number in missing]), strict=True):
            rows[number] = row
        return cast(list[bytes], rows)

    def _new_rows(self, places: Sequence[int]) -> Iterator[bytes]:
        lines = self._rows.lines
        for at, row in zip(places, self._rows.at(places), strict=True):
            yield row or self._rendered(lines[at])

    def _known_page(self, number: int) -> tuple[bytes, int] | None:
        """Of the page that had the number: digests of its lines' texts; and how many pages there were."""
        if self._known is None:
            return None
        size = PAGE_ENTRIES * DIGEST
        return self._known[(number - 1) * size : number * size], _pages(len(self._known) // DIGEST)

    def _old_rows(self, number: int, target: Target) -> Mapping[bytes, bytes]:
        """Of the page that had the number: digest of a line's text to its row."""
        known = self._known_page(number)
        data = target.read(_key(number)) if known is not None else None
        if known is None or data is None:
            return {}
        texts = [known[0][at : at + DIGEST] for at in range(0, len(known[0]), DIGEST)]
        rows = [line for line in data.splitlines(keepends=True) if line.startswith(_ROW)]
        return dict(zip(texts, rows, strict=True)) if len(rows) == len(texts) else {}

    def _rendered(self, line: int) -> bytes:
        scan = self._scan
        releases = [release_of(line, scan.decode(scan.line(line).strip()))]
        project, _ = owner(releases[0].entry)
        return changelog_rows(releases, self._links.in_changelog(project, releases, self._links.in_html(releases)))[0]


def _key(number: int) -> str:
    return f"changelog/page{number}.html"


def _pages(files: int) -> int:
    return max(1, math.ceil(files / PAGE_ENTRIES))  # the page at the top leads to the first


def _page(frame: tuple[bytes, bytes], rows: Iterable[bytes]) -> bytes:
    page = io.BytesIO()  # takes less memory than joining them
    page.write(frame[0])
    page.writelines(rows)
    page.write(frame[1])
    return page.getvalue()
