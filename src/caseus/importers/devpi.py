"""What `devpi-export` of devpi-server writes: `dataindex.json`, and the files beside it. One index of it.

An index of type `mirror` is a cache; it has files where they were exported too (`--include-mirrored-files`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec
from packaging.utils import NormalizedName

from caseus.errors import Invalid, NotFound
from caseus.importers.report import Outcome, Result
from caseus.importers.stock import Account, Stock, StockFile
from caseus.model import File
from caseus.names import normalize
from caseus.passwords import verify
from caseus.upstream.digests import known_hashes

T = TypeVar("T")

_EVERYBODY = {":ANONYMOUS:", ":AUTHENTICATED:"}
_NOT_TAKEN = {
    "doczip": "documentation: there is no place for it here",
    "toxresult": "a test result: there is no place for it here",
}


class _User(msgspec.Struct, frozen=True):
    pwhash: str | None = None
    pwsalt: str | None = None


class _Config(msgspec.Struct, frozen=True):
    type: str = "stage"
    acl_upload: list[str] = []
    bases: list[str] = []


class _Entry(msgspec.Struct, frozen=True):
    last_modified: str | None = None
    hash_spec: str | None = None
    hashes: dict[str, str] = {}
    md5: str | None = None


class _Logged(msgspec.Struct, frozen=True):
    what: str = ""
    when: list[int] = []


class _File(msgspec.Struct, frozen=True):
    relpath: str
    projectname: str
    type: str
    version: str | None = None
    entrymapping: _Entry = _Entry()
    log: list[_Logged] = []


class _Version(msgspec.Struct, frozen=True):
    requires_python: str | None = None
    yanked: str | bool | None = None


class _Index(msgspec.Struct, frozen=True):
    indexconfig: _Config
    projects: dict[str, dict[str, msgspec.Raw]] = {}
    files: list[msgspec.Raw] = []


class _Export(msgspec.Struct, frozen=True):
    indexes: dict[str, msgspec.Raw]
    users: dict[str, _User] = {}
    dumpversion: str | int = 0


class Devpi:
    """Reads the index `USER/NAME`. Invalid if that is no export, NotFound if it has no such index."""

    kind = "devpi"

    def __init__(self, folder: Path, index: str) -> None:
        self.place = str(folder)
        self.warnings: list[str] = []
        self.aliases = [index]
        self._folder = folder
        export = _decode(_read(folder / "dataindex.json"), _Export, "dataindex.json")
        if str(export.dumpversion) not in ("1", "2"):
            raise Invalid(f"dataindex.json has version {export.dumpversion!a}: 1 and 2 are known")
        if index not in export.indexes:
            raise NotFound(f"the export has no index {index!a}: it has {', '.join(sorted(export.indexes))}")
        self._users = export.users
        self._index = _decode(bytes(export.indexes[index]), _Index, f"index {index}")
        config = self._index.indexconfig
        self._uploaders = set(config.acl_upload)
        if config.bases:
            bases = ", ".join(config.bases)
            self.warnings.append(f"its bases ({bases}) are not part of it: import them too, or name them as upstream")
        groups = sorted(name for name in self._uploaders - _EVERYBODY if name.startswith(":"))
        if groups:
            self.warnings.append(f"groups may upload there ({', '.join(groups)}): let their users upload here by hand")

    def accounts(self) -> Iterator[Account | Result]:
        """All users of the server: who may upload to this index may here, `root` may administer, others may read."""
        for name, user in sorted(self._users.items()):
            if not user.pwhash or user.pwsalt:
                reason = "its password is stored in a form older than argon2: add it by `caseus user add`"
                yield Result(outcome=Outcome.SKIPPED, user=ascii(name)[1:-1], reason=reason)
                continue
            if name == "root" and verify(user.pwhash, ""):
                reason = "it has the empty password, by which nobody logs in here"
                yield Result(outcome=Outcome.SKIPPED, user=name, reason=reason)
                continue
            uploads = name in self._uploaders or bool(self._uploaders & _EVERYBODY)
            admin = name == "root"
            yield Account(name=name, hash=user.pwhash, admin=admin, read_only=not admin and not uploads)

    def stocks(self) -> Iterator[Stock | Result]:
        stocks: defaultdict[NormalizedName, list[StockFile]] = defaultdict(list)
        versions: dict[NormalizedName, dict[str, msgspec.Raw]] = {}
        for name, told in self._index.projects.items():
            try:
                versions[normalize(name)] = told
            except Invalid as error:
                yield Result(outcome=Outcome.SKIPPED, project=ascii(name)[1:-1], reason=str(error))
        for number, raw in enumerate(self._index.files):
            try:
                file = _decode(bytes(raw), _File, f"file {number} of the index")
                project = normalize(file.projectname)
            except Invalid as error:
                yield Result(outcome=Outcome.DAMAGED, filename=f"file {number}", reason=str(error))
                continue
            if file.type in _NOT_TAKEN:
                reason = _NOT_TAKEN[file.type]
                yield Result(outcome=Outcome.SKIPPED, project=project, filename=file.relpath, reason=reason)
                continue
            stocks[project].append(self._stock_file(file, _version(versions.get(project, {}), file.version)))
        hosted = self._index.indexconfig.type != "mirror"
        for project in sorted(versions.keys() | stocks.keys()):
            yield Stock(project=project, hosted=hosted, files=tuple(stocks.get(project, ())))

    def _stock_file(self, file: _File, version: _Version) -> StockFile:
        path, fault = self._folder / file.relpath, ""
        relative = PurePosixPath(file.relpath)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            fault = "its path leads out of the export"
        hashes = _hashes(file.entrymapping)
        if not hashes and (file.entrymapping.hashes or file.entrymapping.hash_spec):
            fault = "its digest in dataindex.json is none"
        return StockFile(
            file=File(
                filename=relative.name,
                hashes=hashes,
                upload_time=_uploaded(file),
                requires_python=version.requires_python or None,
                yanked=_yanked(version),
            ),
            path=path if not fault and path.is_file() else None,
            fault=fault,
        )


def _version(versions: dict[str, msgspec.Raw], version: str | None) -> _Version:
    """What is told of a version, as far as it can be read: the file itself tells more."""
    raw = versions.get(version or "")
    if raw is None:
        return _Version()
    try:
        return msgspec.json.decode(raw, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Version()


def _yanked(version: _Version) -> bool | str:
    """As a page tells it: the reason, or True for none given."""
    if version.yanked is None or version.yanked is False:
        return False
    return version.yanked or True


def _hashes(entry: _Entry) -> dict[str, str]:
    """Of devpi-server 2.1 and later."""
    told = dict(entry.hashes)
    if entry.hash_spec and "=" in entry.hash_spec:
        algorithm, _, digest = entry.hash_spec.partition("=")
        told[algorithm] = digest
    if entry.md5:
        told["md5"] = entry.md5
    return known_hashes(told)


def _uploaded(file: _File) -> datetime | None:
    """When it was first uploaded, as the log or Last-Modified tells."""
    for logged in file.log:
        if logged.what == "upload" and len(logged.when) >= 6:
            try:
                return datetime(*_six(logged.when), tzinfo=UTC)
            except (ValueError, OverflowError):
                break
    try:
        told = parsedate_to_datetime(file.entrymapping.last_modified or "")
    except ValueError:
        return None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def _six(numbers: Iterable[int]) -> tuple[int, int, int, int, int, int]:
    year, month, day, hour, minute, second, *_ = numbers
    return year, month, day, hour, minute, second


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(
            f"{path.name} can't be read ({error.strerror or error}): give the folder that devpi-export wrote"
        ) from None


def _decode(data: bytes, type: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{what} is damaged: {error}") from None
