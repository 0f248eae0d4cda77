"""The feeds of a tree: newest releases, newest projects, releases of one project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from caseus.export.entries import owner
from caseus.export.found import Found
from caseus.export.looking import NO_FILE
from caseus.export.options import Options
from caseus.export.scan import Scan
from caseus.render.feeds import Item, feed

MOST_ITEMS: Final = 40
"""As many as the public index has."""


class Feeds:
    """Under `rss/`; links lead to the pages of projects in `simple/`."""

    def __init__(self, options: Options) -> None:
        self._title, self._base = options.title, options.base_url or ""

    def releases(self, found: Found) -> bytes:
        """`project/PROJECT/releases.xml`: the newest first."""
        items = []
        for version, files in reversed(found.versions.items()):
            told = [file.entry.uploaded for file in files if file.entry.uploaded is not None]
            items.append(self._item(found.name, version, min(told) if told else None))
        title = f"{self._title}: releases of {found.name}"
        return feed(title, self._page(found.name), f"Releases of the project {found.name}", items[:MOST_ITEMS])

    def updates(self, scan: Scan, newest_first: Iterable[int]) -> bytes:
        """`updates.xml`: newest releases. `newest_first`: lines of files."""
        return feed(
            f"{self._title}: latest updates", self._base, "The latest releases", self._updates(scan, newest_first)
        )

    def packages(self, scan: Scan) -> bytes:
        """`packages.xml`: newest projects, by their first files."""
        stamps = scan.stamps
        first = {
            name: min(known)
            for name, lines in scan.lines.items()
            if (known := [stamps[line] for line in lines if stamps[line] not in (0, NO_FILE)])
        }
        newest = sorted(first, key=lambda name: (-first[name], name))[:MOST_ITEMS]
        items = [Item(f"{name} added", self._page(name), name, _moment(first[name])) for name in newest]
        return feed(f"{self._title}: newest projects", self._base, "The newest projects", items)

    def _updates(self, scan: Scan, newest_first: Iterable[int]) -> Iterator[Item]:
        told: set[tuple[str, str]] = set()
        for line in newest_first:
            entry = scan.decode(scan.line(line).strip())
            name, version = owner(entry)
            if version is None or (name, version) in told:
                continue
            if len(told) == MOST_ITEMS or not entry.uploaded:
                return
            told.add((name, version))
            yield self._item(name, version, entry.uploaded)

    def _item(self, name: str, version: str, uploaded: float | None) -> Item:
        published = _moment(uploaded) if uploaded else None
        return Item(f"{name} {version}", self._page(name), f"{name} {version}", published)

    def _page(self, name: str) -> str:
        return f"{self._base}simple/{name}/"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
