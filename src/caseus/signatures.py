"""Getting the signatures that are missing: for who took a cache over, or wants to verify what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from packaging.utils import NormalizedName

from caseus.index import Index
from caseus.model import Signature
from caseus.names import NamePatterns


class Fetcher(Protocol):
    """What can fetch the missing signatures of the files that it has of a project."""

    def fetch_signatures(self, name: NormalizedName) -> list[Signature]: ...


class Fetching(NamedTuple):
    """A fetcher, and the names for which it may be asked."""

    fetcher: Fetcher
    patterns: NamePatterns


class Signatures:
    """The signatures of an index. `index` asks upstreams for their pages anew, so that new signatures are known."""

    def __init__(self, index: Index, fetchers: Sequence[Fetching]) -> None:
        self._index = index
        self._fetchers = tuple(fetchers)

    def update(self, name: NormalizedName) -> list[Signature]:
        """Fetch what is missing, of every file that is here; nothing is fetched for a name that is published here.

        NotFound, Unavailable as `Index.project`.
        """
        project = self._index.project(name)
        if project.hosted:
            return [Signature(file.filename, "here" if file.gpg_sig else "none") for file in project.files]
        return [
            found
            for fetcher, patterns in self._fetchers
            if patterns.match(name)
            for found in fetcher.fetch_signatures(name)
        ]
