"""What the last run wrote, in a file of the tree, so that the next one need not look at its pages.

It is written last of all: after a run that was cut off it tells of the one before, and all that differs is done again.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable

import msgspec

from caseus.export.digests import DIGEST
from caseus.export.options import Encoding
from caseus.export.scan import Memory, Scan
from caseus.export.target import Target

KEY = "caseus-export.state"
RUNNING = "caseus-export.running"
"""Is there while pages are written: where a run finds it, another was cut off, and what the state says is not sure."""

FOLDERS = ("simple", "pypi", "changelog", "rss")
"""Those of a tree."""

_FORMAT = 5


class ProjectState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`digest` of what the pages were made of; `size` of the project's lines in `packages.json`, in bytes.

    `plain`: each of its lines tells one file, and no two files were uploaded in one moment. `pages`: how many it has.
    """

    digest: bytes
    latest: str | None
    size: int
    files: int
    plain: bool
    pages: int


class TextLines(msgspec.Struct, frozen=True, array_like=True):
    """Of the lines of the list, in their order: digests of their texts, numbers of their projects, stamps."""

    texts: bytes = b""
    owners: bytes = b""
    stamps: bytes = b""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`pages` and `lists`: digests of the options that these depend on; `source`: of the whole list, as it was given.

    `packages`: the signature of `packages.json`. `keys`: of the lists that were written; `changelog`: digests of the
    texts of its rows' lines, one after the other. `files`: those of packages too. `compress`: the forms of every page.
    """

    format: int = _FORMAT
    pages: bytes
    lists: bytes
    source: str
    packages: str | None
    keys: tuple[str, ...]
    changelog: bytes | None
    files: bool
    compress: tuple[Encoding, ...]
    projects: dict[str, ProjectState]
    lines: TextLines


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode


def read_state(target: Target) -> State | None:
    """None where there is none that we understand."""
    if target.empty:
        return None
    data = target.read(KEY)
    if data is None:
        return None
    try:
        state = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return state if state.format == _FORMAT else None


def memory_of(state: State) -> Memory:
    """What the last run knew of its lines."""
    owners, stamps = array("I"), array("q")
    owners.frombytes(state.lines.owners)
    stamps.frombytes(state.lines.stamps)
    texts = state.lines.texts
    numbers = {text: at for at, (text,) in enumerate(struct.iter_unpack(f"{DIGEST}s", texts))}
    return Memory(numbers, owners, stamps, list(state.projects))


def lines_of(scan: Scan, names: Iterable[str]) -> TextLines:
    """`names`: the projects, in their order."""
    owners = array("I", bytes(4 * len(scan.starts)))
    for number, name in enumerate(names):
        for line in scan.lines[name]:
            owners[line] = number
    return TextLines(scan.texts, owners.tobytes(), scan.stamps.tobytes())


def write_state(target: Target, state: State) -> None:
    target.write(KEY, _encode(state))
