"""Ready files: open descriptors of what is asked for again and again, with the headers that go with them.

What an index answers for a file depends on the same facts as its project's page, so an open file is right for as long
as that page would be. Its bytes are those that its name had when it was opened: if its inode has changed since (it was
deleted, replaced, evicted, written to), it is closed and asked for anew.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import resource
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from packaging.utils import NormalizedName

from caseus.errors import CaseusError
from caseus.index import Index
from caseus.model import Validity
from caseus.recent import Recent
from caseus.storage.blobs import FileBlob
from caseus.web.file_headers import file_headers
from caseus.web.judge import Judge, Made
from caseus.web.ready import Told

LIFETIME: Final = 60.0
"""Seconds after which a file is asked for anew, so that the cache learns that it is still read."""
_SWEEP: Final = 10.0
MOST_READY: Final = 1024
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)


def files_for(open_files: int) -> int:
    """How many may be kept open, of so many that the process may have."""
    return min(MOST_READY, open_files // 16)


class Known(NamedTuple):
    """What is known of a project: the catalog's serial, read first, and the validity of its page if that is ready."""

    serial: int
    validity: Validity | None


class FileKey(NamedTuple):
    """`filename`: of the file or of a sidecar of it."""

    index_name: str
    project: NormalizedName
    filename: str


@dataclass(slots=True, kw_only=True)
class ReadyFile(Made):
    """An open file. `etag` has its quotes; `changed`: of the inode, when it was opened."""

    fd: int
    size: int
    etag: str
    told: Told
    changed: int
    readers: int = 0
    dropped: bool = False
    waits: bool = _NOWAIT is None
    """The file system can't say whether a read would wait for a disk."""

    def is_same(self) -> bool:
        """Whether nothing happened to the inode: it has the same names, bytes and mode."""
        return os.fstat(self.fd).st_ctime_ns == self.changed

    def read_at_once(self, start: int, count: int) -> bytearray | None:
        """So many bytes, if they are in memory; None if a read would have to wait, or gives less."""
        if self.waits or _NOWAIT is None:
            return None
        data = bytearray(count)
        try:
            got = os.preadv(self.fd, [data], start, _NOWAIT)
        except OSError as error:
            self.waits = error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
            return None
        return data if got == count else None

    def read(self, start: int, count: int) -> bytes:
        """So many bytes, fewer where the file got shorter. OSError. May wait for a disk."""
        return os.pread(self.fd, count, start)

    def hold(self) -> None:
        """Somebody reads it for a while: as an open file of the cache it is not evicted meanwhile."""
        self.readers += 1
        if self.readers == 1:
            with suppress(OSError):
                fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def release(self) -> None:
        self.readers -= 1
        if not self.readers:
            if self.dropped:
                os.close(self.fd)
            else:
                fcntl.flock(self.fd, fcntl.LOCK_UN)

    def drop(self) -> None:
        """Close it, when nobody reads it any more."""
        self.dropped = True
        if not self.readers:
            os.close(self.fd)


class ReadyFiles:
    """At most `limit` open files, least recently used closed first. Belongs to one loop."""

    def __init__(self, judge: Judge, clock: Callable[[], float], *, limit: int | None = None) -> None:
        self._judge, self._clock = judge, clock
        self._limit = files_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) if limit is None else limit
        self._ready: OrderedDict[FileKey, ReadyFile] = OrderedDict()
        self._asked: Recent[FileKey, bool] = Recent(4096)
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ready)

    def at_once(self, key: FileKey) -> ReadyFile | None:
        """The file as it is now, if that can be said without waiting."""
        ready = self._ready.get(key)
        if ready is None:
            return None
        right = self._judge.is_right(ready)
        if right and ready.is_same():
            self._ready.move_to_end(key)
            return ready
        if right is not None:
            self._drop(key)
        return None

    def __contains__(self, key: FileKey) -> bool:
        """Whether it is ready, right or not."""
        return key in self._ready

    def is_wanted(self, key: FileKey) -> bool:
        """Whether it is worth making ready: asked for twice, and not ready. Metadata is at once: who resolves asks for
        it again each time, and keeps the file."""
        if self._limit and key not in self._ready and (key.filename.endswith(".metadata") or self._asked.get(key)):
            return True
        self._asked.put(key, True)
        return False

    def keep(self, key: FileKey, ready: ReadyFile) -> None:
        """Takes over the descriptor."""
        self._drop(key)
        self._ready[key] = ready
        while len(self._ready) > self._limit:
            self._drop(next(iter(self._ready)))
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for key in list(self._ready):
            self._drop(key)

    def _sweep(self) -> None:
        """Closes those that nobody may get any more: the disk keeps their bytes for as long as they are open."""
        for key, ready in list(self._ready.items()):
            if self._clock() >= ready.until or not ready.is_same():
                self._drop(key)
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(_SWEEP, self._sweep) if self._ready else None

    def _drop(self, key: FileKey) -> None:
        ready = self._ready.pop(key, None)
        if ready is not None:
            ready.drop()


def open_ready(index: Index, key: FileKey, known: Known, now: float, *, private: bool) -> ReadyFile | None:
    """The file as the index has it, None if it is no plain stored one, or can't be opened now. Blocks."""
    try:
        validity = known.validity or index.project(key.project).validity  # first: what is opened may only be newer
        with index.open(key.project, key.filename) as blob:
            if not isinstance(blob, FileBlob) or blob.sha256 is None:
                return None
            etag, size, fd = f'"{blob.sha256}"', blob.size, os.dup(blob.fileno())
    except (CaseusError, OSError):  # also where there are no descriptors left
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)  # kept from eviction only while it is read
        changed = os.fstat(fd).st_ctime_ns
    except OSError:
        os.close(fd)
        return None
    return ReadyFile(
        validity=validity, serial=known.serial, until=now + LIFETIME, fd=fd, size=size, etag=etag, changed=changed,
        told=Told(*file_headers(key.filename, etag, private=private)),
    )  # fmt: skip
