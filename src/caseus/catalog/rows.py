"""The facts as the catalog gives them: frozen values, one a row."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from caseus.model import File, Status


class HostedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file published here. Times are Unix seconds."""

    tree: str
    project: str
    filename: str
    version: str
    sha256: str
    size: int
    md5: str
    blake2b_256: str
    uploaded: float
    uploader: str
    requires_python: str | None = None
    metadata_sha256: str | None = None
    has_sig: bool = False
    yanked: str | None = None
    """None: not yanked; else the reason, "" for none given."""


class ListedFile(NamedTuple):
    """A file published here as pages list it, and its version."""

    file: File
    version: str


def listed_file(row: Iterable[Any]) -> ListedFile:
    """Of (filename, version, sha256, size, uploaded, requires_python, metadata_sha256, has_sig, yanked).

    Without the detour by HostedFile, since pages have thousands of them.
    """
    filename, version, sha256, size, uploaded, requires_python, metadata_sha256, has_sig, yanked = row
    file = File(
        filename=filename,
        hashes={"sha256": sha256},  # pip 26.3 dies of a name that its hashlib.new() does not know: blake2b_256
        size=size,
        upload_time=datetime.fromtimestamp(uploaded, UTC),
        requires_python=requires_python,
        core_metadata={"sha256": metadata_sha256} if metadata_sha256 else False,
        yanked=False if yanked is None else yanked or True,
        gpg_sig=bool(has_sig),
    )
    return ListedFile(file, version)


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """A filename that was used and deleted: it never serves other bytes."""

    tree: str
    project: str
    filename: str
    sha256: str
    deleted: float
    reason: str
    yanked: str | None = None
    """As the file was, for the case that it is put back where it lay."""


REMOVED, CHANGED = "removed from the folder", "changed in the folder"
"""Reasons of tombstones that a person's hand in the folder made, and whose bytes were gone then: that hand may put the
same bytes back. What was deleted on purpose stays deleted."""


class UpstreamPage(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream last said of a project. `fetched` and `until` (fresh until then) are Unix seconds."""

    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: Status = "active"
    status_reason: str | None = None
    etag: str | None = None
    fetched: float
    until: float
    serial: int = 0


class FetchedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a file of an upstream since we saw it. It outlives the bytes: the first sha256 seen binds."""

    tree: str
    project: str
    filename: str
    sha256: str | None = None
    size: int | None = None
    metadata_sha256: str | None = None
    modified: float | None = None
    """The file's Last-Modified at the upstream, Unix seconds, where it told one."""
    stored: bool = False
    """Whether the bytes should be in the store (they may have been deleted by hand)."""
    has_sig: bool = False
    """Whether a signature of it was fetched."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is; `projects` to `last_upload` (whole Unix seconds, None for never) of what is published here,
    `fetched_files` of those that are stored."""

    projects: int
    files: int
    bytes: int
    tombstones: int
    last_upload: int | None
    fetched_files: int
    users: int
    tokens: int
    journal_entries: int


class CachedTree(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache has of one upstream: pages, stored files, and when these were used (Unix seconds)."""

    tree: str
    pages: int
    files: int
    bytes: int
    oldest: float | None
    newest: float | None


class User(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    password_hash: str
    """argon2id, or what another program made of the password (`caseus.passwords`)."""
    admin: bool
    created: float
    read_only: bool = False


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An API token; the token itself is not stored, only its sha256."""

    id: int
    user: str
    scope: str
    prefix: str
    """Its first characters, to tell tokens apart."""
    created: float
    expires: float | None
    last_used: float | None


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `digest` is sha256 over this entry and `previous`, the digest of the one before."""

    number: int
    serial: int
    time: float
    actor: str
    action: str
    tree: str
    project: str
    filename: str
    sha256: str
    detail: str
    previous: str
    digest: str
