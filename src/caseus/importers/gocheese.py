"""The folder of GoCheese, of 2019 (`.private`, `.sha256`) and later (`.internal`, more digests, `.metadata.rec`).

A folder for each package; beside FILE lie FILE.sha256 and the like, which may also be there alone: then the file is
known and was never downloaded. Digests are raw bytes or hexadecimal. A package with a marker was uploaded; all others
were fetched from the upstream.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.utils import NormalizedName
from packaging.version import InvalidVersion, Version

from caseus.errors import Invalid
from caseus.importers.disk import Unreadable, read_small, unreadable
from caseus.importers.recfile import Records, parse_records
from caseus.importers.report import Outcome, Result
from caseus.importers.stock import Account, Stock, StockFile
from caseus.model import File
from caseus.names import normalize, version_of
from caseus.passwords import parse
from caseus.upstream.digests import known_hashes

MARKERS = (".private", ".internal")
DIGESTS = {
    ".md5": "md5",
    ".sha256": "sha256",
    ".sha512": "sha512",
    ".blake2_256": "blake2b_256",
    ".blake2b_256": "blake2b_256",
}
"""Endings of the files that hold a digest; `.blake2_256` is what `.blake2b_256` was called before."""

_SIGNATURE = ".asc"
_METADATA = ".metadata.rec"
_LONGEST_DIGEST = 1024
_LONGEST_RECORD = 1 << 24


class GoCheese:
    """Reads the folder that `-root` named, and a password file."""

    kind = "gocheese"

    def __init__(self, folder: Path, passwd: str | None = None) -> None:
        self.place = str(folder)
        self.warnings: list[str] = []
        self.aliases: list[str] = []
        self._folder, self._passwd = folder, passwd

    def accounts(self) -> Iterator[Account | Result]:
        """Of the password file's text."""
        if self._passwd is not None:
            yield from accounts_of(self._passwd)

    def stocks(self) -> Iterator[Stock | Result]:
        for path in _sorted(self._folder):
            if path.name.startswith(".") or not path.is_dir():
                continue
            try:
                project = normalize(path.name)
                yield self._stock(project, path)
            except (Invalid, Unreadable) as error:
                outcome = Outcome.SKIPPED if isinstance(error, Invalid) else Outcome.FAILED
                yield Result(outcome=outcome, project=path.name, reason=str(error))

    def _stock(self, project: NormalizedName, folder: Path) -> Stock:
        try:
            found = _Found.of(_sorted(folder))
            records = parse_records(read_small(folder / _METADATA, _LONGEST_RECORD)) if found.has_metadata else ()
        except OSError as error:
            raise unreadable(folder, error) from None
        files = tuple(_file(project, folder, name, parts, records) for name, parts in sorted(found.files.items()))
        return Stock(project=project, hosted=found.marked, files=files)


def accounts_of(text: str) -> Iterator[Account | Result]:
    """The users of a password file; each line that gives none as a Result."""
    found = parse(text)
    for name, entry in found.users.items():
        yield Account(name=name, hash=entry.hash, read_only=entry.read_only)
    for fault in found.faults:
        yield Result(outcome=Outcome.DAMAGED, user=f"in line {fault.line}", reason=fault.message)


class _Found(NamedTuple):
    """A package's folder by what its files are: the endings that lie there of each name, "" for the file itself."""

    marked: bool
    has_metadata: bool
    files: dict[str, set[str]]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> _Found:
        names = {path.name for path in paths if path.is_file()}
        files: dict[str, set[str]] = defaultdict(set)
        for name in names:
            ending = next((ending for ending in (*DIGESTS, _SIGNATURE) if name.endswith(ending)), "")
            if not name.startswith("."):
                files[name.removesuffix(ending)].add(ending)
        return cls(not names.isdisjoint(MARKERS), _METADATA in names, dict(files))


def _file(project: NormalizedName, folder: Path, name: str, parts: set[str], records: Records) -> StockFile:
    hashes, fault = {}, ""
    for ending in sorted(parts & DIGESTS.keys()):
        try:
            hashes[DIGESTS[ending]] = _digest(folder / f"{name}{ending}", DIGESTS[ending])
        except (Invalid, Unreadable) as error:
            fault = str(error)
    if parts == {_SIGNATURE}:
        fault = "a signature without its file"
    return StockFile(
        file=File(filename=name, hashes=hashes, requires_python=_requires_python(project, name, records)),
        path=folder / name if "" in parts else None,
        signature=folder / f"{name}{_SIGNATURE}" if _SIGNATURE in parts else None,
        fault=fault,
    )


def _digest(path: Path, algorithm: str) -> str:
    """In hexadecimal. Invalid if the file holds none."""
    data = read_small(path, _LONGEST_DIGEST)
    for told in (data.hex(), data.decode("latin-1").strip()):
        found = known_hashes({algorithm: told})
        if found:
            return found[algorithm]
    raise Invalid(f"{path.name} holds no {algorithm}")


def _requires_python(project: str, filename: str, records: Records) -> str | None:
    """What the package's record says, if it is of the file's version. It counts only where the file says nothing."""
    version = version_of(project, filename)
    for record in records:
        told = record.get("requires-python")
        if told and version and _same_version(record.get("version", ""), version):
            return told
    return None


def _same_version(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _sorted(folder: Path) -> list[Path]:
    """Unreadable."""
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except OSError as error:
        raise unreadable(folder, error) from None
