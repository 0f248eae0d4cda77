"""What an index says of a project, parsed: PEP 691 JSON and PEP 503 HTML, with all that later PEPs added.

Lenient in what does no harm (unknown keys, a bad entry, a wrong Content-Type), strict where a wrong reading would: a
page that is no index page is an error of the upstream and never an empty project.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import get_args
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from caseus import names
from caseus.errors import Invalid, Unavailable
from caseus.model import File, Status
from caseus.upstream.digests import known_hashes
from caseus.upstream.urls import origin_of, without_userinfo

CoreMetadata = bool | dict[str, str]

_STATUSES = frozenset(get_args(Status))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One project's page. `versions` is in PEP 440's order; URLs in `files` are absolute; `etag` as it was sent."""

    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: Status = "active"
    status_reason: str | None = None
    etag: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file as a page told it, of either format."""

    filename: str
    href: str
    hashes: Mapping[str, str] = {}
    size: int | None = None
    upload_time: str | None = None
    requires_python: str | None = None
    core_metadata: CoreMetadata = False
    yanked: bool | str = False
    gpg_sig: bool | None = None
    provenance: str | None = None


def not_a_page(reason: str) -> Unavailable:
    return Unavailable(f"the upstream's answer can't be used: {reason}", kind="upstream")


def check_version(version: str) -> None:
    """Unavailable if this is a later major version of the Simple API ("clients MUST" refuse it, PEP 629)."""
    if not re.match(r"1(\.|\Z)", version):
        raise not_a_page(f"it speaks version {_plain(version)[:20]} of the Simple API, and caseus knows 1.x only")


def build_page(
    name: NormalizedName,
    entries: Iterable[Entry],
    *,
    base: str,
    versions: Iterable[str] = (),
    status: str | None = None,
    status_reason: str | None = None,
) -> Page:
    """A page of the project's entries; an entry that can't be used, or is another project's, is dropped."""
    files: dict[str, File] = {}
    for entry in entries:
        file = _file(name, entry, base)
        if file is not None:
            files.setdefault(file.filename, file)
    known: Status = status if status in _STATUSES else "active"  # type: ignore[assignment]
    return Page(
        files=tuple(files.values()),
        versions=_versions(versions, (_version_of(name, filename) for filename in files)),
        status=known,
        status_reason=_plain(status_reason) or None if status_reason and known != "active" else None,
    )


def belongs(name: NormalizedName, filename: str) -> bool:
    """Whether a page of the project may list the file. Spellings from before PEP 625 are told by their beginning."""
    try:
        parsed = names.parse_filename(filename)
    except Invalid:
        return str(canonicalize_name(filename)).startswith(f"{name}-")
    # foo-1.0-1.tar.gz reads as version 1 of foo-1-0: an sdist whose rest begins with a digit is still foo's.
    legacy = parsed.filetype == "sdist" and re.match(re.escape(name) + r"-\d", parsed.project)
    return parsed.project == name or bool(legacy)


def _file(name: NormalizedName, entry: Entry, base: str) -> File | None:
    try:
        names.check_filename(entry.filename)
        url = without_userinfo(urljoin(base, entry.href.strip()).partition("#")[0])
        origin_of(url)
    except (Invalid, ValueError):
        return None
    if not names.is_filename(entry.filename) or not belongs(name, entry.filename):
        return None
    core_metadata = _core_metadata(entry.core_metadata)
    return File(
        filename=entry.filename,
        hashes=known_hashes(entry.hashes),
        size=entry.size if entry.size is not None and entry.size >= 0 else None,
        upload_time=_time(entry.upload_time),
        requires_python=_plain(entry.requires_python or "") or None,
        core_metadata=core_metadata,
        yanked=(_plain(entry.yanked) or True) if isinstance(entry.yanked, str) else entry.yanked,
        gpg_sig=entry.gpg_sig,
        provenance=_https(base, entry.provenance),
        url=url,
        metadata_url=None if core_metadata is False else f"{url}.metadata",
        sig_url=f"{url}.asc" if entry.gpg_sig else None,
    )


def _core_metadata(told: CoreMetadata) -> CoreMetadata:
    """Digests of unknown kinds still say that the metadata is there."""
    return known_hashes(told) or True if isinstance(told, dict) else told


def _https(base: str, link: str | None) -> str | None:
    """The link made absolute, if that is https; else nothing is told."""
    try:
        url = without_userinfo(urljoin(base, link)) if link else ""
        return url if origin_of(url).scheme == "https" else None
    except (Invalid, ValueError):
        return None


def _time(text: str | None) -> datetime | None:
    """ISO 8601 as PEP 700 writes it; without a zone it is UTC."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _plain(text: str) -> str:
    """One line without control characters: these texts go into our own pages."""
    return _CONTROL.sub(" ", text).strip()


def _version_of(name: NormalizedName, filename: str) -> str | None:
    """As `names.version_of`, but for foo-1.0-1.tar.gz, which reads as version 1 of another project."""
    version = names.version_of(name, filename)
    if version is not None and names.is_filename(filename):
        try:
            if names.parse_filename(filename).project != name:
                stem = filename[len(name) + 1 :].removesuffix(".zip").removesuffix(".tar.gz")
                return str(Version(stem))
        except (Invalid, InvalidVersion):
            pass
    return version


def _versions(told: Iterable[str], of_files: Iterable[str | None]) -> tuple[str, ...]:
    """The versions that were told, and those of files that are none of them in another spelling; sorted."""
    return names.unique_versions(version for text in (*told, *of_files) if (version := _plain(text or "")))


def filename_of(url: str) -> str:
    """The last segment of the URL's path, unquoted."""
    return unquote(urlsplit(url).path.rpartition("/")[2])
