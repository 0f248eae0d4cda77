"""The values that the core speaks in: all frozen."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from packaging.utils import NormalizedName
else:
    NormalizedName = str  # which it is at run time; what defines it loads slowly

Status = Literal["active", "archived", "quarantined", "deprecated"]


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One wheel or sdist as a page lists it (PEP 691, 700, 714, 592, 740)."""

    filename: str
    hashes: dict[str, str] = {}
    """Algorithm to lower-case hex. Empty where an upstream tells none and the file was not seen yet."""
    size: int | None = None
    """Bytes; None where an HTML upstream does not tell."""
    upload_time: datetime | None = None
    """When it was published (aware, UTC); None where nobody knows. Never the time of our own fetch."""
    requires_python: str | None = None
    core_metadata: bool | dict[str, str] = False
    """True: METADATA can be had under FILE.metadata; with digests (as `hashes`) once those are known."""
    yanked: bool | str = False
    """True, or the reason (never empty)."""
    gpg_sig: bool | None = None
    """Whether FILE.asc exists; None where nobody knows."""
    provenance: str | None = None
    """Absolute https URL of the provenance file, if any."""
    url: str | None = None
    """Absolute URL at the upstream; None for what is published here."""
    metadata_url: str | None = None
    """Absolute URL of the upstream's own METADATA sidecar, if it advertises one."""
    sig_url: str | None = None
    """Absolute URL of the upstream's own detached signature, if it advertises one."""


class Signature(msgspec.Struct, frozen=True):
    """What became of the search for the detached signature of a file.

    "fetched": just now; "here": it was there already; "none": there is none; "failed", for the reason in `detail`.
    """

    filename: str
    outcome: Literal["fetched", "here", "none", "failed"]
    detail: str = ""


class Validity(msgspec.Struct, frozen=True, kw_only=True):
    """How long what was read stays right.

    `serials`: (tree, project, serial) that were read, 0 for absence; right while the catalog says the same.
    `until`: Unix seconds after which it must be asked for again, None for never. `fetched`: Unix seconds of the last
    word from the upstream. `stale`: the upstream failed and this is an older answer.
    """

    serials: tuple[tuple[str, str, int], ...] = ()
    until: float | None = None
    fetched: float | None = None
    stale: bool = False

    def __and__(self, other: Validity) -> Validity:
        """Right only while both are."""
        untils = [u for u in (self.until, other.until) if u is not None]
        fetches = [f for f in (self.fetched, other.fetched) if f is not None]
        return Validity(
            serials=self.serials + other.serials,
            until=min(untils) if untils else None,
            fetched=min(fetches) if fetches else None,
            stale=self.stale or other.stale,
        )


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project with its files, as one index answers for it."""

    name: NormalizedName
    files: tuple[File, ...] = ()
    versions: tuple[str, ...] = ()
    """Unique; a superset of the files' versions, in PEP 440's order."""
    status: Status = "active"
    status_reason: str | None = None
    hosted: bool = True
    """Published here (a change is seen at the next request) or fetched from an upstream (fresh for a while)."""
    validity: Validity = Validity()
