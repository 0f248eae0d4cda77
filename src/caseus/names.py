"""Names of projects, files and indexes, over `packaging`.

Everything that comes from outside is parsed here once; inside, the types say that it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal, NamedTuple

from packaging.utils import (
    InvalidName,
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from caseus.errors import Invalid

Filetype = Literal["bdist_wheel", "sdist"]

UPLOADABLE = (".whl", ".tar.gz", ".zip")
"""What may be published here: wheels (PEP 427) and source distributions (PEP 625, and the older .zip)."""

KNOWN_EXTENSIONS = (
    *UPLOADABLE, ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".tar.Z", ".tar",
    ".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg",
)  # fmt: skip
"""Endings by which a word is a file and not a project; an upstream may list any of them."""

SIDECARS = (".metadata", ".asc", ".provenance")
"""What may lie beside a file, under its name and this ending (PEP 658, GPG, PEP 740)."""

RESERVED_SEGMENTS = frozenset(
    {
        "simple", "legacy", "pypi", "rss", "integrity", "refresh", "norefresh", "gpgupdate", "login", "logout",
        "index_mtime", "initialize", "_", "-", ".well-known", "project", "search", "livez", "readyz", "metrics",
        "favicon.ico", "robots.txt", "packages", "namespaces", "namespace", "health",
    }
)  # fmt: skip
"""First segments of our own URLs: no index may be so named."""

_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_INDEX_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!~()@=,-]*\Z")
_PATTERN = re.compile(r"[A-Za-z0-9._*?\[\]!-]+\Z")
_MAX_FILENAME = 255 - len(".provenance")


class ParsedFilename(NamedTuple):
    """What a filename says: `version` in PEP 440's normal form."""

    project: NormalizedName
    version: str
    filetype: Filetype


def normalize(name: str) -> NormalizedName:
    """The normalised name (PEP 503); Invalid for what no project can be called (PEP 508's grammar, ASCII)."""
    try:
        return canonicalize_name(name, validate=True)
    except InvalidName:
        raise Invalid(
            "invalid project name: use ASCII letters, digits, '.', '_' and '-', with a letter or digit at both ends"
        ) from None


def is_normalized(name: str) -> bool:
    """Whether the name is its own normalised form."""
    try:
        return normalize(name) == name
    except Invalid:
        return False


def check_filename(filename: str) -> str:
    """The filename itself if it can be a key of a store and a segment of a URL, else Invalid.

    One path segment of printable ASCII, not beginning with a dot, short enough to carry a sidecar's ending.
    """
    if not _FILENAME.match(filename) or ".." in filename:
        raise Invalid("invalid filename: use ASCII letters, digits and ._+!- only, beginning with a letter or digit")
    if len(filename) > _MAX_FILENAME:
        raise Invalid(f"filename is too long: {len(filename)} characters, at most {_MAX_FILENAME}")
    return filename


def is_filename(word: str) -> bool:
    """Whether the word ends as files do (and is no project)."""
    return word.endswith(KNOWN_EXTENSIONS)


@lru_cache(1024)
def parse_filename(filename: str) -> ParsedFilename:
    """Project, version and type of a wheel or sdist; Invalid for anything else (PEP 427, PEP 625, PEP 440)."""
    try:
        if filename.endswith(".whl"):
            project, version, _, _ = parse_wheel_filename(filename)
            return ParsedFilename(project, str(version), "bdist_wheel")
        if filename.endswith((".tar.gz", ".zip")):
            project, version = parse_sdist_filename(filename)
            return ParsedFilename(project, str(version), "sdist")
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise Invalid(f"invalid filename: {error}") from None
    raise Invalid(f"unknown kind of file: use one that ends in {', '.join(UPLOADABLE)}")


def parse_version(text: str) -> Version | None:
    """The version, None for what is none (PEP 440). An upload tells the same one many times, so it is kept for a while.

    But for one that is longer than any filename: a form may tell a MiB, and whoever sends many such would fill memory.
    """
    return _known_version(text) if len(text) <= _MAX_FILENAME else _version(text)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError:  # InvalidVersion, and Python's own limit of digits
        return None


_known_version = lru_cache(1024)(_version)


def split_sidecar(filename: str) -> tuple[str, str]:
    """(file, ending): `a.whl.metadata` is ("a.whl", ".metadata"); the ending is "" for a file itself."""
    for ending in SIDECARS:
        if filename.endswith(ending):
            return filename.removesuffix(ending), ending
    return filename, ""


def version_of(project: str, filename: str) -> str | None:
    """The version that a filename of this project tells, None where it can't be read; never raises.

    Upstreams list eggs, installers and old spellings too; for those the part behind the project's name is a guess.
    """
    try:
        return parse_filename(filename).version
    except Invalid:
        pass
    stem = filename
    for ending in sorted(KNOWN_EXTENSIONS, key=len, reverse=True):
        if filename.endswith(ending):
            stem = filename.removesuffix(ending)
            break
    match = re.match(re.escape(project).replace(r"\-", "[-_.]+") + r"-([^-]+)", stem, re.IGNORECASE)
    return match[1] if match else None


def unique_versions(told: Iterable[str]) -> tuple[str, ...]:
    """Sorted by PEP 440, what is no version last; of several spellings of a version the first that was told."""
    known: dict[Version | str, str] = {}
    for version in told:
        known.setdefault(_parsed(version), version)
    return tuple(known[key] for key in sorted(known, key=_order))


def _parsed(version: str) -> Version | str:
    try:
        return Version(version)
    except InvalidVersion:
        return version


def _order(key: Version | str) -> tuple[int, Version | str]:
    return (1, key) if isinstance(key, str) else (0, key)


def check_index_name(name: str) -> str:
    """The name itself if an index may have it, else Invalid."""
    if not _INDEX_NAME.match(name):
        raise Invalid(f"invalid index name {name!r}: use a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")
    if name in RESERVED_SEGMENTS:
        raise Invalid(f"index name {name!r} is taken by a URL of caseus: choose another")
    return name


def check_user_name(name: str) -> str:
    """The name itself if a user may have it, else Invalid, without the name: in a damaged file it may be a secret.

    Users and indexes share one name space.
    """
    if name == "__token__":
        raise Invalid("__token__ is what clients call a token: choose another user name")
    if name == "main":
        raise Invalid("main is the name of an index, and users and indexes share one name space: choose another")
    if not _USER_NAME.match(name):
        raise Invalid("invalid user name: use letters, digits and ._@- only, at most 64, with a letter or digit first")
    return name


def check_pattern(pattern: str) -> str:
    """The pattern itself if it can match names of projects, else Invalid."""
    if not _PATTERN.match(pattern):
        raise Invalid(f"{pattern!r} is no pattern of project names: use letters, digits, - and *, such as acme-*")
    return pattern


class NamePatterns:
    """Shell patterns over normalised names, such as `acme-*`; written in any spelling (`Acme_*`)."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(re.sub(r"[-_.]+", "-", pattern).lower() for pattern in patterns)

    def match(self, name: NormalizedName) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)
