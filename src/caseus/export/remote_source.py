"""Another index as a list: what its pages say, with links to where its files are."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from packaging.utils import NormalizedName

from caseus.errors import NotFound
from caseus.export.entries import Entry, decode_json
from caseus.export.folder_source import Progress
from caseus.export.sources import Lines
from caseus.export.spool import Spool
from caseus.importers.parallel import in_parallel
from caseus.importers.selection import Selection
from caseus.importers.source import Source
from caseus.model import File
from caseus.render.links import best_hash
from caseus.upstream import NotModified

_JOBS: Final = 4
_encode = msgspec.json.Encoder().encode


class SimpleIndex:
    """The projects of `selection` that `source` has; a page that can't be had ends it: none is taken for empty."""

    def __init__(self, source: Source, selection: Selection, *, progress: Progress | None = None) -> None:
        self._source, self._selection, self._progress = source, selection, progress

    @contextmanager
    def lines(self) -> Iterator[Lines]:
        """NotFound, Unavailable."""
        names = self._selection.names(self._source.projects() if self._selection.needs_list else ())
        self._selection.check(names, everything=True)
        waiting = deque(names)
        if self._progress is not None:
            self._progress.begin("reading pages", len(names))

        def next_task() -> Callable[[], list[Entry]] | None:
            return partial(self._entries, waiting.popleft()) if waiting else None

        with tempfile.TemporaryFile(prefix="caseus-export-") as file:
            for entries in in_parallel(_JOBS, next_task):
                file.write(b"".join(_encode(entry) + b"\n" for entry in entries))
                if self._progress is not None:
                    self._progress.step()
            file.flush()
            yield Lines(Spool(file), decode_json)

    def path(self, project: str, entry: Entry) -> Path | None:
        return None

    def _entries(self, name: NormalizedName) -> list[Entry]:
        try:
            page = self._source.page(name, None)
        except NotFound:
            return []  # listed, but there is no such page
        assert not isinstance(page, NotModified)
        facts = Entry(project=name, versions=list(page.versions))
        if page.status != "active":
            facts.status, facts.status_reason = page.status, page.status_reason
        return [*(_linked(name, file) for file in page.files), facts]


def _linked(name: NormalizedName, file: File) -> Entry:
    metadata = best_hash(file.core_metadata) if isinstance(file.core_metadata, dict) else None
    uploaded = file.upload_time.timestamp() if file.upload_time is not None else None
    return Entry(
        filename=file.filename,
        hash=best_hash(file.hashes),
        requires_python=file.requires_python,
        upload_timestamp=int(uploaded) if uploaded is not None else None,
        yanked_reason=file.yanked if isinstance(file.yanked, str) and file.yanked else None,
        core_metadata=metadata or ("true" if file.core_metadata else None),
        size=file.size,
        upload_time=uploaded,
        gpg_sig=file.gpg_sig,
        provenance=file.provenance,
        url=file.url,
        project=name,
        yanked=file.yanked is True,
    )
