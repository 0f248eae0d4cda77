"""fsync(2) of many descriptors by one call: Linux's io_submit(2) with IOCB_CMD_FSYNC (5.10: fs/aio.c, linux/aio_abi.h).

The kernel's own threads do it at the same time. Threads of Python would each have to be woken, and to get hold of the
interpreter twice.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable, Sequence

MOST = 64
"""Descriptors of one call."""

_FSYNC = 2
_GENERIC = (0, 2, 4)
_NUMBERS = {"x86_64": (206, 209, 208), "aarch64": _GENERIC, "riscv64": _GENERIC, "loongarch64": _GENERIC}
"""Of io_setup, io_submit and io_getevents, by machine; glibc has no functions for them."""


class _Request(ctypes.Structure):
    """struct iocb."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_uint32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("fd", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("eventfd", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    """struct io_event; `result`: 0 or a negative errno."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("request", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


class KernelAio:
    """A context of the kernel, which a fork does not take along. For one thread at a time. OSError if there is none."""

    def __init__(self) -> None:
        numbers = _NUMBERS.get(platform.machine()) if sys.platform == "linux" and sys.maxsize > 1 << 32 else None
        if numbers is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        setup, self._submit, self._getevents = map(ctypes.c_long, numbers)
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        if self._call(setup, ctypes.c_long(MOST), ctypes.byref(self._context)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._requests = (_Request * MOST)()
        self._pointers = (ctypes.c_void_p * MOST)(*map(ctypes.addressof, self._requests))
        self._events = (_Event * MOST)()

    def fsync(self, descriptors: Sequence[int], meanwhile: Callable[[], bool]) -> int:
        """Wait for the first of them, at most `MOST`; how many. The kernel may take fewer, or none.

        `meanwhile` does some of what else there is to do, and tells whether there was any; it must not raise. OSError
        if a descriptor can't be synced; all have ended then.
        """
        wanted = descriptors[:MOST]
        for number, descriptor in enumerate(wanted):
            request = self._requests[number]
            request.opcode, request.fd = _FSYNC, descriptor
        taken = max(0, int(self._call(self._submit, self._context, ctypes.c_long(len(wanted)), self._pointers)))
        left, failed = taken, 0
        while left:
            least = 0 if meanwhile() else left
            ended = self._call(
                self._getevents, self._context, ctypes.c_long(least), ctypes.c_long(left), self._events, None
            )
            if ended < 0 and ctypes.get_errno() != errno.EINTR:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            for event in self._events[: max(0, ended)]:
                failed = failed or -event.result
            left -= max(0, ended)
        if failed:
            raise OSError(failed, os.strerror(failed))
        return taken
