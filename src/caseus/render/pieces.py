"""A page of many files in pieces: after a change of one file most of them are as they were, compressed ones too.

A page is cut at filenames that say so themselves, so its bytes, and those of its gzip stream, depend on nothing but
what it says: every process makes the same of the same, whatever it made before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple
from zlib import crc32

from caseus import gzips
from caseus.model import File, Project
from caseus.render.links import beside
from caseus.render.page import ProjectForm, offered

LARGE: Final = 256
"""Files from which on a page is put together of pieces; smaller ones are made in no time."""
LEAST: Final = 64
MOST: Final = 256
_ONE_IN: Final = 64
"""A piece has so many files at least and at most, twice the least on average: some 40 KiB, as deflate looks back."""


class Piece:
    """`of`: what it was made of; `deflated`: its part of a gzip stream, once that was made."""

    __slots__ = ("deflated", "length", "name", "of")

    def __init__(self, name: str, of: object, length: int) -> None:
        self.name, self.of, self.length = name, of, length
        self.deflated: bytes | None = None


class Pieced(NamedTuple):
    """A page, and the pieces of which it is one behind the other, if it has any."""

    body: bytes
    pieces: tuple[Piece, ...]

    def gzipped(self) -> bytes:
        """The page as a gzip stream; only what is new is compressed."""
        parts, start = [gzips.HEAD], 0
        for piece in self.pieces:
            if piece.deflated is None:
                data = self.body[start : start + piece.length]
                piece.deflated = gzips.deflate(data, digests=True, last=piece is self.pieces[-1])
            parts.append(piece.deflated)
            start += piece.length
        return b"".join((*parts, gzips.trailer(crc32(self.body), len(self.body))))


def in_pieces(form: ProjectForm, project: Project, older: Pieced | None = None) -> Pieced:
    """The page of a project; what is as it was in the `older` one is taken from there. A small one has no pieces."""
    files = offered(project)
    if len(files) < LARGE:
        return Pieced(form.page(project, beside), ())
    known = _starts(older) if older is not None else {}
    pieces: list[Piece] = []
    parts: list[bytes] = []

    def add(name: str, of: object, make: Callable[[], bytes]) -> None:
        before, start = known.get(name, (None, 0))
        if before is not None and older is not None and before.of == of:
            pieces.append(before)
            parts.append(older.body[start : start + before.length])
        else:
            parts.append(make())
            pieces.append(Piece(name, of, len(parts[-1])))

    head = form.head(project)
    add("", head, lambda: head)
    for number, some in enumerate(cut(files)):
        before = form.between if number else b""
        add(some[0].filename, (before, some), partial(_entries, form, before, some))
    add("/", form.tail, lambda: form.tail)  # no file is so named
    return Pieced(b"".join(parts), tuple(pieces))


def _entries(form: ProjectForm, before: bytes, files: tuple[File, ...]) -> bytes:
    return before + form.entries(files, beside)


def cut(files: Iterable[File]) -> Iterator[tuple[File, ...]]:
    """All files, in their order, by pieces."""
    found: list[File] = []
    for file in files:
        found.append(file)
        if len(found) >= LEAST and (
            len(found) == MOST or crc32(file.filename.encode(errors="surrogatepass")) % _ONE_IN == 0
        ):
            yield tuple(found)
            found = []
    if found:
        yield tuple(found)


def _starts(page: Pieced) -> dict[str, tuple[Piece, int]]:
    """Each piece by its name, and where it begins."""
    found: dict[str, tuple[Piece, int]] = {}
    start = 0
    for piece in page.pieces:
        found[piece.name] = piece, start
        start += piece.length
    return found
