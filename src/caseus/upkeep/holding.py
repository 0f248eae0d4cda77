"""One lock file a folder for what must not run at once: a backup may not lose bytes that `gc` takes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caseus.errors import Busy

LOCK = "upkeep.lock"


@contextmanager
def holding(folder: Path, *, alone: bool, others: str) -> Iterator[None]:
    """Hold the folder's lock; any number may hold it who are not alone. Busy, `others` says who has it."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{others} of {folder} runs: try again when it is done", retry_after=60) from None
        yield
    finally:
        os.close(fd)
