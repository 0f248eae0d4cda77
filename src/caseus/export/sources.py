"""Where the list of files comes from: the protocol, and lists that somebody else made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from caseus.export.entries import Decode, Entry, decode_json, decode_plain
from caseus.export.spool import Spool, spooled
from caseus.export.target import StrPath

if TYPE_CHECKING:
    from pathlib import Path


class Lines(NamedTuple):
    """The text of a list, and what makes entries of its lines."""

    spool: Spool
    decode: Decode

    @property
    def kind(self) -> str:
        return "plain" if self.decode is decode_plain else "json"


class Source(Protocol):
    """Gives a list, as it is now, for as long as the context is open."""

    def lines(self) -> AbstractContextManager[Lines]:
        """NotFound, Unavailable."""
        ...

    def path(self, project: str, entry: Entry) -> Path | None:
        """Where the file itself is; None for a source that has no files. Its sidecars are beside it."""
        ...


class PackageList:
    """A list in a file, or on standard input where `path` is None: JSON lines, or `plain` filenames."""

    def __init__(self, path: StrPath | None, *, plain: bool = False) -> None:
        self._path, self._decode = path, decode_plain if plain else decode_json

    @contextmanager
    def lines(self) -> Iterator[Lines]:
        with spooled(self._path, sys.stdin.buffer) as spool:
            yield Lines(spool, self._decode)

    def path(self, project: str, entry: Entry) -> Path | None:
        return None
