"""Whether what is written waits for the disk: always, unless a person gave that up for a migration.

It is said once, for the whole process, before anything is opened: a store that waits beside a catalog that does not
would promise what it can't hold.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable, Sequence

_AT_ONCE = 8
_helpers = threading.Lock()
"""Held by the one of all that has threads to help it."""

_waits = True


def configure(*, waits: bool) -> None:
    global _waits
    _waits = waits


def sync(descriptor: int) -> None:
    """fsync(2), if this process waits for the disk."""
    if _waits:
        os.fsync(descriptor)


def sync_all(descriptors: Sequence[int]) -> None:
    """fsync(2) of each, at once: so they wait for one commit of the file system's journal, and not for one each.

    Where others do the same just now, one after the other: they share commits with those, and threads cost more.
    """
    if not _waits:
        return
    if len(descriptors) < 2 or not _helpers.acquire(blocking=False):
        for descriptor in descriptors:
            sync(descriptor)
        return
    try:
        _sync_at_once(descriptors)
    finally:
        _helpers.release()


def _sync_at_once(descriptors: Sequence[int]) -> None:
    failures: list[OSError] = []

    def work(first: int, done: _thread.LockType) -> None:
        try:
            for descriptor in descriptors[first::_AT_ONCE]:
                sync(descriptor)
        except OSError as error:
            failures.append(error)
        finally:
            done.release()

    ends = [_thread.allocate_lock() for _ in descriptors[:_AT_ONCE]]
    for first, end in reversed(list(enumerate(ends))):
        end.acquire()
        _begin(work, first, end)
    for end in ends:
        end.acquire()
    if failures:
        raise failures[0]


def _begin(work: Callable[[int, _thread.LockType], None], first: int, end: _thread.LockType) -> None:
    """In a thread, but for the first; a `threading.Thread` costs as much as all else here."""
    if first:
        try:
            _thread.start_new_thread(work, (first, end))
        except RuntimeError:  # there can be no more
            pass
        else:
            return
    work(first, end)


def synchronous() -> str:
    """The value of SQLite's pragma of that name."""
    return "FULL" if _waits else "OFF"
