"""Large projects as they were last read, so that a change of one file takes no reading of thousands."""

from __future__ import annotations

import threading
from bisect import insort
from collections import OrderedDict
from functools import lru_cache
from typing import Final, NamedTuple

from packaging.version import Version

from caseus.catalog import Catalog, Listing
from caseus.model import File

_LEAST: Final = 100
"""Files of a project that is remembered: fewer are read in no time."""
_MOST: Final = 20_000
"""Files of all that are remembered, at some 1.3 KB each."""


class Known(NamedTuple):
    """A project as it was read: its files by filename, and their versions in PEP 440's order."""

    listing: Listing
    files: tuple[File, ...]
    versions: tuple[str, ...]


class Remembered:
    """Reads what is published in a tree. Thread-safe."""

    def __init__(self, catalog: Catalog, tree: str) -> None:
        self._catalog, self._tree = catalog, tree
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def read(self, name: str) -> Known:
        """The project as it is now. A file that did not change is the same object as the last time, if it is known."""
        with self._lock:
            before = self._known.get(name)
        listing = self._catalog.listing(self._tree, name, before and before.listing)
        if before is not None and listing.files is before.listing.files:
            known = before._replace(listing=listing)
        else:
            files = tuple(listed.file for listed in listing.files)
            found = {listed.version for listed in listing.files}
            known = Known(listing, files, _ordered(found, before.versions if before is not None else ()))
        self._keep(name, known)
        return known

    def _keep(self, name: str, known: Known) -> None:
        with self._lock:
            old = self._known.pop(name, None)
            if old is not None:
                self._weight -= len(old.files)
            if old is not None and old.listing.at.number > known.listing.at.number:
                known = old  # who began later has read more
            if not _LEAST <= len(known.files) <= _MOST:
                return
            self._known[name] = known
            self._weight += len(known.files)
            while self._weight > _MOST:
                _, dropped = self._known.popitem(last=False)
                self._weight -= len(dropped.files)


def _ordered(found: set[str], before: tuple[str, ...]) -> tuple[str, ...]:
    """By PEP 440, and by their text where they are equal; most are in `before`, which is ordered so."""
    gone = set(before) - found
    new = found.difference(before)
    if not gone and not new:
        return before
    if len(new) > len(before):
        return tuple(sorted(sorted(found), key=_version))  # a third of the time of pairs
    kept = [version for version in before if version not in gone]
    for version in new:
        insort(kept, version, key=_place)
    return tuple(kept)


def _place(text: str) -> tuple[Version, str]:
    return _version(text), text


@lru_cache(maxsize=1 << 14)
def _version(text: str) -> Version:
    """Parsing is most of what it takes to sort versions again."""
    return Version(text)
