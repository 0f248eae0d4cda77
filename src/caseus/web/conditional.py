"""Conditional and range requests (RFC 9110 sections 13 and 14), as pure functions over header values."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final, NamedTuple

_ETAG = re.compile(r'(W/)?("[^"]*")')
_RANGE = re.compile(r"bytes=[ \t]*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))[ \t]*\Z", re.IGNORECASE | re.ASCII)


class Range(NamedTuple):
    """From `start` (negative: that many bytes from the end) up to and without `stop` (None: to the end)."""

    start: int
    stop: int | None


NOTHING: Final = Range(0, 0)
"""`bytes=-0`: a valid range that no file can satisfy."""


class _Any:
    """`*`."""

    def __contains__(self, tag: object) -> bool:
        return True


def parse_tags(if_none_match: str | None) -> Container[str]:
    """What the client has: a list of ETags with their quotes, compared weakly; `*` is every one."""
    if if_none_match is None:
        return ()
    if if_none_match.strip() == "*":
        return _Any()
    return frozenset(match[2] for match in _ETAG.finditer(if_none_match))


def not_modified(if_none_match: str | None, etag: str | None) -> bool:
    """Whether the client has it already."""
    return etag is not None and etag in parse_tags(if_none_match)


def range_allowed(if_range: str | None, etag: str | None) -> bool:
    """Whether If-Range lets a range through: absent, or the very same strong ETag.

    We send no Last-Modified, so a date never does.
    """
    return if_range is None or (etag is not None and if_range.strip() == etag)


def parse_range(header: str | None) -> Range | None:
    """The one range of a Range header; None for none, for several, for other units and for what is malformed.

    Those are answered by the whole file, as RFC 9110 section 14.2 lets a server do.
    """
    match = _RANGE.match(header.strip()) if header is not None else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return Range(-int(suffix), None) if int(suffix) else NOTHING
    if not last:
        return Range(int(first), None)
    return Range(int(first), int(last) + 1) if int(last) >= int(first) else None
