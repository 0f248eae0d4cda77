"""The second look at a list: the pages of each project that changed, and of every project what the lists need."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

import msgspec

from caseus.export.files import PathOf, place_files
from caseus.export.found import Found
from caseus.export.pages import ProjectPages, stale
from caseus.export.scan import Scan
from caseus.export.scratch import Piece, Scratch
from caseus.export.state import ProjectState
from caseus.export.writing import Counts, Writer

_encode_lines = msgspec.json.Encoder().encode_lines


class Built(msgspec.Struct, frozen=True):
    """Of a share. `order`: numbers of its files' lines, project by project, each in the order of its releases; where
    all were read, the newest first, those of one moment in that order.

    `lines`: its part of `packages.json`. `rows`: those of the changelog, where they were rendered; `sizes`: how many
    bytes each file's row has, 0 where it was not. `stale`: keys of pages that are to be deleted once nothing leads to
    them.
    """

    order: array[int]
    sizes: array[int]
    rows: Piece
    lines: Sequence[Piece]
    projects: Sequence[ProjectState]
    stale: Sequence[str]
    counts: Counts


class Past(NamedTuple):
    """What an earlier run wrote that is right still.

    `pages`: projects whose pages are. `projects`: those of them whose lines are in its `packages.json`, at `places` of
    the file `lines`. `files`: files of packages in its folders are its own. `counts`: how many pages each project had.
    """

    pages: Container[str] = ()
    projects: Mapping[str, ProjectState] = {}
    lines: int = -1
    places: Mapping[str, int] = {}
    files: bool = False
    counts: Mapping[str, int] = {}


class Builder:
    """Does shares, which are projects that follow each other, each in any process.

    `lines` and `rows` are where lines of `packages.json` and rows of the changelog are put.
    """

    def __init__(
        self,
        scan: Scan,
        pages: ProjectPages,
        new_writer: Callable[[], Writer],
        past: Past,
        path_of: PathOf,
        lines: Scratch,
        rows: Scratch,
    ) -> None:
        self._lines, self._rows = lines, rows
        self._scan, self._pages, self._new_writer, self._past = scan, pages, new_writer, past
        self._path_of = path_of

    def build(self, names: Sequence[str]) -> Built:
        writer = self._new_writer()
        order = array("I")
        projects: list[ProjectState] = []
        gone: list[str] = []
        rows: list[bytes] = []
        is_new = True
        lines = _Lines(self._lines, self._past.lines)
        for name in names:
            project = self._past.projects.get(name)
            if project is not None and project.plain:
                order.extend(self._scan.lines[name])
                rows += [b""] * project.files
                is_new = False
                lines.keep(self._past.places[name], project.size)
            else:
                found = Found(name, self._scan.lines_of(name), self._scan.decode)
                pages = self._past.counts.get(name, 0)
                links = self._pages.links.in_html(found.releases)
                if name not in self._past.pages:
                    pages, extra = self._write(found, links, writer)
                    gone += extra
                order.extend([release.line for release in found.releases])
                rows += self._pages.rows(found, links)
                project = self._tell(found, lines, pages)
            projects.append(project)
        self._lines.flush()
        if is_new:  # what a page of the changelog has of them is in one piece then
            order, rows = self._newest_first(order, rows)
        return Built(order, *self._put(rows), lines.pieces(), projects, gone, writer.counts)

    def _newest_first(self, order: array[int], rows: list[bytes]) -> tuple[array[int], list[bytes]]:
        stamps = [self._scan.stamps[line] for line in order]
        newest = sorted(range(len(stamps)), key=stamps.__getitem__, reverse=True)
        return array("I", [order[at] for at in newest]), [rows[at] for at in newest]

    def _put(self, rows: Sequence[bytes]) -> tuple[array[int], Piece]:
        """Their sizes, and where they are."""
        begin = self._rows.at()
        self._rows.append(b"".join(rows))
        self._rows.flush()
        return array("I", map(len, rows)), self._rows.since(begin)

    def _write(self, found: Found, links: Sequence[str], writer: Writer) -> tuple[int, list[str]]:
        """How many pages there are, and what was there besides."""
        made = writer.made
        files = place_files(found, self._path_of, writer) if self._pages.options.files else []
        pages = []
        for key, data in self._pages.pages(found, links):
            writer.put(key, data)
            pages.append(key)
        target, count = writer.target, len(pages)
        if target.empty or (
            count == self._past.counts.get(found.name) and made == writer.made and not self._past.files
        ):
            return count, []
        return count, stale(target, found.name, [*files, *pages], files=self._past.files)

    def _tell(self, found: Found, lines: _Lines, pages: int) -> ProjectState:
        told = [release.entry for release in found.releases] + found.others
        data = _encode_lines(told)
        lines.write(data)
        digest = b"" if found.doubled else self._scan.digests[found.name]  # which line was last is not in the digest
        stamps = {self._scan.stamps[release.line] for release in found.releases}
        plain = len(stamps) == len(found.releases) == len(self._scan.lines[found.name])
        return ProjectState(digest, found.latest, len(data), len(found.releases), plain, pages)


class _Lines:
    """Lines of `packages.json`: new ones are written, those of the old one, whose number is `old`, are left there."""

    def __init__(self, scratch: Scratch, old: int) -> None:
        self._scratch, self._old = scratch, old
        self._new = scratch.at()
        self._is_open = False
        self._pieces: list[Piece] = []

    def write(self, data: bytes) -> None:
        self._scratch.append(data)
        self._is_open = True

    def keep(self, start: int, size: int) -> None:
        """From the old one; what follows itself there is one piece."""
        self._end()
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last.file == self._old and last.start + last.size == start:
            self._pieces[-1] = last._replace(size=last.size + size)
        else:
            self._pieces.append(Piece(self._old, start, size))

    def pieces(self) -> list[Piece]:
        self._end()
        return self._pieces

    def _end(self) -> None:
        if self._is_open:
            self._pieces.append(self._scratch.since(self._new))
            self._new = self._scratch.at()
            self._is_open = False
