"""Bytes of a file on the other server's disk: copied and digested in one go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from caseus.checks.armour import check_signature
from caseus.checks.limits import MAX_SIGNATURE
from caseus.errors import CaseusError, Invalid
from caseus.importers.report import Damaged, TooBig
from caseus.model import File
from caseus.upstream.digests import new_hash

_CHUNK = 1 << 20
_NO_SIGNATURE = "the signature that lies beside it there is none: taken without it"


class Unreadable(CaseusError):
    """The other server's disk doesn't give it."""


class Copied(NamedTuple):
    """`digests`: sha256, every one that the file is told to have, and what else was asked for.

    `modified`: Unix seconds.
    """

    size: int
    digests: dict[str, str]
    modified: float


def copy(
    path: Path, file: File, write: Callable[[bytes], None], *, limit: int | None = None, also: Iterable[str] = ()
) -> Copied:
    """Give `write` the bytes, then see whether they are what is told of them. `also`: digests to tell besides.

    Damaged if they are not, TooBig for more than `limit`, Unreadable.
    """
    hashers = {name: new_hash(name) for name in {"sha256", *file.hashes, *also}}
    try:
        with open(path, "rb") as reader:
            modified = os.fstat(reader.fileno()).st_mtime
            size = 0
            while data := reader.read(_CHUNK):
                size += len(data)
                if limit is not None and size > limit:
                    raise TooBig(limit)
                for hasher in hashers.values():
                    hasher.update(data)
                write(data)
    except OSError as error:
        raise unreadable(path, error) from None
    if file.size is not None and size != file.size:
        raise Damaged(f"it has {size} bytes instead of {file.size}")
    digests = {name: hasher.hexdigest() for name, hasher in hashers.items()}
    wrong = [name for name in file.hashes if digests[name] != file.hashes[name]]
    if wrong:
        raise Damaged(f"it has not the {' and '.join(wrong)} that is told of it there")
    return Copied(size, digests, modified)


def nowhere(data: bytes) -> None:
    """Where bytes go that are only looked at."""


def read_small(path: Path, limit: int) -> bytes:
    """The whole file, but no more than `limit` bytes and one. Unreadable."""
    try:
        with open(path, "rb") as reader:
            return reader.read(limit + 1)
    except OSError as error:
        raise unreadable(path, error) from None


def read_signature(path: Path | None) -> tuple[bytes | None, tuple[str, ...]]:
    """The detached signature, if there is one; a remark if it is none. Unreadable."""
    if path is None:
        return None, ()
    data = read_small(path, MAX_SIGNATURE)
    try:
        check_signature(data)
    except Invalid:
        return None, (_NO_SIGNATURE,)
    return data, ()


def unreadable(path: Path, error: OSError) -> Unreadable:
    return Unreadable(f"{path.name} can't be read: {error.strerror or error}")
