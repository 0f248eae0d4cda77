"""flock: the one lock between processes that a killed process can't leave behind."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caseus.errors import Unavailable


class Lock:
    """A file's lock, for one thread. The file stays open, so that a process without descriptors left can still write.

    OSError if the file can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    @contextmanager
    def held(self, *, timeout: float = 10.0) -> Iterator[None]:
        """Hold it alone. Unavailable("local") if another process keeps it longer than `timeout` seconds."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        _acquire(self._fd, timeout)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextmanager
def exclusive(path: Path, *, timeout: float = 10.0) -> Iterator[None]:
    """Hold a file's lock once, as `Lock` does."""
    lock = Lock(path)
    try:
        with lock.held(timeout=timeout):
            yield
    finally:
        lock.close()


def _acquire(fd: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    pause = 0.0005
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable(
                    "another process keeps the catalog's write lock: try again", kind="local", retry_after=5
                ) from None
            time.sleep(pause)
            pause = min(pause * 2, 0.02)


@contextmanager
def exclusive_at_once(path: Path) -> Iterator[bool]:
    """Hold the file's lock alone if nobody else holds it just now; gives whether it is held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def is_open(path: Path) -> bool:
    """Whether a process has the root open; asked before this process opens it itself."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Presence:
    """Held by every process that has a root open: shared, or for a moment alone, to clean up after the dead."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.alone = False
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def try_alone(self) -> bool:
        """Keep all others out, until `share`; False if another is there."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._fd, fcntl.LOCK_SH)  # a failed conversion may have given the old lock up (flock(2))
        else:
            self.alone = True
        return self.alone

    def share(self) -> None:
        """Let others in."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        self.alone = False

    def close(self) -> None:
        os.close(self._fd)
