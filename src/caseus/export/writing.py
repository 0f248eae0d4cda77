"""Pages into the tree: only those that changed, with their compressed forms."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from caseus.export.options import Encoding
from caseus.export.target import StrPath, Target

_GENERATED: Final = re.compile(rb"<p>Generated on [0-9: -]{19}\.</p>")
_ENDINGS: Final = ("", ".gz", ".zst")
_GZIP_LEVEL: Final = 9
_ZSTD_LEVEL: Final = 12


class Counts(NamedTuple):
    """Files of the tree that were written, that were right already, and that were deleted."""

    written: int = 0
    kept: int = 0
    deleted: int = 0


def total(counts: Iterable[Counts]) -> Counts:
    return Counts(*map(sum, zip(Counts(), *counts, strict=True)))


class Writer:
    """Writes what differs from what is there; when a page was made is no difference.

    `dropped`: compressed forms that an earlier run wrote, which are deleted. Without `trusts` those that are there may
    be of another page, as a run that was cut off leaves them.
    """

    def __init__(
        self, target: Target, compress: Iterable[Encoding], dropped: Iterable[Encoding] = (), *, trusts: bool = True
    ) -> None:
        self.target = target
        self._trusts = trusts
        self._compress, self._dropped = tuple(compress), tuple(dropped)
        self.written = self.kept = self.deleted = 0
        self.made = 0
        """Pages of which there was none before."""

    @property
    def counts(self) -> Counts:
        return Counts(self.written, self.kept, self.deleted)

    def put(self, key: str, data: bytes) -> None:
        """The page as it should be."""
        target = self.target
        if target.empty:
            target.write(key, data)
            self.written += 1
            changed = True
        else:
            there = target.read(key)
            self.made += there is None
            changed = there is None or not _same(there, data)
            if changed:
                target.write(key, data)
                self.written += 1
            else:
                data = there or b""
                self.kept += 1
        for encoding in self._compress:
            beside = f"{key}.{encoding}"
            if not changed and not self._trusts:
                self.put_exactly(beside, _compressed(data, encoding))
            elif changed or not target.exists(beside):
                target.write(beside, _compressed(data, encoding))
                self.written += 1
            else:
                self.kept += 1
        for encoding in self._dropped:
            self._delete(f"{key}.{encoding}")

    def put_exactly(self, key: str, data: bytes) -> None:
        """What is no page: not compressed."""
        if self.target.read(key) == data:
            self.kept += 1
        else:
            self.target.write(key, data)
            self.written += 1

    def place(self, key: str, path: StrPath) -> None:
        """The file under `path`, as a link to it where that can be."""
        if self.target.place(key, path):
            self.written += 1
        else:
            self.kept += 1

    def delete(self, key: str) -> None:
        """The page and its compressed forms, or the file, as far as they are there."""
        for ending in _ENDINGS:
            self._delete(key + ending)

    def _delete(self, key: str) -> None:
        if self.target.exists(key):
            self.target.delete(key)
            self.deleted += 1


def plain_names(names: Iterable[str]) -> set[str]:
    """Of what lies in a folder, without the endings of compressed forms."""
    return {name.removesuffix(".gz").removesuffix(".zst") for name in names}


def without_moment(page: bytes) -> bytes:
    """The page without the line that tells when it was made."""
    return _GENERATED.sub(b"", page) if b"<p>Generated on " in page else page


def _same(there: bytes, data: bytes) -> bool:
    return there == data or without_moment(there) == without_moment(data)


def decompressed(key: str, data: bytes) -> bytes:
    """The page of what is kept under the key of it, or of a compressed form; as it is where it is no such form."""
    if key.endswith(".gz"):
        import gzip
        import zlib

        with suppress(OSError, EOFError, zlib.error):
            return gzip.decompress(data)
    if key.endswith(".zst"):
        import zstandard

        with suppress(zstandard.ZstdError):
            return zstandard.ZstdDecompressor().decompress(data)
    return data


def _compressed(data: bytes, encoding: Encoding) -> bytes:
    if encoding == "gz":
        import gzip

        return gzip.compress(data, _GZIP_LEVEL, mtime=0)
    import zstandard

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data)
