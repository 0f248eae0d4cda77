"""What SQLite and the system report, as our errors."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from caseus.errors import Unavailable

TROUBLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading may raise: SQLite quotes a damaged schema, and Python can't decode what it quotes."""

_RETRY = 5.0  # seconds
_SHARED_MEMORY = 64 * 1024
"""Bytes: a disk with less free has no room for what SQLite makes beside a database, and it says only "I/O error"."""


def unreadable(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> Unavailable:
    """An unsure catalog is 503 (507 on a full disk) for every name, so that no private name is ever asked upstream."""
    if _is_full(error, path):
        return _full("read")
    return Unavailable(f"the catalog can't be read ({error}): try again", kind="local", retry_after=_RETRY)


def unwritable(error: sqlite3.Error | OSError, path: Path) -> Unavailable:
    """Of any write that failed, also one that waited for its locks in vain."""
    if _is_full(error, path):
        return _full("write")
    return Unavailable(f"the catalog can't be written ({error}): try again", kind="local", retry_after=_RETRY)


def _full(verb: str) -> Unavailable:
    return Unavailable(f"no space left to {verb} the catalog: free some and try again", kind="full")


def _is_full(error: Exception, path: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", None)
    if code is None or code & 0xFF != sqlite3.SQLITE_IOERR:
        return code == sqlite3.SQLITE_FULL
    try:
        told = os.statvfs(os.path.realpath(path))
    except OSError:
        return False
    return told.f_bavail * told.f_frsize < _SHARED_MEMORY
