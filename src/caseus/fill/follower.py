"""A file of the cache while it is being filled, as one client reads it: a descriptor and a position, no thread."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, Self

from caseus.errors import BadRange, Unavailable
from caseus.fill.part import Part, Verdict, same_inode, verdict
from caseus.storage import State
from caseus.storage.blobs import resolve_range

HOLD_BACK = 65_536
"""The last bytes that nobody gets before the whole is verified: a client can't take wrong bytes for a whole file."""

_ROOM_FOR_WORDS = 65_536  # bytes: a disk with less free may have had none for the words of a verdict
_STALL = 60.0  # seconds without a sign from the filler, which itself gives up after 10 without one from the upstream
_RESTARTS = 10
_PAUSE, _LONGEST_PAUSE = 0.01, 0.05


class Filler(Protocol):
    """What a follower needs of who fills."""

    def attach(self) -> tuple[int, bool]:
        """A descriptor, and whether it is of the whole file; else of its part, and the filling runs."""
        ...

    def take_over(self, lock: int) -> None:
        """Go on where a filler died; `lock` is the part's and is given away."""
        ...


class Follower:
    """A Blob. Not shared between threads."""

    def __init__(
        self,
        filler: Filler,
        part: Part,
        start: int,
        stop: int | None,
        *,
        sha256: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sha256 = sha256
        self._filler, self._part = filler, part
        self._wanted = start, stop
        self._clock, self._sleep = clock, sleep
        self._size: int | None = None
        self._start = self._at = max(0, start)
        self._stop: int | None = None
        self._restarts = 0
        self._kept = False  # whether our shared lock keeps the verified file from eviction
        self._fd, self._whole = filler.attach()
        self.stored = self._whole
        self._seen: tuple[object, float] = (None, clock())  # the last sign of life, and when it changed

    @property
    def size(self) -> int | None:
        return self._size

    @property
    def start(self) -> int:
        return self._start

    @property
    def stop(self) -> int | None:
        return self._stop

    def fileno(self) -> int:
        """The open descriptor; only what was verified may be read by it."""
        return self._fd

    def read(self, n: int = 262_144, /) -> bytes:
        pause = _PAUSE
        while True:
            data, state = self.available(n)
            if data or state is State.END:
                return data
            self._sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def available(self, n: int = 262_144, /) -> tuple[bytes, State]:
        status = os.fstat(self._fd)
        said = Verdict.VERIFIED if self._whole else verdict(self._fd)
        if said is Verdict.FAILED:
            raise self._failure()
        if said is Verdict.VERIFIED:
            return self._verified(n, os.fstat(self._fd).st_size)
        if self._size is None:
            told = self._part.state(self._fd)
            if told is not None and told.size is not None:
                with suppress(BadRange):  # the verdict tells first whether this is the file's size at all
                    self._resolve(told.size)
        if self._stop is not None:
            limit = min(status.st_size, self._stop - HOLD_BACK)
            if self._at < limit:
                return self._take(min(n, limit - self._at)), State.MORE
        self._idle(status.st_size)
        return b"", State.WAITING if self._at == self._start else State.MORE

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _verified(self, n: int, size: int) -> tuple[bytes, State]:
        if self._stop is None:
            self._resolve(size)
        assert self._stop is not None
        if not self._kept:
            with suppress(BlockingIOError):  # the filler still has its lock: at the next look
                fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._kept = True
        data = self._take(min(n, self._stop - self._at)) if self._at < self._stop else b""
        return data, State.END if self._at >= self._stop else State.MORE

    def _resolve(self, size: int) -> None:
        self._start, self._stop = resolve_range(size, *self._wanted)
        self._at, self._size = self._start, size

    def _take(self, n: int) -> bytes:
        try:
            data = os.pread(self._fd, n, self._at)
        except OSError as error:
            raise Unavailable(f"the cache can't read a file: {error.strerror}", kind="local") from error
        if not data and n:
            raise Unavailable("a file of the cache is shorter than it was: try again", kind="local")
        self._at += len(data)
        return data

    def _idle(self, size: int) -> None:
        """Nothing to hand out: is anybody still filling? Never waits."""
        if size != self._seen[0]:
            self._seen = size, self._clock()
        elif self._clock() - self._seen[1] > _STALL:
            raise Unavailable("a file is being fetched, but nothing came for too long: try again", kind="timeout")
        try:
            lock = self._part.take(create=False)
        except OSError:  # no descriptor to be had just now: at the next look
            return
        if lock is not None and same_inode(lock, self._fd):
            self._filler.take_over(lock)  # whoever filled it is dead
            return
        if lock is not None:
            os.close(lock)
        elif self._part.is_current(self._fd):
            return
        # The part's name is gone. A verdict comes before that, so without one the part was given up.
        if verdict(self._fd) is Verdict.OPEN:
            self._restart()

    def _restart(self) -> None:
        self._restarts += 1
        if self._at != self._start or self._restarts > _RESTARTS:
            raise Unavailable("the fetching of a file began anew: try again", kind="upstream", retry_after=1)
        fd, whole = self._filler.attach()
        self.close()
        self._fd, self._whole, self._size, self._stop = fd, whole, None, None

    def _failure(self) -> Unavailable:
        told = self._part.state(self._fd)
        if told is None or told.error is None:
            space = os.fstatvfs(self._fd)
            if space.f_bavail * space.f_frsize < _ROOM_FOR_WORDS:
                return Unavailable("no space left for the cache: free some space and try again", kind="full")
            # The upstream's faults come with words: that there are none is trouble of our own, such as no descriptor.
            return Unavailable("a file could not be fetched: see the log, and try again", kind="local", retry_after=1)
        return Unavailable(told.error, kind=told.kind)
