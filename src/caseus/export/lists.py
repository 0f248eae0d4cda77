"""What is written after the pages of all projects: the lists that lead to them, the changelog, `packages.json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from caseus import __version__
from caseus.export.changelog import Changelog, Task
from caseus.export.classic import home_page, list_page, not_found_page
from caseus.export.options import Options
from caseus.export.scan import Scan
from caseus.export.scratch import Piece, Scratch
from caseus.export.target import Target
from caseus.export.writing import Counts, Writer

PACKAGES: Final = "packages.json"

_ROBOTS: Final = b"User-agent: *\nDisallow: /\n"


class Lists:
    """`generated`: the moment that pages tell, None if they tell none. `keys` is what was written so far."""

    def __init__(self, new_writer: Callable[[], Writer], options: Options, generated: str | None) -> None:
        self.writer = new_writer()
        self._new_writer, self._options, self._generated = new_writer, options, generated
        self.keys: list[str] = []

    def names(self, names: Sequence[str]) -> None:
        """`simple/`: the projects that have files."""
        if self._options.style == "dumb-pypi":
            self._put("simple/index.html", list_page(names, self._generated))
        else:
            from caseus.render import list_html

            self._put("simple/index.html", list_html(names))
        if self._options.simple_json:
            from caseus.render import list_json

            self._put("simple/index.json", list_json(names))

    def changelog(self, changelog: Changelog) -> list[Task]:
        """`changelog/`: what is to be done for it."""
        self.keys += changelog.keys
        return changelog.tasks(self._new_writer)

    def feeds(self, scan: Scan, newest_first: Iterable[int]) -> None:
        """`rss/`."""
        from caseus.export.feeds import Feeds

        feeds = Feeds(self._options)
        self._put("rss/updates.xml", feeds.updates(scan, newest_first))
        self._put("rss/packages.xml", feeds.packages(scan))

    def home(self, rows: Sequence[tuple[str, str | None]], files: int) -> None:
        """`index.html`: (project, latest version) each; that of a running caseus where that is the style."""
        options = self._options
        if options.style == "caseus" and options.base_url is not None:
            from caseus.render import home_html

            page = home_html(
                base_url=options.base_url,
                closed=options.closed,
                proxied=options.proxied,
                projects=len(rows),
                files=files,
                version=__version__,
            )
        else:
            page = home_page(rows, options)
        self._put("index.html", page)

    def extras(self) -> None:
        if self._options.not_found:
            self._put("404.html", not_found_page(self._options))
        if self._options.robots:
            self._put("robots.txt", _ROBOTS)
        if self._options.github_pages:
            self._put(".nojekyll", b"")

    def _put(self, key: str, data: bytes) -> None:
        self.writer.put(key, data)
        self.keys.append(key)


def write_packages(target: Target, pieces: Sequence[Piece], scratch: Scratch) -> tuple[bytes, Counts]:
    """`packages.json` of its pieces, as a task of the changelog's."""
    there = target.open(PACKAGES)
    if there is not None:
        with there:
            same = there.seek(0, os.SEEK_END) == sum(piece.size for piece in pieces) and not there.seek(0)
            same = same and all(there.read(len(data)) == data for data in _chunks(pieces, scratch))
        if same:
            return b"", Counts(kept=1)
    target.write_all(PACKAGES, _chunks(pieces, scratch))
    return b"", Counts(written=1)


def _chunks(pieces: Iterable[Piece], scratch: Scratch) -> Iterator[bytes]:
    return chain.from_iterable(map(scratch.chunks, pieces))
