"""Core metadata as a file carries it: METADATA, PKG-INFO."""

from __future__ import annotations

import re
from email.errors import MessageError

import msgspec
from packaging.metadata import parse_email

from caseus.errors import Invalid

_HEADER_END = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_MAX_LINES = 20_000
_MAX_FIELDS = 100
_MAX_VALUE = 1000  # characters of a version, a name, a specifier: they stand in every page
_BROKEN = (MessageError, ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError)


class CoreMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that an index lives by, as text that nobody judged yet; None for what is absent, empty or doubled."""

    metadata_version: str | None
    name: str | None
    version: str | None
    requires_python: str | None
    requires_dist: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    """Names of those fields that were given more than once."""


def parse_metadata(data: bytes) -> CoreMetadata:
    """The file's fields; Invalid if it is not text in UTF-8 or no headers.

    Everything else about it is accepted: private packages carry unknown classifiers and fields of other tools.
    """
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"the metadata is not UTF-8 (byte {error.start}): build the file again") from None
    # The description is left out: the parser of e-mails would look into it by a Content-Type that a stranger set.
    head = _HEADER_END.split(data, maxsplit=1)[0]
    _bound(head)
    try:
        raw, unparsed = parse_email(head + b"\n")
    except _BROKEN:
        raise Invalid("the metadata can't be parsed: build the file again") from None
    short = ("metadata_version", "name", "version", "requires_python")
    if any(len(str(raw.get(field, ""))) > _MAX_VALUE for field in short):
        raise Invalid(f"the metadata has a Name, Version or Requires-Python longer than {_MAX_VALUE} characters")
    doubled = tuple(
        name for name in ("Metadata-Version", "Name", "Version", "Requires-Python") if name.lower() in unparsed
    )
    return CoreMetadata(
        metadata_version=_one_line(raw.get("metadata_version")),
        name=_one_line(raw.get("name")),
        version=_one_line(raw.get("version")),
        requires_python=_one_line(raw.get("requires_python")),
        requires_dist=tuple(" ".join(each.split()) for each in raw.get("requires_dist", ())),
        doubled=doubled,
    )


def _bound(head: bytes) -> None:
    """Looking up each field by its name costs their number times the lines."""
    lines = head.splitlines()
    fields = {line.partition(b":")[0].lower() for line in lines if line[:1] not in (b" ", b"\t")}
    if len(lines) > _MAX_LINES or len(fields) > _MAX_FIELDS:
        raise Invalid(f"the metadata has more than {_MAX_LINES} lines of headers or {_MAX_FIELDS} different fields")


def _one_line(value: str | None) -> str | None:
    """A folded header unfolded (RFC 5322 section 2.2.3)."""
    return " ".join(value.split()) or None if value is not None else None
