"""Source distributions that are gzip-compressed tar archives, read once from front to end.

`tarfile` keeps an object of each member and holds whole extended headers and sparse maps of any size, so the walk here
is our own; each header is still parsed by `tarfile.TarInfo.frombuf`. Where two readers could understand an archive
differently (a name given twice), it is refused.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from caseus.checks.limits import (
    LOOSE,
    MAX_ENTRIES,
    MAX_FAULTS,
    MAX_METADATA,
    MAX_PRODUCED,
    NO_PKG_INFO,
    Contents,
    shown,
)
from caseus.errors import Invalid

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 16
_MAX_EXTENDED = 1 << 16  # bytes of one extended header (long names, pax)
_GZIP = 31  # zlib's wbits for one gzip member with its header and checksum
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_NAMING = ("path", "linkpath", "size")


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member, as its headers say; `size` of the data that follows, in bytes."""

    name: str
    type: bytes
    link: str
    size: int

    @property
    def is_plain(self) -> bool:
        return self.type in _PLAIN


def read_tar_sdist(reader: BinaryIO) -> Contents:
    """A source distribution, judged by PEP 625 and 721. Invalid, or what broken ones raise in `tarfile` and zlib."""
    size = reader.seek(0, io.SEEK_END)
    reader.seek(0)
    walk = _Walk(_Gunzip(reader, max(MAX_PRODUCED, 2 * size)))
    faults: dict[str, None] = {}
    tops: set[str] = set()
    found: bytes | None = None
    for member in walk:
        path = posixpath.normpath(member.name).split("/")
        faults |= dict.fromkeys(_member_faults(member, path))
        if len(faults) > MAX_FAULTS:
            raise Invalid(tuple(faults))
        if path == ["."] and member.type == tarfile.DIRTYPE:
            continue
        if len(tops) < 2:
            tops.add(path[0])
        if len(tops) > 1 or (len(path) == 1 and member.type != tarfile.DIRTYPE):
            faults[LOOSE] = None
        if path[1:] == ["PKG-INFO"]:
            if not member.is_plain:
                faults["PKG-INFO is not a plain file"] = None
            elif found is not None:
                faults["the archive has more than one PKG-INFO in its top folder"] = None
            else:
                found = walk.read(MAX_METADATA + 1)
                if len(found) > MAX_METADATA:
                    raise Invalid([*faults, f"PKG-INFO is larger than {MAX_METADATA >> 20} MiB"])
    if found is None and "PKG-INFO is not a plain file" not in faults:
        faults[NO_PKG_INFO] = None
    odd = tuple(fault for fault in faults if fault in (LOOSE, NO_PKG_INFO))
    return Contents(metadata=found, faults=tuple(faults), odd=odd)


def _member_faults(member: Member, path: list[str]) -> Iterator[str]:
    if not member.is_plain and member.type not in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
        kind = "sparse" if member.type == tarfile.GNUTYPE_SPARSE else "special (device, pipe or unknown)"
        yield f"the archive holds a {kind} member: {shown(member.name)}"
    if member.name.startswith("/"):
        yield f"the archive holds a member with an absolute name: {shown(member.name)}"
    if ".." in member.name.replace("\\", "/").split("/"):
        yield f"the archive holds a member with '..' in its name: {shown(member.name)}"
    if member.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        # A symbolic link is relative to its own folder, a hard link to the archive's top.
        folder = posixpath.dirname(member.name) if member.type == tarfile.SYMTYPE else ""
        target = posixpath.normpath(posixpath.join(folder, member.link)).split("/")
        if not member.link or target[0] != path[0]:
            yield f"the archive holds a link that leads out of its top folder: {shown(member.name)}"


