"""packages.jsonl: the facts of a project beside its files, one JSON object a line, so that they outlive the catalog.

dumb-pypi's list (`filename`, `hash`, `requires_python`, `uploaded_by`, `upload_timestamp`, `yanked_reason`,
`core_metadata`), extended by what it lacks; a tombstone is a line with `deleted`.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable

import msgspec
import structlog

from caseus.catalog import Catalog, Changes, HostedFile, Tombstone
from caseus.errors import CaseusError, NotFound, Unavailable
from caseus.storage import Storage, packages_key

_log = structlog.get_logger(__name__)
_AT_ONCE = 100


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One file, or one name that was used and deleted. Times are Unix seconds, digests `algorithm=hex`."""

    filename: str
    hash: str
    core_metadata: str | None = None
    requires_python: str | None = None
    upload_timestamp: int | None = None
    uploaded_by: str | None = None
    yanked_reason: str | None = None
    blake2b_256: str | None = None
    gpg_sig: bool = False
    md5: str | None = None
    size: int | None = None
    upload_time: float | None = None
    version: str | None = None
    deleted: float | None = None
    deleted_reason: str | None = None


_decoder = msgspec.json.Decoder(Line)


def lines(files: Iterable[HostedFile], tombstones: Iterable[Tombstone]) -> bytes:
    """The list as bytes, files first."""
    rows = [_file(file) for file in files] + [_tombstone(tombstone) for tombstone in tombstones]
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def read_lines(data: bytes) -> tuple[list[Line], list[int]]:
    """What a list says, and the numbers of the lines that say nothing that can be understood."""
    found, broken = [], []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            found.append(_decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            broken.append(number)
    return found, broken


class PackageLists:
    """Keeps the lists beside the files as the catalog is; called by its writer, under the lock of all processes."""

    def __init__(self, catalog: Catalog, store: Storage) -> None:
        self._catalog, self._store = catalog, store

    def follow(self, changes: Changes) -> None:
        """Write what changed, on lists that are as they were before; durable only when settled.

        What was put in gets a line at the end, so that a project with thousands of files costs as much as any other.
        """
        added: dict[tuple[str, str], list[HostedFile]] = {}
        for file in changes.added:
            added.setdefault((file.tree, file.project), []).append(file)
        appended = [
            name
            for name, files in added.items()
            if name not in changes.altered and self._store.append(packages_key(*name), lines(files, ()), behind=b"\n")
        ]
        self.write(changes.projects.difference(appended), durable=False)

    def write(self, projects: Iterable[tuple[str, str]], *, durable: bool = True) -> None:
        """Replace the list of each (tree, project) that is published here."""
        for tree, project in sorted(projects):
            if tree.startswith("files/"):
                key, text = packages_key(tree, project), self._text(tree, project)
                if text:
                    self._store.replace(key, io.BytesIO(text), durable=durable)
                else:  # of a name that was only reserved, or forgotten
                    self._store.delete(key)

    def settle(self) -> bool:
        """Make durable what was written, after writing what a kill, or a full disk, left out; a hundred lists.

        Whether there are more. Only under the lock of all who write lists.
        """
        serial = self._catalog.serial()
        behind = self._catalog.hosted_changes(self._catalog.listed, _AT_ONCE)
        written = self._catalog.written
        self.write([(tree, project) for tree, project, number in behind if number > written], durable=False)
        self._store.sync(packages_key(tree, project) for tree, project, _ in behind)
        more = len(behind) == _AT_ONCE
        done = behind[-1][2] if more else serial
        self._catalog.written = max(written, done)
        self._catalog.listed = done
        return more

    def is_current(self, tree: str, project: str) -> bool:
        """Whether the list says what the catalog does, in whatever order. Where a server runs, a "no" is sure only in
        `Catalog.alone`."""
        text = self._text(tree, project)
        try:
            with self._store.open(packages_key(tree, project)) as blob:
                data = b"".join(iter(blob.read, b""))
            return data == text or sorted(data.splitlines(keepends=True)) == sorted(text.splitlines(keepends=True))
        except NotFound:
            return not text
        except Unavailable:
            return False

    def _text(self, tree: str, project: str) -> bytes:
        return lines(self._catalog.hosted_files(tree, project), self._catalog.tombstones(tree, project))

    def catch_up(self, most: int | None = None) -> None:
        """Write the lists that a kill, a power cut or a full disk left behind the journal; at most so many hundreds.

        What fails again waits for a start.
        """
        rounds = itertools.count() if most is None else range(most)
        try:
            for _ in rounds:
                if self._catalog.listed >= self._catalog.serial() or not self._catalog.alone(self.settle):
                    return
        except (CaseusError, OSError) as error:
            _log.error("lists.behind", error=str(error))


def _file(file: HostedFile) -> Line:
    return Line(
        filename=file.filename,
        hash=f"sha256={file.sha256}",
        core_metadata=f"sha256={file.metadata_sha256}" if file.metadata_sha256 else None,
        requires_python=file.requires_python,
        upload_timestamp=int(file.uploaded),
        uploaded_by=file.uploader,
        yanked_reason=file.yanked,
        blake2b_256=file.blake2b_256,
        gpg_sig=file.has_sig,
        md5=file.md5,
        size=file.size,
        upload_time=file.uploaded,
        version=file.version,
    )


def _tombstone(tombstone: Tombstone) -> Line:
    return Line(
        filename=tombstone.filename,
        hash=f"sha256={tombstone.sha256}",
        deleted=tombstone.deleted,
        deleted_reason=tombstone.reason or None,
        yanked_reason=tombstone.yanked,
    )
