"""A tree compared with what an export would make of it; nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, NamedTuple

from caseus.errors import NotFound
from caseus.export.digests import DIGEST, blake2b, digest_of
from caseus.export.exporting import refuse_bad
from caseus.export.files import is_placed
from caseus.export.last_run import LastRun
from caseus.export.options import Options
from caseus.export.run import Run
from caseus.export.scan import scan
from caseus.export.sources import Source
from caseus.export.state import FOLDERS, KEY
from caseus.export.target import FolderTarget, StoredTarget, StrPath, Target
from caseus.export.writing import decompressed, without_moment

if TYPE_CHECKING:
    from caseus.export.live import LivePages  # loads the catalog, which few exports need
    from caseus.storage import Storage

Kind = Literal["missing", "different", "extra"]

_CHUNK: Final = 1 << 20
_ANY_MOMENT: Final = "2000-01-01 00:00:00"
_OWN: Final = re.compile(
    r"(simple/([^/]+/)?index\.(html|json)|pypi/[^/]+/([^/]+/)?json|changelog/page[0-9]+\.html"
    r"|rss/(updates|packages)\.xml|rss/project/[^/]+/releases\.xml)(\.gz|\.zst)?"
).fullmatch


class Difference(NamedTuple):
    """A page or file that is not there, has other bytes, or should not be there."""

    kind: Kind
    key: str


def check(
    source: Source,
    target: Path | Storage,
    options: Options = Options(),  # noqa: B008  (frozen)
    *,
    skip_invalid: bool = False,
) -> list[Difference]:
    """What is wrong with the tree, sorted by key; when pages were made is no difference.

    NotFound where there is no tree; else what `export` raises.
    """
    options.check()
    there = _tree(target)
    wanted = _Digests()
    with source.lines() as lines:
        found = scan(lines.spool, lines.decode, jobs=1)
        refuse_bad(found, skip_invalid=skip_invalid)
        generated = _ANY_MOMENT if options.timestamp else None
        run = Run(wanted, options, LastRun(wanted, options), jobs=1, generated=generated, path_of=source.path)
        run.write(found, "", run.plan(found, None))
    return sorted(_differences(there, wanted.digests, files=options.files), key=lambda each: each.key)


def check_live(pages: LivePages, folder: Path) -> list[Difference]:
    """What is wrong with a tree that a server keeps current; right now something may be under way. NotFound."""
    there, wanted = _tree(folder), _Digests()
    pages.write(wanted, 0)
    return sorted(_differences(there, wanted.digests, files=False), key=lambda each: each.key)


def _tree(target: Path | Storage) -> Target:
    if not isinstance(target, Path):
        return StoredTarget(target)
    if not target.is_dir():
        raise NotFound(f"there is no tree {target}: check the path")
    return FolderTarget(target)


def _differences(there: Target, wanted: dict[str, bytes], *, files: bool) -> Iterator[Difference]:
    for key, digest in wanted.items():
        file = there.open(key)
        if file is None:
            yield Difference("missing", key)
            continue
        with file:
            if _digest_of(key, _chunks(file)) != digest:
                yield Difference("different", key)
    for folder in FOLDERS:
        for key in _walk(there, folder):
            placed = files and key.startswith("simple/") and is_placed(key.rpartition("/")[2])
            if key not in wanted and (placed or _OWN(key)):
                yield Difference("extra", key)


def _walk(there: Target, folder: str) -> Iterator[str]:
    for name in there.names(folder):
        if name.endswith("/"):
            yield from _walk(there, f"{folder}/{name[:-1]}")
        else:
            yield f"{folder}/{name}"


class _Digests:
    """A target that keeps only what tells pages apart."""

    forks = False
    empty = True

    def __init__(self) -> None:
        self.digests: dict[str, bytes] = {}

    def write(self, key: str, data: bytes) -> None:
        self.write_all(key, iter([data]))

    def write_all(self, key: str, chunks: Iterator[bytes]) -> None:
        if key != KEY:
            self.digests[key] = _digest_of(key, chunks)

    def place(self, key: str, path: StrPath) -> bool:
        with open(path, "rb") as file:
            self.write_all(key, _chunks(file))
        return True

    def read(self, key: str) -> bytes | None:
        return None

    def exists(self, key: str) -> bool:
        return False

    def open(self, key: str) -> BinaryIO | None:
        return None

    def delete(self, key: str) -> None:
        pass

    def sweep(self, folders: Sequence[str]) -> None:
        pass

    def names(self, folder: str) -> list[str]:
        return []

    def signature(self, key: str) -> str | None:
        return None


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    return iter(partial(file.read, _CHUNK), b"")


def _digest_of(key: str, chunks: Iterator[bytes]) -> bytes:
    if ".html" in key:
        return digest_of(without_moment(decompressed(key, b"".join(chunks))))
    digest = blake2b(digest_size=DIGEST)
    for data in chunks:
        digest.update(data)
    return digest.digest()
