"""The list of projects of one index, in whichever way its length asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import structlog
from packaging.utils import NormalizedName

from caseus.catalog import Catalog
from caseus.errors import Unavailable
from caseus.index import Index
from caseus.lists.files import ListFile, Opened
from caseus.render import HTML_LIST, JSON, JSON_LIST, ContentType, list_html, list_json

SHORT: Final = 5_000
"""Projects: up to so many the list is rendered as a whole, each time."""
HUGE: Final = 150_000
"""Projects: of more the list takes over 8 MB, and is not to be had in memory but sent from its file."""

_log = structlog.get_logger(__name__)


class ProjectList:
    """Thread-safe. `made_by`: what the index's names depend on besides the catalog's facts."""

    def __init__(self, catalog: Catalog, name: str, index: Index, made_by: str) -> None:
        self._catalog, self._index = catalog, index
        self._files = {
            True: ListFile(catalog, f"{name}.json", JSON_LIST, self._names, made_by=made_by),
            False: ListFile(catalog, f"{name}.html", HTML_LIST, self._names, made_by=made_by),
        }

    def is_huge(self) -> bool:
        return self._catalog.name_count() > HUGE

    def body(self, content_type: ContentType) -> bytes:
        """The page. Where a longer one can't be kept in its file (a full disk), it is rendered as a whole."""
        if self._catalog.name_count() > SHORT:
            try:
                with closing(self.open(content_type)) as opened:
                    return b"".join(opened.read(piece) for piece in opened.listing.pieces(""))
            except Unavailable as error:
                _log.warning("lists.not_kept", error=str(error))
        names = self._index.projects()
        return list_json(names) if content_type == JSON else list_html(names)

    def open(self, content_type: ContentType) -> Opened:
        """The page as it lies in its file. Unavailable."""
        return self._files[content_type == JSON].open()

    def _names(self, after: str) -> Iterator[NormalizedName]:
        return self._index.projects(after)
