"""What is written after the pages of all projects: the lists that lead to them, the changelog, `packages.json`."""

from __future__ import annotations

import io
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, cast

from caseus.export import workers
from caseus.export.classic import PAGE_ENTRIES, changelog_page, changelog_row, home_page, list_page, not_found_page
from caseus.export.entries import owner
from caseus.export.found import Links
from caseus.export.options import Options
from caseus.export.scan import Scan
from caseus.export.target import Target
from caseus.export.writing import Counts, Writer, total
from caseus.render import list_html, list_json

_CHUNK = 1 << 20
_ROBOTS = b"User-agent: *\nDisallow: /\n"


class Lists:
    """`generated`: the moment that pages tell, None if they tell none."""

    def __init__(self, writer: Writer, options: Options, generated: str | None) -> None:
        self._writer, self._options, self._generated = writer, options, generated
        self.keys: list[str] = []
        """What was written."""

    def _put(self, key: str, data: bytes) -> None:
        self._writer.put(key, data)
        self.keys.append(key)

    def names(self, names: Sequence[str]) -> None:
        """`simple/`: the projects that have files."""
        options, put = self._options, self._put
        if options.style == "dumb-pypi":
            put("simple/index.html", list_page(names, self._generated))
        else:
            put("simple/index.html", list_html(names))
        if options.simple_json:
            put("simple/index.json", list_json(names))

    def home(self, rows: Iterable[tuple[str, str | None]]) -> None:
        """(project, latest version) each."""
        self._put("index.html", home_page(rows, self._options))

    def extras(self) -> None:
        if self._options.not_found:
            self._put("404.html", not_found_page(self._options))
        if self._options.robots:
            self._put("robots.txt", _ROBOTS)
        if self._options.github_pages:
            self._put(".nojekyll", b"")

    def changelog(self, scan: Scan, order: Sequence[int], jobs: int) -> Counts:
        """`order`: the lines of all files, by project and release."""
        # Those of one moment stay in their order: sorting is stable.
        newest_first = array("I", sorted(order, key=scan.stamps.__getitem__, reverse=True))
        count = math.ceil(len(newest_first) / PAGE_ENTRIES)
        links = Links(self._options)

        def page(number: int) -> Counts:
            rows = []
            for line in newest_first[(number - 1) * PAGE_ENTRIES : number * PAGE_ENTRIES]:
                entry = scan.decode(scan.line(line).strip())
                project = owner(entry)[0] if links.by_project else ""
                rows.append(changelog_row(project, entry, links))
            writer = Writer(self._writer.target, self._options.compress)
            writer.put(changelog_key(number), changelog_page(rows, number, count, self._options))
            return writer.counts

        self.keys += map(changelog_key, range(1, count + 1))
        return total(workers.run(jobs, range(1, count + 1), page))


def changelog_key(number: int) -> str:
    return f"changelog/page{number}.html"


def write_packages(target: Target, parts: Sequence[BinaryIO]) -> bool:
    """`packages.json` of its parts, if it changed."""
    for part in parts:
        part.seek(0)
    there = target.open("packages.json")
    if there is not None:
        with there:
            same = all(there.read(len(data)) == data for data in _chunks(parts)) and not there.read(1)
        if same:
            return False
        for part in parts:
            part.seek(0)
    target.write_file("packages.json", cast(BinaryIO, _Joined(parts)))
    return True


def _chunks(parts: Sequence[BinaryIO]) -> Iterator[bytes]:
    for part in parts:
        while data := part.read(_CHUNK):
            yield data


class _Joined(io.RawIOBase):
    """Several files as one."""

    def __init__(self, parts: Sequence[BinaryIO]) -> None:
        self._parts = iter(parts)
        self._part: BinaryIO | None = next(self._parts, None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while self._part is not None:
            data = self._part.read(len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)
            self._part = next(self._parts, None)
        return 0
