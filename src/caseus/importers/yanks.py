"""Who had the last word on a file's yank."""

from __future__ import annotations

import threading

from caseus.catalog import Catalog


class Yanks:
    """Reads the journal as far as it has to, and once. Thread-safe."""

    def __init__(self, catalog: Catalog, tree: str) -> None:
        self._catalog, self._tree = catalog, tree
        self._guard = threading.Lock()
        self._read = 0
        self._last: dict[str, str] = {}

    def last(self, filename: str) -> str | None:
        """Who yanked or unyanked the file last; None if nobody did since it was published."""
        with self._guard:
            for entry in self._catalog.journal(self._read):
                self._read = entry.number
                if entry.tree == self._tree and entry.action in ("yank", "unyank"):
                    self._last[entry.filename] = entry.actor
            return self._last.get(filename)
