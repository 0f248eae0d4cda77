"""Whether what is written waits for the disk: always, unless a person gave that up for a migration.

It is said once, for the whole process, before anything is opened: a store that waits beside a catalog that does not
would promise what it can't hold.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

_AT_ONCE = 8

_waits = True


def configure(*, waits: bool) -> None:
    global _waits
    _waits = waits


def sync(descriptor: int) -> None:
    """fsync(2), if this process waits for the disk."""
    if _waits:
        os.fsync(descriptor)


def sync_all(descriptors: Sequence[int]) -> None:
    """fsync(2) of each, at once: so they wait for one commit of the file system's journal, and not for one each."""
    if not _waits:
        return
    failures: list[OSError] = []

    def work(first: int) -> None:
        try:
            for descriptor in descriptors[first::_AT_ONCE]:
                sync(descriptor)
        except OSError as error:
            failures.append(error)

    threads = []
    for first in range(1, min(_AT_ONCE, len(descriptors))):
        thread = threading.Thread(target=work, args=(first,), name="caseus-sync")
        try:
            thread.start()
        except RuntimeError:  # no more threads
            work(first)
        else:
            threads.append(thread)
    work(0)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def synchronous() -> str:
    """The value of SQLite's pragma of that name."""
    return "FULL" if _waits else "OFF"
