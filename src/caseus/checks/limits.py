"""How much of a strange archive is looked at, and how a message shows strange text."""

from __future__ import annotations

import msgspec

from caseus.errors import Unavailable

MIB = 1 << 20

MAX_METADATA = 10 * MIB
"""Bytes of METADATA or PKG-INFO, and so of the description in it."""
MAX_ENTRIES = 100_000
"""Members of one archive."""
MAX_PRODUCED = 512 * MIB
"""Bytes that may come out of a compressed tar while it is read; of a file over half of that, twice its own size."""
MAX_DIRECTORY = 32 * MIB
"""Bytes of a zip's central directory: a hundred thousand long names."""
MAX_FAULTS = 20
"""Faults of single members that are collected before the look into an archive ends."""
MAX_SIGNATURE = 64 * 1024
"""Bytes of a detached signature."""

LOOSE = "a source distribution has one folder at its top, with everything in it"
NO_PKG_INFO = "the archive has no PKG-INFO in its top folder"

_SHOWN = 80


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in an archive: its METADATA or PKG-INFO as far as it could be read, and what is wrong."""

    metadata: bytes | None
    faults: tuple[str, ...]
    odd: tuple[str, ...] = ()
    """Those of the faults that harm nobody: an upload is refused for them, what was published elsewhere is not."""


def unreadable(error: OSError) -> Unavailable:
    """Our own disk's fault, and not the archive's."""
    return Unavailable(f"the file can't be read: {error.strerror}", kind="local")


def shown(text: str) -> str:
    """The text quoted for a message: printable ASCII, and short."""
    quoted = ascii(text[:_SHOWN])
    return quoted if len(text) <= _SHOWN and len(quoted) <= _SHOWN else quoted[: _SHOWN - 4].rstrip("\\") + "...'"


def plain(text: str) -> str:
    """The text for a message without quotes: printable ASCII in one line, and short."""
    return ascii(text[:_SHOWN])[1:-1][:_SHOWN]
