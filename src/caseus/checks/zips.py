"""Wheels and the older source distributions that are zip archives."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO, BinaryIO, cast

from packaging.utils import canonicalize_name

from caseus.checks.limits import (
    LOOSE,
    MAX_DIRECTORY,
    MAX_ENTRIES,
    MAX_METADATA,
    NO_PKG_INFO,
    Contents,
    shown,
    unreadable,
)
from caseus.errors import Invalid
from caseus.names import ParsedFilename, parse_filename, parse_version

_DIST_INFO = ".dist-info"
_ENCRYPTED = 0x1
_ENTRY = b"PK\x01\x02"  # begins each entry of a central directory
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_wheel(reader: BinaryIO, parsed: ParsedFilename) -> Contents:
    """A wheel, judged by PEP 427. Invalid, or what `zipfile` raises of broken ones."""
    archive = _open(reader)
    names = [entry.filename for entry in archive.infolist()]
    faults = list(dict.fromkeys(fault for entry in archive.infolist() for fault in _entry_faults(entry)))
    folders = _dist_infos(names)
    if len(folders) != 1:
        count = "no .dist-info folder" if not folders else "more than one .dist-info folder"
        return Contents(metadata=None, faults=(*faults, f"the wheel has {count}"))
    folder = folders[0]
    odd = []
    if not _belongs(folder, parsed):
        odd.append(f"the wheel's folder {shown(folder)} is not that of {parsed.project} {parsed.version}")
        faults += odd
    for name in ("METADATA", "WHEEL", "RECORD"):
        count_of = names.count(f"{folder}/{name}")
        if count_of != 1:
            faults.append(f"the wheel has {'no' if not count_of else 'more than one'} {name} in its .dist-info folder")
    return _contents(archive, [name for name in names if name == f"{folder}/METADATA"], faults, odd)


def find_wheel_metadata(reader: BinaryIO, filename: str) -> bytes:
    """METADATA from the .dist-info folder that fits the filename, or else from the only one there is."""
    archive = _open(reader)
    names = archive.namelist()
    folders = [folder for folder in _dist_infos(names) if f"{folder}/METADATA" in names]
    if len(folders) > 1:
        try:
            parsed = parse_filename(filename)
        except Invalid:
            folders = []
        else:
            folders = [folder for folder in folders if _belongs(folder, parsed)]
    if len(folders) != 1:
        raise Invalid("the wheel has not one METADATA that is its own")
    return _read(archive, f"{folders[0]}/METADATA")


def read_zip_sdist(reader: BinaryIO) -> Contents:
    """A source distribution in a zip. Invalid, or what `zipfile` raises of broken ones."""
    archive = _open(reader)
    faults = list(dict.fromkeys(fault for entry in archive.infolist() for fault in _entry_faults(entry)))
    paths = [posixpath.normpath(entry.filename).split("/") for entry in archive.infolist()]
    tops = {path[0] for path in paths if path != ["."]}
    loose = any(len(path) == 1 and not entry.is_dir() for entry, path in zip(archive.infolist(), paths, strict=True))
    odd = [LOOSE] if len(tops) != 1 or loose else []
    wanted = [
        entry.filename
        for entry, path in zip(archive.infolist(), paths, strict=True)
        if path[1:] == ["PKG-INFO"] and not entry.is_dir()
    ]
    if not wanted:
        odd.append(NO_PKG_INFO)
    faults += odd
    if len(wanted) > 1:
        faults.append("the archive has more than one PKG-INFO in its top folder")
    return _contents(archive, wanted, faults, odd)


def _open(reader: BinaryIO) -> zipfile.ZipFile:
    bounded = _BoundedReader(reader)
    archive = zipfile.ZipFile(cast(IO[bytes], bounded))
    bounded.counting = False
    return archive


def _contents(archive: zipfile.ZipFile, wanted: Sequence[str], faults: Sequence[str], odd: Sequence[str]) -> Contents:
    """With the metadata where there is exactly one."""
    if len(wanted) != 1:
        return Contents(metadata=None, faults=tuple(faults), odd=tuple(odd))
    try:
        return Contents(metadata=_read(archive, wanted[0]), faults=tuple(faults), odd=tuple(odd))
    except Invalid as error:
        return Contents(metadata=None, faults=tuple(dict.fromkeys((*faults, *error.faults))), odd=tuple(odd))


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """The whole member, whatever size its headers declare."""
    entry = archive.getinfo(name)
    for fault in _entry_faults(entry):
        raise Invalid(fault)
    with archive.open(entry) as member:
        data = member.read(MAX_METADATA + 1)
    if len(data) > MAX_METADATA:
        raise Invalid(f"{posixpath.basename(name)} is larger than {MAX_METADATA >> 20} MiB")
    return data


def _entry_faults(entry: zipfile.ZipInfo) -> Iterator[str]:
    if entry.compress_type not in _METHODS:
        yield "the zip uses a compression other than stored and deflate"
    if entry.flag_bits & _ENCRYPTED:
        yield "the zip holds encrypted members"
    name = entry.orig_filename.replace("\\", "/")
    if name.startswith("/"):
        yield "the zip holds a member with an absolute name"
    if ".." in name.split("/"):
        yield "the zip holds a member with '..' in its name"
    if "\0" in name or not name:
        yield "the zip holds a member with an unreadable name"


def _dist_infos(names: Sequence[str]) -> list[str]:
    """The .dist-info folders at the top."""
    return sorted(
        {top for top, slash, _ in (name.partition("/") for name in names) if slash and top.endswith(_DIST_INFO)}
    )


def _belongs(folder: str, parsed: ParsedFilename) -> bool:
    name, _, version = folder.removesuffix(_DIST_INFO).rpartition("-")
    told = parse_version(version)
    return told is not None and canonicalize_name(name) == parsed.project and told == parse_version(parsed.version)


class _BoundedReader:
    """Refuses what `zipfile` would read and keep of a huge central directory before it does so.

    `zipfile` trusts the size in the end record, reads the directory in one piece and makes an object of each entry.
    """

    def __init__(self, reader: BinaryIO) -> None:
        self._reader = reader
        self.counting = True

    def read(self, n: int = -1) -> bytes:
        try:
            data = self._reader.read(MAX_DIRECTORY + 1 if n < 0 else min(n, MAX_DIRECTORY + 1))
        except OSError as error:  # of which zipfile would say that the file is no zip
            raise unreadable(error) from error
        if len(data) > MAX_DIRECTORY:
            raise Invalid(f"the zip's directory is larger than {MAX_DIRECTORY >> 20} MiB")
        if self.counting and data.count(_ENTRY) > MAX_ENTRIES:
            raise Invalid(f"the archive has more than {MAX_ENTRIES} members")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """The reader is the caller's."""
