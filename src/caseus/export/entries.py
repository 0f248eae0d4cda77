"""One line of a list: a file, a name that was used and deleted, or facts of a project.

The keys are dumb-pypi's, in its order, then ours; `packages.jsonl` beside hosted files has no others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from caseus.errors import Invalid
from caseus.export.filenames import guess
from caseus.model import Status

_SAFE: Final = re.compile(r"[A-Za-z0-9_.+!~()@=,-]+").fullmatch
_DIGEST: Final = re.compile(r"[A-Za-z0-9_]+=[0-9A-Fa-f]+").fullmatch
_LINK: Final = re.compile(r"(?:https?|file):|[^:/?#]*(?:[/?#]|\Z)", re.IGNORECASE).match
"""What a browser opens and never runs, unlike `javascript:`; without a scheme it is relative (RFC 3986 section 4.2)."""
_LATEST: Final = 253_402_300_800  # the year 10000, which no date can be in; milliseconds are beyond it
_MOST = 300  # characters of a line that a fault shows


class Entry(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Times are Unix seconds, digests `algorithm=hex`. Without `filename` it tells facts of `project`."""

    filename: str = ""
    hash: str | None = None
    requires_dist: list[str] | None = None
    requires_python: str | None = None
    upload_timestamp: int | float | None = None
    uploaded_by: str | None = None
    yanked_reason: str | None = None
    core_metadata: str | None = None
    version: str | None = None
    size: int | None = None
    upload_time: float | None = None
    md5: str | None = None
    blake2b_256: str | None = None
    gpg_sig: bool | None = None
    provenance: str | None = None
    """https URL of the provenance file (PEP 740)."""
    url: str | None = None
    """Where the file is, if not under the packages' URL."""
    yanked: bool = False
    """Yanked, though there is no reason: dumb-pypi takes an empty one for none."""
    deleted: float | None = None
    deleted_reason: str | None = None
    project: str | None = None
    versions: list[str] | None = None
    status: Status | None = None
    status_reason: str | None = None

    @property
    def uploaded(self) -> float | None:
        return self.upload_timestamp if self.upload_timestamp is not None else self.upload_time

    @property
    def is_yanked(self) -> bool:
        """An empty reason is one where caseus wrote the line, which `upload_time` tells."""
        return bool(self.yanked_reason) or self.yanked or (self.yanked_reason == "" and self.upload_time is not None)


Decode = Callable[[bytes], Entry]
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises of a line that is not what it should be."""

decode_json: Final[Decode] = msgspec.json.Decoder(Entry).decode


def decode_plain(line: bytes) -> Entry:
    """Of a line that is a filename."""
    return Entry(filename=line.decode())


def identify(entry: Entry) -> tuple[str, str | None]:
    """Normalised project and version of the entry, once it is checked; Invalid with the reason."""
    filename = entry.filename
    if not filename:
        if entry.project is None:
            raise Invalid("it has no filename")
        from caseus.names import normalize

        return normalize(entry.project), None
    if not _SAFE(filename) or ".." in filename:
        raise Invalid(f"unsafe filename {filename!a}: use letters, digits and ._+- only")
    if entry.hash is not None or entry.core_metadata or entry.upload_timestamp or entry.url:
        _check(entry)
    return owner(entry)


def owner(entry: Entry) -> tuple[str, str | None]:
    """What `identify` says, of a file's entry that was checked."""
    filename = entry.filename
    if entry.project is None and entry.version is None:
        return guess(filename)
    from caseus.names import normalize, parse_filename  # most lists don't need it, and it loads slowly

    if entry.project is not None:
        return normalize(entry.project), entry.version
    try:
        return parse_filename(filename).project, entry.version
    except Invalid:
        return guess(filename)[0], entry.version


def _check(entry: Entry) -> None:
    if entry.hash is not None and not _DIGEST(entry.hash):
        raise Invalid(f"hash {entry.hash!a} is not algorithm=hex, such as sha256=0123abcd")
    if entry.core_metadata and entry.core_metadata != "true" and not _DIGEST(entry.core_metadata):
        raise Invalid(f"core_metadata {entry.core_metadata!a} is neither `true` nor algorithm=hex")
    if entry.upload_timestamp and not -_LATEST < entry.upload_timestamp < _LATEST:
        raise Invalid(f"upload_timestamp {entry.upload_timestamp} is no time in Unix seconds")
    if entry.url and not _LINK(entry.url):
        raise Invalid(f"url {entry.url!a} is neither http, https nor file, and not relative")


def shown(line: bytes) -> str:
    """The line as a fault tells it."""
    text = line.decode("utf-8", "replace")
    return text if len(text) <= _MOST else text[:_MOST] + "…"
