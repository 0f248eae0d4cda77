"""An index of caseus as a list: what is published there, and what of upstreams is stored."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from caseus.catalog import Catalog, HostedFile
from caseus.export.entries import Entry, decode_json
from caseus.export.sources import Lines
from caseus.export.spool import Spool
from caseus.model import File
from caseus.storage import file_key, hosted_tree

_encode = msgspec.json.Encoder().encode


class HostedIndex:
    """What `catalog` knows of the index `name`, beside a server that runs or not.

    `cached`: trees of upstreams whose stored files are listed too, of names that are not the index's own.
    """

    def __init__(self, catalog: Catalog, root: Path, name: str = "main", *, cached: Iterable[str] = ()) -> None:
        self._catalog, self._root = catalog, root
        self._tree = hosted_tree(name)
        self._cached = tuple(cached)
        self._trees: dict[str, str] = {}

    @contextmanager
    def lines(self) -> Iterator[Lines]:
        with tempfile.TemporaryFile(prefix="caseus-export-") as file:
            for entry in self._entries():
                file.write(_encode(entry) + b"\n")
            file.flush()
            yield Lines(Spool(file), decode_json)

    def path(self, project: str, entry: Entry) -> Path | None:
        tree = self._trees.get(project, self._tree)
        return self._root.joinpath(*file_key(tree, project, entry.filename).split("/"))

    def _entries(self) -> Iterator[Entry]:
        own: set[str] = set()
        for file in self._catalog.all_hosted():
            if file.tree == self._tree:
                own.add(file.project)
                yield _hosted(file)
        for grave in self._catalog.all_tombstones():
            # A name of ours whose files are all deleted has a page, an empty one: else clients would look elsewhere.
            if grave.tree == self._tree and grave.project not in own:
                own.add(grave.project)
                yield Entry(project=grave.project)
        for tree in self._cached:
            for name in self._catalog.projects(tree):
                if name not in own:
                    yield from self._stored(tree, name)
                    own.add(name)

    def _stored(self, tree: str, name: str) -> Iterator[Entry]:
        """Of an upstream's page, the files whose bytes are here."""
        page = self._catalog.page(tree, name)
        facts = self._catalog.fetched_files(tree, name)
        if page is None or page.status == "quarantined":
            return
        self._trees[name] = tree
        for file in page.files:
            fact = facts.get(file.filename)
            if fact is not None and fact.stored and fact.sha256 is not None:
                yield _fetched(name, file, fact.sha256, fact.size, fact.metadata_sha256)
        if page.status != "active":
            yield Entry(project=name, status=page.status, status_reason=page.status_reason)


def _hosted(file: HostedFile) -> Entry:
    return Entry(
        filename=file.filename,
        hash=f"sha256={file.sha256}",
        requires_python=file.requires_python,
        upload_timestamp=int(file.uploaded),
        uploaded_by=file.uploader,
        yanked_reason=file.yanked,
        core_metadata=f"sha256={file.metadata_sha256}" if file.metadata_sha256 else None,
        version=file.version,
        size=file.size,
        upload_time=file.uploaded,
        gpg_sig=file.has_sig,
        project=file.project,
    )


def _fetched(name: str, file: File, sha256: str, size: int | None, metadata: str | None) -> Entry:
    uploaded = file.upload_time.timestamp() if file.upload_time is not None else None
    return Entry(
        filename=file.filename,
        hash=f"sha256={sha256}",
        requires_python=file.requires_python,
        upload_timestamp=int(uploaded) if uploaded is not None else None,
        yanked_reason=file.yanked if isinstance(file.yanked, str) and file.yanked else None,
        core_metadata=f"sha256={metadata}" if metadata else None,
        size=size,
        upload_time=uploaded,
        project=name,
        yanked=file.yanked is True,
    )
