"""What lies beside a file of an upstream: METADATA of wheels, also where the upstream has none, and signatures."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import structlog

from caseus.catalog import Catalog
from caseus.checks.archive import read_wheel_metadata
from caseus.checks.armour import check_signature
from caseus.checks.limits import MAX_SIGNATURE
from caseus.errors import CaseusError, Invalid, NotFound, Unavailable
from caseus.fill import Fills, Source
from caseus.model import File
from caseus.proxy.locks import KeyedLocks
from caseus.storage import Blob, file_key
from caseus.storage.blobs import BytesBlob
from caseus.storage.filesystem import FilesystemStorage
from caseus.upstream import Upstream
from caseus.upstream.deadline import within
from caseus.upstream.digests import digest_of, strongest
from caseus.upstream.ranges import RangesRefused, open_ranged

METADATA_LIMIT = 16 * 1024 * 1024
"""Bytes of a METADATA file, and of what is fetched of a wheel to read it."""

log: Any = structlog.get_logger(__name__)


class Sidecars:
    """Sidecars of one upstream's files, kept in the store. Thread-safe."""

    def __init__(self, catalog: Catalog, store: FilesystemStorage, upstream: Upstream, fills: Fills) -> None:
        self._catalog, self._store, self._upstream, self._fills = catalog, store, upstream, fills
        self._locks = KeyedLocks()

    def stored_metadata(self, tree: str, project: str, filename: str, start: int, stop: int | None) -> Blob | None:
        """The METADATA that was made or fetched before; None if there is none."""
        row = self._catalog.fetched(tree, project, filename)
        if row is None or row.metadata_sha256 is None:
            return None
        try:
            blob = self._store.open(file_key(tree, project, f"{filename}.metadata"), start, stop)
        except NotFound:
            return None
        return blob.with_sha256(row.metadata_sha256)

    def metadata(self, source: Source, file: File, start: int, stop: int | None) -> Blob:
        """FILE.metadata. NotFound if it is neither a wheel nor advertised; for a wheel that fails: Unavailable."""
        if file.core_metadata is False and not source.filename.endswith(".whl"):
            raise NotFound(f"{source.filename} has no metadata of its own")
        key = file_key(source.tree, source.project, f"{source.filename}.metadata")
        with self._locks.hold(key):
            blob = self.stored_metadata(source.tree, source.project, source.filename, start, stop)
            if blob is not None:
                return blob
            data = self._make_metadata(source, file)
            digest = hashlib.sha256(data).hexdigest()
            self._store.replace(key, io.BytesIO(data))
            self._catalog.save_fetched_metadata(source.tree, source.project, source.filename, sha256=digest)
        return _fresh(data, start, stop).with_sha256(digest)

    def stored_signature(self, tree: str, project: str, filename: str, start: int, stop: int | None) -> Blob | None:
        """The signature that was fetched before; None if there is none."""
        try:
            return self._store.open(file_key(tree, project, f"{filename}.asc"), start, stop)
        except NotFound:
            return None

    def signature(self, source: Source, file: File, start: int, stop: int | None) -> Blob:
        """FILE.asc. NotFound if the upstream has none, Unavailable if what it has is none."""
        if file.gpg_sig is False:
            raise NotFound(f"{source.filename} has no signature")
        key = file_key(source.tree, source.project, f"{source.filename}.asc")
        with self._locks.hold(key):
            blob = self.stored_signature(source.tree, source.project, source.filename, start, stop)
            if blob is not None:
                return blob
            data = self._fetched(source, file.sig_url or f"{source.url}.asc", MAX_SIGNATURE)
            try:
                check_signature(data)
            except Invalid as error:
                text = f"the upstream's signature of {source.filename} {error}: it was not kept"
                raise Unavailable(text, kind="upstream") from None
            self._store.replace(key, io.BytesIO(data))
            self._catalog.save_fetched_signature(source.tree, source.project, source.filename)
        return _fresh(data, start, stop)

    def _make_metadata(self, source: Source, file: File) -> bytes:
        """From the first place that has it as it should be; the last error if none has."""
        failure: CaseusError | None = None
        for place, read, digests in self._places(source, file):
            try:
                data = read()
                algorithm = strongest(digests)
                if data is not None and algorithm and digest_of(algorithm, data) != digests[algorithm]:
                    raise Unavailable(f"it has the wrong {algorithm}", kind="upstream")
            except (NotFound, Invalid, Unavailable) as error:
                failure = error
                log.info("metadata.not_there", filename=source.filename, place=place, error=str(error))
                if isinstance(error, Unavailable) and error.kind in ("timeout", "full"):
                    break
                continue
            if data is not None:
                return data
        kind = failure.kind if isinstance(failure, Unavailable) else "upstream"
        raise Unavailable(f"the METADATA of {source.filename} can't be had: {failure}", kind=kind) from failure

    def _places(
        self, source: Source, file: File
    ) -> Iterator[tuple[str, Callable[[], bytes | None], Mapping[str, str]]]:
        """Where METADATA may be, the cheapest first, and by which digests it is known.

        What was read from a verified wheel is right whatever we saw before, if it is what the upstream advertises.
        """
        advertised = file.core_metadata if isinstance(file.core_metadata, dict) else {}
        row = self._catalog.fetched(source.tree, source.project, source.filename)
        known = {"sha256": row.metadata_sha256} if row is not None and row.metadata_sha256 else advertised
        wheel = source.filename.endswith(".whl")
        if wheel:
            yield "cached wheel", partial(self._from_cached_wheel, source), advertised
        if file.metadata_url is not None:
            yield "upstream's sidecar", partial(self._fetched, source, file.metadata_url, METADATA_LIMIT), known
        if wheel:
            yield "ranges of the wheel", partial(self._from_ranges, source), known
            yield "whole wheel", partial(self._from_whole_wheel, source), advertised

    def _fetched(self, source: Source, url: str, limit: int) -> bytes:
        with within(self._upstream.timeouts.page), self._upstream.fetch(url, source.linked) as response:
            if response.media_type in ("text/html", "application/xhtml+xml"):
                raise Unavailable("the upstream sends an HTML page (a login or error page?)", kind="upstream")
            return response.body(limit)

    def _from_cached_wheel(self, source: Source) -> bytes | None:
        stored = self._fills.stored(source.tree, source.project, source.filename)
        if stored is None:
            return None
        with os.fdopen(stored[0], "rb") as reader:
            return read_wheel_metadata(reader, source.filename)

    def _from_ranges(self, source: Source) -> bytes | None:
        fetch = partial(self._upstream.fetch, source.url, source.linked)
        try:
            with within(self._upstream.timeouts.page), open_ranged(fetch, limit=METADATA_LIMIT) as reader:
                return read_wheel_metadata(reader, source.filename)
        except RangesRefused:
            return None

    def _from_whole_wheel(self, source: Source) -> bytes:
        with self._fills.whole(source) as reader:
            return read_wheel_metadata(reader, source.filename)


def _fresh(data: bytes, start: int, stop: int | None) -> BytesBlob:
    """What was fetched or made just now."""
    blob = BytesBlob(data, start, stop)
    blob.stored = False
    return blob