class _Walk:
    """The members in order; the data of the current one can be read while it is current."""

    def __init__(self, stream: _Gunzip) -> None:
        self._stream = stream
        self._left = 0  # bytes of the current member's data that were not read
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        extended: dict[str, str] = {}
        kinds: set[bytes] = set()
        members = 0
        for count, header in enumerate(self._headers()):
            if members >= MAX_ENTRIES or count >= 3 * MAX_ENTRIES:
                raise Invalid(f"the archive has more than {MAX_ENTRIES} members")
            if header.type in _LONG or header.type in _PAX:
                if header.type in kinds:
                    raise Invalid("the archive holds a member with two extended headers of one kind")
                kinds.add(header.type)
                self._extend(extended, header)
                continue
            yield self._member(header, extended)
            members += 1
            extended = {}
            kinds = set()

    def read(self, n: int) -> bytes:
        """Up to n bytes of the current member's data, less only at its end."""
        data = self._stream.read(min(n, self._left))
        self._left -= len(data)
        return data

    def _headers(self) -> Iterator[tarfile.TarInfo]:
        while block := self._stream.read(_BLOCK, whole=False):
            if not any(block):
                break
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            self._expect(header.size)
            yield header
            self._stream.skip(self._left + self._padding)
        # To the end, for gzip's checksum and so that nothing is hidden there that doesn't count.
        while self._stream.read(_CHUNK, whole=False):
            pass

    def _expect(self, size: int) -> None:
        if size < 0:
            raise Invalid("the archive holds a member with a negative size")
        self._left = size
        self._padding = -size % _BLOCK

    def _member(self, header: tarfile.TarInfo, extended: dict[str, str]) -> Member:
        size = int(extended.get("size", header.size))
        member = Member(
            name=extended.get("path", header.name),
            type=tarfile.GNUTYPE_SPARSE if any(key.startswith("GNU.sparse") for key in extended) else header.type,
            link=extended.get("linkpath", header.linkname),
            size=size,
        )
        # As tarfile does: folders and links have no data, whatever size they tell.
        self._expect(size if header.type not in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE) else 0)
        return member

    def _extend(self, extended: dict[str, str], header: tarfile.TarInfo) -> None:
        """Adds what an extended header says of the next member."""
        if header.size > _MAX_EXTENDED:
            raise Invalid(f"the archive holds an extended header over {_MAX_EXTENDED >> 10} KiB")
        data = self.read(header.size)
        if header.type in _LONG:
            records = {_LONG[header.type]: data.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
        else:
            records = _pax_records(data)
        if header.type == tarfile.XGLTYPE:
            if any(key in _NAMING or key.startswith("GNU.") for key in records):
                raise Invalid("the archive holds a global header that names members")
            return
        if any(key in extended and key in _NAMING for key in records):
            raise Invalid("the archive holds a member that is named twice")
        extended.update(records)


def _pax_records(data: bytes) -> dict[str, str]:
    """The records of a pax header, each `LENGTH KEY=VALUE\\n` (POSIX.1-2001, pax, extended header)."""
    records: dict[str, str] = {}
    while data.strip(b"\0"):
        digits = data.partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = data[:length]
        key, equals, value = record.partition(b" ")[2].partition(b"=")
        if length <= 0 or len(record) != length or not equals or not value.endswith(b"\n"):
            raise Invalid("the archive holds a broken pax header")
        name = key.decode("utf-8", "surrogateescape")
        if name in records:
            raise Invalid("the archive holds a pax header with a doubled field")
        records[name] = value[:-1].decode("utf-8", "surrogateescape")
        data = data[length:]
    return records


class _Gunzip:
    """Forward reader of one or more gzip members (RFC 1952) that gives out at most `limit` bytes in all."""

    def __init__(self, reader: BinaryIO, limit: int) -> None:
        self._reader = reader
        self._limit = limit
        self._left = limit
        self._input = b""
        self._members = 0
        self._inflater = zlib.decompressobj(_GZIP)

    def read(self, n: int, *, whole: bool = True) -> bytes:
        """n bytes; at the end of the stream less, but where `whole` EOFError."""
        parts = []
        while n > 0 and (part := self._some(min(n, _CHUNK))):
            parts.append(part)
            n -= len(part)
        if n > 0 and whole:
            raise EOFError("the file ends in the middle of a member")
        return b"".join(parts)

    def skip(self, n: int) -> None:
        while n > 0:
            n -= len(self.read(min(n, _CHUNK)))

    def _some(self, n: int) -> bytes:
        """Some bytes, at most n; none at the end."""
        while True:
            if self._inflater.eof and not self._next_member():
                return b""
            chunk = self._input or self._reader.read(_CHUNK)
            data = self._inflater.decompress(chunk, n)
            self._input = self._inflater.unconsumed_tail
            self._left -= len(data)
            if self._left < 0:
                raise Invalid(f"the archive unpacks to more than {self._limit >> 20} MiB")
            if data:
                return data
            if not chunk and not self._inflater.eof:
                raise EOFError("the file ends in the middle of its compressed data")

    def _next_member(self) -> bool:
        """Whether another gzip member follows; zeros in between are padding (as GNU gzip and Python take them)."""
        self._input = self._inflater.unused_data.lstrip(b"\0")
        while not self._input:
            chunk = self._reader.read(_CHUNK)
            if not chunk:
                return False
            self._input = chunk.lstrip(b"\0")
        self._members += 1
        if self._members > MAX_ENTRIES:
            raise Invalid("the file has too many gzip members")
        self._inflater = zlib.decompressobj(_GZIP)
        return True
