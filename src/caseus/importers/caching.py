"""Files that another server cached of an upstream: into the cache here, so that nobody has to fetch them again.

What was known there and never downloaded stays known: its page is kept, but for expired, so that the upstream is asked
when somebody wants it; and a sha256 that was seen there binds, as if it had been seen here.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from packaging.utils import NormalizedName

from caseus.catalog import Catalog, FetchedFile, UpstreamPage
from caseus.errors import Busy, Conflict, Invalid, NotFound
from caseus.importers.disk import Copied, Unreadable, copy, nowhere, read_signature
from caseus.importers.report import Damaged, Outcome, Result, TooBig, refused
from caseus.importers.shelf import OTHER_BYTES
from caseus.importers.stock import Stock, StockFile
from caseus.model import File
from caseus.names import KNOWN_EXTENSIONS, check_filename, unique_versions, version_of
from caseus.storage import Staged, Storage, file_key

_NOT_LISTED = "its upstream does not list it"


class CachedProject(NamedTuple):
    """Where the files of a project go. `listed`: what the upstream's page lists, where it is here already."""

    name: NormalizedName
    tree: str
    listed: Mapping[str, File] | None


class Caching:
    """Fills the cache from another server's disk. Thread-safe.

    `hosted_tree`: names that are published there are ours. `tree_of`: the tree of the upstream that is asked for a
    name, None where none is. `limit`: bytes that the cache may have.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Storage,
        *,
        hosted_tree: str,
        tree_of: Callable[[NormalizedName], str | None],
        limit: int,
        dry_run: bool = False,
    ) -> None:
        self._catalog, self._store, self._hosted_tree = catalog, store, hosted_tree
        self._tree_of, self._dry_run = tree_of, dry_run
        self._guard = threading.Lock()
        self._left = limit - catalog.cache_bytes()

    def begin(self, stock: Stock) -> CachedProject | Result:
        """Keep the project's page, if none is here; the reason where the project can't be cached here."""
        name = stock.project
        if self._catalog.knows(self._hosted_tree, name):
            return _skipped(name, "the name is published here: what is cached there of another's is left out")
        tree = self._tree_of(name)
        if tree is None:
            return _skipped(name, "no upstream is asked for this name here: what is cached of it is left out")
        page = self._catalog.page(tree, name)
        if page is not None:
            return CachedProject(name, tree, {file.filename: file for file in page.files})
        if not self._dry_run:
            self._catalog.save_page(tree, name, self._page(stock))
        return CachedProject(name, tree, None)

    def take(self, project: CachedProject, each: StockFile) -> Result:
        """What came of a file; on a dry run what would. Unavailable where our own side fails."""
        filename = each.file.filename
        try:
            return self._take(project, each)
        except (Invalid, TooBig, Conflict, Damaged) as error:
            return refused(project.name, filename, error)
        except (Unreadable, Busy) as error:
            return Result(outcome=Outcome.FAILED, project=project.name, filename=filename, reason=str(error))

    def _page(self, stock: Stock) -> UpstreamPage:
        """Expired, so that the upstream is asked when somebody wants it, and its word counts if it answers."""
        files = tuple(sorted((each.file for each in stock.files if _is_sound(each)), key=lambda file: file.filename))
        versions = filter(None, (version_of(stock.project, file.filename) for file in files))
        return UpstreamPage(files=files, versions=unique_versions(versions), fetched=self._catalog.clock(), until=0)

    def _take(self, project: CachedProject, each: StockFile) -> Result:
        file = each.file
        _check_name(file.filename)
        if each.fault:
            raise Damaged(each.fault)
        row = self._catalog.fetched(project.tree, project.name, file.filename)
        told = file.hashes.get("sha256")
        if row is not None and row.sha256 and told and row.sha256 != told:
            raise Conflict(OTHER_BYTES)
        if each.path is None:
            return self._know(project, file)
        if row is not None and row.stored and row.sha256 == told:
            return Result(outcome=Outcome.THERE, project=project.name, filename=file.filename)
        return self._put(project, each, each.path, row)

    def _know(self, project: CachedProject, file: File) -> Result:
        """It was never downloaded there."""
        if project.listed is not None:
            if file.filename in project.listed:
                return Result(outcome=Outcome.THERE, project=project.name, filename=file.filename)
            raise Invalid(_NOT_LISTED)
        sha256 = file.hashes.get("sha256")
        if sha256 is not None and not self._dry_run:
            self._catalog.save_known(project.tree, project.name, file.filename, sha256=sha256)
        return Result(outcome=Outcome.KNOWN, project=project.name, filename=file.filename)

    def _put(self, project: CachedProject, each: StockFile, path: Path, row: FetchedFile | None) -> Result:
        name, file = project.name, each.file
        listed = project.listed.get(file.filename) if project.listed is not None else None
        remarks: tuple[str, ...] = (_NOT_LISTED,) if project.listed is not None and listed is None else ()
        with ExitStack() as stack:
            staged = None if self._dry_run else stack.enter_context(closing(self._store.stage()))
            also = listed.hashes if listed else ()
            copied = copy(path, file, staged.write if staged else nowhere, also=also)
            _check_same(copied, listed, row)
            if row is not None and row.stored:
                return Result(outcome=Outcome.THERE, project=name, filename=file.filename)
            self._spend(copied.size)
            if staged is not None:
                key = file_key(project.tree, name, file.filename)
                self._commit(staged, key)
                sha256 = copied.digests["sha256"]
                self._catalog.save_fetched(project.tree, name, file.filename, sha256=sha256, size=copied.size)
                remarks += self._put_signature(each, f"{key}.asc")
        return Result(outcome=Outcome.CACHED, project=name, filename=file.filename, size=copied.size, remarks=remarks)

    def _spend(self, size: int) -> None:
        """Invalid if the cache has no room for so many bytes more: nothing is evicted for what nobody asks for."""
        with self._guard:
            if size > self._left:
                raise Invalid("the cache is full: raise cache_bytes, or it is fetched again when somebody wants it")
            self._left -= size

    def _commit(self, staged: Staged, key: str) -> None:
        try:
            staged.commit(key)
        except Conflict:  # no fact knows what is there: a filler died before it could tell
            self._store.delete(key)
            staged.commit(key)

    def _put_signature(self, each: StockFile, key: str) -> tuple[str, ...]:
        data, remarks = read_signature(each.signature)
        if data is not None:
            try:
                self._store.open(key).close()
            except NotFound:
                self._store.replace(key, io.BytesIO(data))
        return remarks


def _check_same(copied: Copied, listed: File | None, row: FetchedFile | None) -> None:
    """Conflict if the upstream, or what was seen first, tells other bytes."""
    if listed is not None and any(copied.digests[name] != digest for name, digest in listed.hashes.items()):
        raise Conflict("its upstream tells another digest: nothing was overwritten")
    if row is not None and row.sha256 not in (None, copied.digests["sha256"]):
        raise Conflict(OTHER_BYTES)


def _is_sound(each: StockFile) -> bool:
    """Whether a page may list it."""
    try:
        _check_name(each.file.filename)
    except Invalid:
        return False
    return not each.fault


def _check_name(filename: str) -> None:
    if not check_filename(filename).endswith(KNOWN_EXTENSIONS):
        raise Invalid("that is no file of a package")


def _skipped(name: str, reason: str) -> Result:
    return Result(outcome=Outcome.SKIPPED, project=name, reason=reason)
