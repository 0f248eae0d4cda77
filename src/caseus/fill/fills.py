"""Who fills the cache: a few threads, each with the lock of a part, and the keeping of what they fetched."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, ClassVar

import structlog

from caseus import durability
from caseus.catalog import Catalog
from caseus.errors import CaseusError, Conflict, NotFound, Unavailable
from caseus.expiring import Expiring
from caseus.fill.eviction import Evictor, keep_from_eviction
from caseus.fill.filling import Filling, Source, Wrong
from caseus.fill.follower import Follower
from caseus.fill.part import Part, Verdict, clean, same_inode, verdict
from caseus.storage import Blob
from caseus.storage.blobs import FileBlob
from caseus.storage.filesystem import FilesystemStorage
from caseus.upstream import Upstream

FOLDER = ".fill"

_THREADS = 32
_ATTACHMENTS = 100
_ATTEMPTS = 2
_MOST_WRONG = 1000

log: Any = structlog.get_logger(__name__)


class _Stopped(Exception):
    """We are closing: the part stays for whoever goes on."""


class Fills:
    """Fetches files of one upstream into the store, at most `cache_bytes` of them. Thread-safe.

    `clock`: Unix seconds.
    """

    wrong_for: ClassVar[float] = 60.0
    """Seconds for which a file that turned out wrong is not fetched again, unless its page tells something new."""

    def __init__(
        self,
        catalog: Catalog,
        store: FilesystemStorage,
        upstream: Upstream,
        cache_bytes: int,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog, self._store, self._upstream = catalog, store, upstream
        self._cache_bytes, self._clock = cache_bytes, clock
        self._wrong: Expiring[str, tuple[Source, Wrong]] = Expiring(_MOST_WRONG, self.wrong_for)
        self._folder = store.root / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._evictor = Evictor(catalog, store, self._folder, cache_bytes)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="fill")
        self._stopping = threading.Event()

    def open(self, source: Source, start: int = 0, stop: int | None = None, *, sha256: str | None = None) -> Blob:
        """The file, cached or while it is being fetched; doesn't wait for the upstream. Unavailable, BadRange."""
        stored = self.stored(source.tree, source.project, source.filename)
        if stored is not None:
            fd, sha256 = stored
            return FileBlob(fd, start, stop).with_sha256(sha256)
        filler = _SourceFiller(self, source)
        return Follower(filler, filler.part, start, stop, sha256=sha256)

    def whole(self, source: Source) -> BinaryIO:
        """The verified file, seekable; waits until it is fetched. Unavailable."""
        filler = _SourceFiller(self, source)
        with Follower(filler, filler.part, -1, None) as follower:
            follower.read(1)  # the last byte comes last
            return os.fdopen(os.dup(follower.fileno()), "rb")

    def stored(self, tree: str, project: str, filename: str) -> tuple[int, str] | None:
        """A descriptor of the cached file, kept from eviction while open, and its sha256; None if it isn't there."""
        row = self._catalog.fetched(tree, project, filename)
        if row is None or not row.stored or row.sha256 is None:
            return None
        try:
            with self._store.open(f"{tree}/{project}/{filename}") as blob:
                if blob.size != row.size:
                    return None
                fd = os.dup(blob.fileno())
        except NotFound:  # "fetched/ may be deleted at any time"
            return None
        keep_from_eviction(fd)
        self._catalog.used(tree, project, filename)
        return fd, row.sha256

    def clean(self) -> None:
        """Removes what dead fillers left."""
        clean(self._folder)

    def close(self) -> None:
        """Stops filling; parts stay for the next."""
        self._stopping.set()
        self._threads.shutdown()

    # for followers

    def attach(self, source: Source, part: Part) -> tuple[int, bool]:
        """A descriptor, and whether it is of the cached file; else of the part, which is being filled."""
        for _ in range(_ATTACHMENTS):
            stored = self.stored(source.tree, source.project, source.filename)
            if stored is not None:
                return stored[0], True
            self._refuse_wrong(source)
            lock, fd = self._begin_to_follow(part)
            if self._is_filled(source, part, lock, fd) and fd is not None:
                return fd, False
        raise Unavailable(f"the cache can't begin to fetch {source.filename}: try again", kind="local", retry_after=1)

    def _begin_to_follow(self, part: Part) -> tuple[int | None, int | None]:
        """The lock, if it was free, and a descriptor for reading: before a filler runs, who takes the name away."""
        lock = None
        try:
            lock = part.take()
            return lock, part.follow()
        except OSError as error:
            if lock is not None:
                os.close(lock)  # else everybody would wait for a filler that there is not
            raise _unwritable(error) from error

    def _refuse_wrong(self, source: Source) -> None:
        """Raises if the very same file was fetched a moment ago, and was wrong."""
        now = self._clock()
        known = self._wrong.get(source.key, now)
        if known is not None and known.value[0] == source:
            error = known.value[1]
            raise Unavailable(str(error), kind=error.kind, retry_after=known.until - now)

    def _is_filled(self, source: Source, part: Part, lock: int | None, fd: int | None) -> bool:
        """Starts a filler if the lock is ours; whether anybody fills. Closes `fd` if not."""
        filled = False
        try:
            filled = lock is None or self.begin(source, part, lock)
        finally:
            if not filled and fd is not None:
                os.close(fd)
        return filled

    def begin(self, source: Source, part: Part, lock: int) -> bool:
        """Starts a filler that has the lock; False if there was nothing left to do but to take the part away."""
        try:
            if self._is_done(source, part, lock):
                os.close(lock)
                return False
            self._threads.submit(self._run, source, part, lock)
        except BaseException as error:
            os.close(lock)
            if isinstance(error, RuntimeError) and self._stopping.is_set():
                raise Unavailable("caseus is shutting down: try again", kind="local", retry_after=1) from None
            raise
        return True

    def _is_done(self, source: Source, part: Part, lock: int) -> bool:
        """Whether a filler before us got to the end, and maybe died before it could take the part away."""
        if verdict(lock) is not Verdict.OPEN:
            part.remove(lock)
            return True
        stored = self.stored(source.tree, source.project, source.filename)
        if stored is None:
            return False
        try:
            if same_inode(stored[0], lock):
                part.verified(lock)
            else:
                part.remove(lock)
        finally:
            os.close(stored[0])
        return True

    # in a filler's thread

    def _run(self, source: Source, part: Part, lock: int) -> None:
        try:
            if self._stopping.is_set():
                raise _Stopped
            self._fill(source, part, lock)
        except _Stopped:
            return
        except CaseusError as error:
            log.warning("fill.failed", filename=source.filename, upstream=self._upstream.name, error=str(error))
            part.failed(lock, error if isinstance(error, Unavailable) else Unavailable(str(error), kind="upstream"))
        except OSError as error:
            log.error("fill.failed", filename=source.filename, upstream=self._upstream.name, error=str(error))
            part.failed(lock, _unwritable(error))
        except Exception:
            log.exception("fill.failed", filename=source.filename, upstream=self._upstream.name)
            part.failed(lock, Unavailable("the cache failed to fetch a file: see the log", kind="local"))
        finally:
            os.close(lock)
        self._evict()

    def _fill(self, source: Source, part: Part, lock: int) -> None:
        row = self._catalog.fetched(source.tree, source.project, source.filename)
        self._store.delete(source.key)  # bytes that no fact knows: their filler died before it could tell
        filling = Filling(source, lock, row.sha256 if row else None)
        filling.take_stock()
        modified, left_by_others = None, filling.done
        try:
            if not filling.complete:
                modified = self._fetch(filling, source, part, lock)
            filling.check()
        except Wrong as error:
            if not left_by_others:  # else it may be that what is wrong
                self._wrong.put(source.key, (source, error), until=self._clock() + self.wrong_for)
            raise
        durability.sync(lock)
        keep = filling.done <= self._cache_bytes
        if keep:
            self._store.adopt(part.path, source.key)
        if not part.is_current(lock):  # what was adopted may be another filler's: no fact, and the next fill deletes it
            raise Unavailable(f"{FOLDER} was emptied while it was used: try again", kind="local")
        self._tell_catalog(filling, source, modified, keep)
        part.verified(lock)

    def _fetch(self, filling: Filling, source: Source, part: Part, lock: int) -> float | None:
        """Gets what is missing, once more if it breaks off on the way. The file's Last-Modified, Unix seconds."""
        for attempt in range(1, _ATTEMPTS + 1):
            before = filling.done
            told = part.state(lock)
            etag = told.etag if told else None
            # Without a digest only the ETag says that the rest belongs to what we have.
            start = before if (filling.has_digest or etag) and before != filling.size else 0
            try:
                with self._upstream.fetch(
                    source.url, source.linked, start=start, etag=etag if start else None
                ) as answer:
                    filling.accept(answer)
                    part.tell(lock, size=filling.size, etag=answer.strong_etag)
                    filling.receive(self._unless_stopped(answer.chunks()), answer.start)
                    return answer.modified
            except Wrong:
                raise
            except Unavailable:
                if attempt == _ATTEMPTS or filling.done == before:
                    raise
        raise AssertionError("unreachable")

    def _unless_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stopping.is_set():
                raise _Stopped
            yield chunk

    def _tell_catalog(self, filling: Filling, source: Source, modified: float | None, keep: bool) -> None:
        try:
            self._catalog.save_fetched(
                source.tree,
                source.project,
                source.filename,
                sha256=filling.sha256,
                size=filling.done,
                modified=modified,
            )
        except Conflict:
            self._store.delete(source.key)
            raise
        if not keep:  # larger than the whole cache: those who follow have it, and its digest is bound
            self._catalog.evicted(source.tree, source.project, source.filename)

    def _evict(self) -> None:
        try:
            self._evictor.run()
        except CaseusError as error:
            log.warning("cache.not_evicted", error=str(error))


class _SourceFiller:
    """`Fills` for one source."""

    def __init__(self, fills: Fills, source: Source) -> None:
        self.part = Part(fills._folder, source.key)
        self._fills, self._source = fills, source

    def attach(self) -> tuple[int, bool]:
        return self._fills.attach(self._source, self.part)

    def take_over(self, lock: int) -> None:
        self._fills.begin(self._source, self.part, lock)


def _unwritable(error: OSError) -> Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("no space left for the cache: free some space and try again", kind="full")
    return Unavailable(f"the cache can't write: {error.strerror or 'unknown error'}", kind="local")
