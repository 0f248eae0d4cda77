"""`Proxy`: an Index that answers from an upstream, and from what it kept of it."""

from __future__ import annotations

import copy
import random as randomness
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Self

import msgspec
import structlog
from packaging.utils import NormalizedName

from caseus.catalog import Catalog, FetchedFile, UpstreamPage
from caseus.errors import NotFound, Unavailable
from caseus.fill import Fills, Source
from caseus.model import File, Project, Signature, Validity
from caseus.names import split_sidecar
from caseus.proxy.pages import Cached, Freshness, Pages
from caseus.proxy.sidecars import Sidecars
from caseus.storage import Blob, fetched_tree
from caseus.storage.blobs import FileBlob
from caseus.storage.filesystem import FilesystemStorage
from caseus.upstream import Origin, Upstream, linked_origins

_SIGNATURES_AT_ONCE = 8

log: Any = structlog.get_logger(__name__)


class Proxy:
    """One upstream through the cache. Thread-safe.

    `ttl`: seconds for which a page is used without asking again, or up to a tenth less, as `random` (0 to 1) says;
    `stale`: for how many more it is given at once while it is refreshed. `cache_bytes`: how much of files is kept.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: FilesystemStorage,
        upstream: Upstream,
        *,
        ttl: float,
        stale: float = 0.0,
        cache_bytes: int,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self.tree = fetched_tree(upstream.name)
        self._catalog, self._upstream = catalog, upstream
        # At most as long as it was fresh: who wants each page revalidated (0) gets that.
        freshness = Freshness(ttl, min(stale, ttl), random)
        self._pages = Pages(catalog, upstream, self.tree, freshness, clock=clock)
        self._page: Callable[[NormalizedName], Cached] = self._pages.get
        self._fills = Fills(catalog, store, upstream, cache_bytes, clock=clock)
        self._sidecars = Sidecars(catalog, store, upstream, self._fills)

    def refreshing(self) -> Self:
        """The same upstream, of which every page is asked for when it is wanted, however fresh the one here is."""
        return self._with(self._pages.ask)

    def resting(self) -> Self:
        """The same upstream as it was when its pages were last asked for, which nobody does here."""
        return self._with(self._pages.kept)

    def _with(self, page: Callable[[NormalizedName], Cached]) -> Self:
        view = copy.copy(self)  # shares everything else, and belongs to the one that is closed
        view._page = page
        return view

    def clean(self) -> None:
        """Removes what dead processes left half fetched."""
        self._fills.clean()

    def close(self) -> None:
        """Stops what is being fetched; the bytes so far stay for the next start."""
        self._pages.close()
        self._fills.close()
        self._upstream.close()

    def knows(self, name: NormalizedName) -> bool:
        try:
            self._page(name)
        except NotFound:
            return False
        return True

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        """Those that were asked for so far: what else the upstream has is not listed."""
        return (NormalizedName(name) for name in self._catalog.projects(self.tree, after))

    def project(self, name: NormalizedName) -> Project:
        page, until, stale = self._page(name)
        facts = self._catalog.fetched_files(self.tree, name)  # after the page's serial: newer ones are only read again
        return Project(
            name=name,
            files=tuple(_seen(file, facts.get(file.filename)) for file in _offered(page)),
            versions=page.versions,
            status=page.status,
            status_reason=page.status_reason,
            hosted=False,
            validity=Validity(
                serials=((self.tree, name, page.serial),), until=until, fetched=page.fetched, stale=stale
            ),
        )

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        base, ending = split_sidecar(filename)
        try:
            page = self._page(name).page
        except Unavailable:
            blob = self._kept(name, base, ending, start, stop)
            if blob is None:
                raise
            return blob
        files = _offered(page)
        file = next((file for file in files if file.filename == base), None)
        if file is None or ending == ".provenance":
            raise NotFound(f"the upstream lists no file {filename} of {name}")
        # A page that was imported tells no URL: the upstream has to answer once.
        source = self._source(name, file, file.url or "", linked_origins(files))
        if ending == ".metadata":
            blob = self._sidecars.stored_metadata(self.tree, name, base, start, stop)
            return blob or self._sidecars.metadata(source, file, start, stop)
        if ending == ".asc":
            return self._sidecars.signature(source, file, start, stop)
        return self._file(source, start, stop)

    def forget_absence(self, name: str) -> None:
        """Ask about the name at the next request, though the upstream said a moment ago that it has no such project."""
        self._pages.forget_absence(name)

    def kept(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob | None:
        """What is cached of a file, whether or not the upstream still lists it; nothing of a quarantined project."""
        page = self._catalog.page(self.tree, name)
        if page is not None and page.status == "quarantined":
            return None
        return self._kept(name, *split_sidecar(filename), start, stop)

    def fetch_signatures(self, name: NormalizedName) -> list[Signature]:
        """Fetches the signature of each file in the cache that has none here, as the page that is kept lists it."""
        try:
            files = _offered(self._pages.kept(name).page)
        except NotFound:
            return []
        listed, linked = {file.filename: file for file in files}, linked_origins(files)

        def fetch(filename: str) -> Signature:
            return self._fetch_signature(name, filename, listed.get(filename), linked)

        facts = self._catalog.fetched_files(self.tree, name)
        with ThreadPoolExecutor(_SIGNATURES_AT_ONCE, thread_name_prefix="signature") as threads:
            return list(threads.map(fetch, sorted(filename for filename, fact in facts.items() if fact.stored)))

    def _fetch_signature(
        self, name: NormalizedName, filename: str, file: File | None, linked: frozenset[Origin]
    ) -> Signature:
        if file is None or file.url is None:
            return Signature(filename, "none", "the upstream no longer lists the file")
        try:
            with self._sidecars.signature(self._source(name, file, file.url, linked), file, 0, None) as blob:
                return Signature(filename, "here" if blob.stored else "fetched")
        except NotFound:
            return Signature(filename, "none")
        except Unavailable as error:
            return Signature(filename, "failed", str(error))

    def _source(self, name: NormalizedName, file: File, url: str, linked: frozenset[Origin]) -> Source:
        return Source(
            tree=self.tree,
            project=name,
            filename=file.filename,
            url=url,
            hashes=file.hashes,
            size=file.size,
            linked=linked,
        )

    def _file(self, source: Source, start: int, stop: int | None) -> Blob:
        blob = self._kept(source.project, source.filename, "", start, stop)
        if blob is not None:
            return blob
        fact = self._catalog.fetched(self.tree, source.project, source.filename)
        bound, told = fact.sha256 if fact else None, source.hashes.get("sha256")
        if bound and told and bound != told:
            raise Unavailable(
                f"the upstream now tells another sha256 of {source.filename} than when it was first fetched: "
                "ask its operators, or use another version",
                kind="upstream",
            )
        return self._fills.open(source, start, stop, sha256=bound or told)

    def _kept(self, name: str, filename: str, ending: str, start: int, stop: int | None) -> Blob | None:
        """What the cache has, whatever the upstream says."""
        if ending == ".metadata":
            return self._sidecars.stored_metadata(self.tree, name, filename, start, stop)
        if ending == ".asc":
            return self._sidecars.stored_signature(self.tree, name, filename, start, stop)
        stored = self._fills.stored(self.tree, name, filename) if not ending else None
        if stored is None:
            return None
        fd, sha256 = stored
        return FileBlob(fd, start, stop).with_sha256(sha256)


def _offered(page: UpstreamPage) -> tuple[File, ...]:
    """PEP 792: of a quarantined project no file is offered, whatever its page still lists."""
    return () if page.status == "quarantined" else page.files


def _seen(file: File, fact: FetchedFile | None) -> File:
    """The file as readers see it: with what we know of its bytes, without the upstream's own URLs."""
    wheel = file.filename.endswith(".whl")
    changes: dict[str, Any] = {
        "core_metadata": file.core_metadata or wheel,  # what a wheel carries we can make on request
        "url": None,
        "metadata_url": None,
        "sig_url": None,
    }
    if fact is not None and fact.metadata_sha256 is not None:
        changes["core_metadata"] = {"sha256": fact.metadata_sha256}
    if fact is not None and fact.sha256 is not None:
        told = file.hashes.get("sha256")
        if told is not None and told != fact.sha256:
            log.warning("upstream.digest_changed", filename=file.filename, first=fact.sha256, now=told)
            changes["hashes"] = {"sha256": fact.sha256}
        else:
            changes["hashes"] = {**file.hashes, "sha256": fact.sha256}
        changes["size"] = file.size if fact.size is None else fact.size
    if file.gpg_sig is None and fact is not None and fact.has_sig:
        changes["gpg_sig"] = True
    if file.upload_time is None and fact is not None and fact.modified is not None:
        changes["upload_time"] = datetime.fromtimestamp(fact.modified, UTC)
    return msgspec.structs.replace(file, **changes)
