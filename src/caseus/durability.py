"""Whether what is written waits for the disk: always, unless a person gave that up for a migration.

It is said once, for the whole process, before anything is opened: a store that waits beside a catalog that does not
would promise what it can't hold.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caseus.kernel_aio import KernelAio

_waits = True


def configure(*, waits: bool) -> None:
    global _waits
    _waits = waits


def sync(descriptor: int) -> None:
    """fsync(2), if this process waits for the disk."""
    if _waits:
        os.fsync(descriptor)


def nothing() -> bool:
    """There is nothing to do meanwhile."""
    return False


def sync_all(descriptors: Sequence[int], meanwhile: Callable[[], bool] = nothing) -> None:
    """fsync(2) of each, at once: so they wait for one commit of the file system's journal, and not for one each.

    Where the kernel does not do that, and where others do the same just now, one after the other. `meanwhile` may be
    called while the disk is busy: it does some of what else there is to do, and tells whether there was any. It must
    not raise.
    """
    if not _waits:
        return
    left = list(descriptors)
    while len(left) > 1 and (done := _kernel.sync(left, meanwhile)):
        del left[:done]
    for descriptor in left:
        sync(descriptor)


class _Kernel:
    """The kernel's way to sync several at once, for the one of all threads that has it just now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._aio: KernelAio | None = None
        self._process = 0

    def sync(self, descriptors: Sequence[int], meanwhile: Callable[[], bool]) -> int:
        """How many of the first are durable. OSError."""
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            if self._process != os.getpid():  # a fork does not take it along
                self._process, self._aio = os.getpid(), _open()
            return 0 if self._aio is None else self._aio.fsync(descriptors, meanwhile)
        finally:
            self._lock.release()


def _open() -> KernelAio | None:
    from caseus.kernel_aio import KernelAio

    try:
        return KernelAio()
    except OSError:  # an old or a strict system
        return None


_kernel = _Kernel()


def synchronous() -> str:
    """The value of SQLite's pragma of that name."""
    return "FULL" if _waits else "OFF"
