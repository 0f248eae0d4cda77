"""What the last run wrote, in a file of the tree, so that the next one need not look at its pages.

It is written last of all: after a run that was cut off it tells of the one before, and all that differs is done again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from caseus.export.memory import Memory, Noted
from caseus.export.options import Encoding
from caseus.export.report import Report
from caseus.export.target import Target

KEY = "caseus-export.state"
RUNNING = "caseus-export.running"
"""Is there while pages are written: where a run finds it, another was cut off, and what the state says is not sure."""

FOLDERS = ("simple", "pypi", "changelog", "rss")
"""Those of a tree."""

_FORMAT = 6


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


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`pages` and `lists`: digests of the options that these depend on. `kind`: of the list, "" where not all of it was
    written here.

    `packages`: the signature of `packages.json`. `keys`: of the lists that were written; `changelog`: numbers of
    its rows' lines. `files`: those of packages too. `compress`: the forms of every page.
    """

    format: int = _FORMAT
    pages: bytes
    lists: bytes
    kind: str
    packages: str | None
    keys: tuple[str, ...]
    changelog: bytes | None
    files: bool
    compress: tuple[Encoding, ...]
    projects: dict[str, ProjectState]
    lines: Noted


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode


def read_state(target: Target) -> State | None:
    """None where there is none that we understand."""
    if target.empty:
        return None
    file = target.open(KEY)
    if file is None:
        return None
    try:
        with file:
            state = _decode(file.read())  # at once: it is large
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return state if state.format == _FORMAT else None


def memory_of(state: State) -> Memory:
    """What the last run knew of its lines."""
    return Memory(state.lines, list(state.projects), [project.digest for project in state.projects.values()])


def told(projects: Iterable[ProjectState]) -> Report:
    """Of a run that finds them all as they should be."""
    files = [project.files for project in projects]
    return Report(sum(files), len(files) - files.count(0), 0, 0, 0)


def write_state(target: Target, state: State) -> None:
    target.write(KEY, _encode(state))
