"""Where bytes are: the protocol that every store keeps, and the one place that draws its layout.

A key is one or more segments of `[A-Za-z0-9._+!~()@=,-]+` joined by `/`; a segment never is `.` or `..`. Segments
that begin with a dot at the root (`.incoming`, `.orphans`, `.fill`) belong to the store itself.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import BinaryIO, Protocol, Self

from caseus import durability
from caseus.errors import Invalid

_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._+!~()@=,-]+"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*\Z")


def check_key(key: str) -> str:
    """The key itself if it is legal, else Invalid."""
    if not _KEY.match(key):
        raise Invalid(f"illegal storage key {key!r}")
    return key


MARKERS = (".private", ".internal")
"""Empty files in the folder of a project that make its name ours, put there by a person (`watch`)."""


def hosted_tree(index: str) -> str:
    """The folder of what was published to an index: a prefix of keys and the tree's name in the catalog."""
    return f"files/{index}"


def fetched_tree(upstream: str) -> str:
    """The folder of what was fetched from an upstream; may be deleted at any time."""
    return f"fetched/{upstream}"


def file_key(tree: str, project: str, filename: str) -> str:
    """Key of a file or, with its ending, of a sidecar."""
    return check_key(f"{tree}/{project}/{filename}")


def packages_key(tree: str, project: str) -> str:
    """Key of the list from which the catalog's facts of a project can be rebuilt."""
    return file_key(tree, project, "packages.jsonl")


class State(enum.Enum):
    """What `Blob.available` can say."""

    WAITING = "waiting"  # nothing is known yet, not even the size
    MORE = "more"  # what was returned (maybe nothing) is not the end: ask again
    END = "end"  # what was returned is the last of it


class Blob(Protocol):
    """Bytes of one file, from `start` to `stop`; a context manager that closes it.

    `sha256` of the whole file (hex) is set by who knows it; `stored` says that it was there when it was opened, and
    not made or fetched for this reader.

    A blob that is being filled from an upstream knows its `size` once `available` no longer says WAITING.
    """

    sha256: str | None
    stored: bool

    @property
    def size(self) -> int | None: ...  # of the whole file, in bytes
    @property
    def start(self) -> int: ...  # first byte that will be read (a negative start is resolved by the size)
    @property
    def stop(self) -> int | None: ...  # one behind the last; None while the size is unknown
    def read(self, n: int = 262_144, /) -> bytes:
        """Up to n bytes, b"" at the end; blocks. Unavailable if it can't be filled: what came is not the file."""
        ...

    def available(self, n: int = 262_144, /) -> tuple[bytes, State]:
        """What is there now, at most n bytes; never waits for others. Unavailable, NotFound as `read`."""
        ...

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


class Staged(Protocol):
    """Bytes on their way in, under no name yet. Not shared between threads."""

    @property
    def size(self) -> int: ...
    @property
    def digests(self) -> dict[str, str]: ...  # md5, sha256, blake2b_256 of what was written, hex
    def write(self, data: bytes, /) -> None: ...
    def reader(self) -> BinaryIO:
        """What was written so far, seekable; close it before `commit`."""
        ...

    def stamp(self, time: float) -> None:
        """Give the file its time (Unix seconds), where the store shows one; after the last write, before `sync`."""
        ...

    def sync(self) -> None:
        """Make the bytes durable (fsync). `commit` does it where it was not called."""
        ...

    def commit(self, key: str) -> None:
        """Give the bytes their name, create-if-absent, all or nothing, durable. Conflict if it has other bytes."""
        ...

    def link(self, key: str) -> None:
        """As `commit`, but the name and the bytes under it are durable only after `Storage.sync`.

        Conflict also if the key holds the same bytes from elsewhere: whether a disk took those is not known.
        """
        ...

    def holds(self, key: str) -> bool:
        """Whether the key holds these bytes now."""
        ...

    def close(self) -> None:
        """Forget what is under no name (abort); what was committed stays. May be called twice."""
        ...


class Storage(Protocol):
    """A store. A new one is a module with these methods and a subclass of `storage.testing.StorageConformance`."""

    def stage(self) -> Staged: ...  # Unavailable("full") where no space is left, here and in every write
    def replace(self, key: str, source: BinaryIO, *, durable: bool = True) -> None:
        """Atomic; for what is derived. Where it need not be durable yet, `sync` makes it so."""
        ...

    def append(self, key: str, data: bytes, *, behind: bytes) -> bool:
        """Add to the end of what `replace` made, if it ends with `behind` and lies under no other name; whether it was.

        Readers may see a part of it for a moment, and so does who finds it after a kill or a failure. Durable after
        `sync`.
        """
        ...

    def sync(
        self, keys: Iterable[str], *, beside: bool = False, meanwhile: Callable[[], bool] = durability.nothing
    ) -> None:
        """Make durable what the keys hold, whoever wrote it, and their names; for several in less than one by one.

        `beside`: something that is durable lies there already, so that the folders above need not be looked at.
        `meanwhile`: as `durability.sync_all` has it. Absent is fine.
        """
        ...

    def set_aside(
        self, key: str, digest: str
    ) -> None: ...  # if it still holds other bytes than this sha256 ("": any): to .orphans/
    def open(self, key: str, start: int = 0, stop: int | None = None) -> Blob: ...  # NotFound, BadRange
    def delete(self, key: str) -> None: ...  # absent is fine
    def keys(self, prefix: str = "") -> Iterator[str]: ...  # exact prefix, sorted, complete; not the store's own
    def url(self, key: str, expires: timedelta) -> str | None: ...  # a signed link for the client, or None
