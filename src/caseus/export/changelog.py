"""The changelog: a row of each file, newest first, in pages.

A row is rendered while its project's other pages are; one whose line did not change is taken of the last run's page.
"""

from __future__ import annotations

import io
import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Final, cast

from caseus.export.build import Built
from caseus.export.classic import changelog_frame, changelog_rows
from caseus.export.entries import owner
from caseus.export.found import Links, release_of
from caseus.export.options import Options
from caseus.export.scan import Scan
from caseus.export.scratch import Piece, Scratch
from caseus.export.target import Target
from caseus.export.writing import Counts, Writer

PAGE_ENTRIES: Final = 5000
"""Rows of one page."""

_OFFSET: Final = 40  # bits of a place that tell where in its share it is
_MASK: Final = (1 << _OFFSET) - 1
_WINDOW: Final = 4 << 10  # a third of what a page has of a share: all windows together are near the processor
_NOWHERE: Final = (0, 0, b"")
_ROW: Final = b"<tr><td>"

Task = Callable[[], tuple[bytes, Counts]]


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

    def newest_first(self, scan: Scan) -> array[int]:
        """Places in `lines`; those of one moment stay in their order. Most come in the right one, by share."""
        stamps = [scan.stamps[line] for line in self.lines]
        return array("I", sorted(range(len(stamps)), key=stamps.__getitem__, reverse=True))

    def at(self, places: Iterable[int]) -> Iterator[bytes]:
        """The rows; empty ones where they were not rendered."""
        sizes, starts = self._sizes, self._places
        windows = [_NOWHERE] * len(self._pieces)  # where each share is read, from here to there
        for place in places:
            start = starts[place]
            stop = start + sizes[place]
            begin, end, data = windows[start >> _OFFSET]
            if start < begin or stop > end:
                data = self._read(start, max(stop - start, _WINDOW))
                begin, end, _ = windows[start >> _OFFSET] = start, start + len(data), data
            yield data[start - begin : stop - begin]

    def _read(self, start: int, size: int) -> bytes:
        """From there on, as far as the share goes."""
        file, first, whole = self._pieces[start >> _OFFSET]
        at = start & _MASK
        return os.pread(self._scratch.descriptors[file], min(size, whole - at), first + at)


class Changelog:
    """`known`: what its tasks gave in the last run, as far as its pages are there, and its list is remembered."""

    def __init__(self, scan: Scan, rows: Rows, options: Options, known: bytes | None) -> None:
        self._scan, self._rows, self._options = scan, rows, options
        self._known = array("i", known or b"")
        self._known_pages = _pages(len(self._known)) if known is not None else 0
        self._links = Links(options)
        self._newest = rows.newest_first(scan)
        self._count = _pages(len(self._newest))

    def lines(self) -> Iterator[int]:
        """Numbers of all files' lines, the newest first."""
        return map(self._rows.lines.__getitem__, self._newest)

    @property
    def keys(self) -> list[str]:
        return [_key(number) for number in range(1, self._count + 1)]

    def tasks(self, new_writer: Callable[[], Writer]) -> list[Task]:
        """Of each page one, in their order, which gives the numbers of its files' lines as an array."""
        return [partial(self._write, number, new_writer) for number in range(1, self._count + 1)]

    def _write(self, number: int, new_writer: Callable[[], Writer]) -> tuple[bytes, Counts]:
        places, writer = _of_page(self._newest, number), new_writer()
        in_list, known = self._rows.lines, _of_page(self._known, number)
        lines = array("i", [in_list[place] for place in places])
        before = array("i", [self._scan.before[line] for line in lines]) if known else known
        if len(lines) == len(known) and before == known and self._count == self._known_pages:
            return lines.tobytes(), Counts(kept=1 + len(self._options.compress))
        rows = self._rows_at(places, before, self._old_rows(number, known, writer.target))
        writer.put(_key(number), _page(changelog_frame(number, self._count, self._options), rows))
        return lines.tobytes(), writer.counts

    def _rows_at(self, places: Sequence[int], before: Iterable[int], old: Mapping[int, bytes]) -> Iterable[bytes]:
        """`before`: numbers that the lines of the files had, of which `old` has rows."""
        if not old:
            return self._new_rows(places)
        rows = list(map(old.get, before))
        missing = [number for number, row in enumerate(rows) if row is None]
        for number, row in zip(missing, self._new_rows([places[number] for number in missing]), strict=True):
            rows[number] = row
        return cast(list[bytes], rows)

    def _new_rows(self, places: Sequence[int]) -> Iterator[bytes]:
        lines = self._rows.lines
        return (row or self._rendered(lines[at]) for at, row in zip(places, self._rows.at(places), strict=True))

    def _old_rows(self, number: int, known: Sequence[int], target: Target) -> Mapping[int, bytes]:
        """Of the page that had the number: those of the lines that are known to be there."""
        data = target.read(_key(number)) if known else None
        if data is None:
            return {}
        rows = [line for line in data.splitlines(keepends=True) if line.startswith(_ROW)]
        return dict(zip(known, rows, strict=True)) if len(rows) == len(known) else {}

    def _rendered(self, line: int) -> bytes:
        scan = self._scan
        releases = [release_of(line, scan.decode(scan.line(line).strip()))]
        project, _ = owner(releases[0].entry)
        return changelog_rows(releases, self._links.in_changelog(project, releases, self._links.in_html(releases)))[0]


def _of_page(files: array[int], number: int) -> array[int]:
    return files[(number - 1) * PAGE_ENTRIES : number * PAGE_ENTRIES]


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
