"""Whether what is written waits for the disk: always, unless a person gave that up for a migration.

It is said once, for the whole process, before anything is opened: a store that waits beside a catalog that does not
would promise what it can't hold.
"""

from __future__ import annotations

import os

_waits = True


def configure(*, waits: bool) -> None:
    global _waits
    _waits = waits


def sync(descriptor: int) -> None:
    """fsync(2), if this process waits for the disk."""
    if _waits:
        os.fsync(descriptor)


def synchronous() -> str:
    """The value of SQLite's pragma of that name."""
    return "FULL" if _waits else "OFF"
