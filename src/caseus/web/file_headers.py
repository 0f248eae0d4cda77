"""The headers of files and their sidecars."""

from __future__ import annotations

from typing import Final

from caseus.web.answers import Headers
from caseus.web.caching import FOREVER, scoped, vary

_TYPES: Final = (
    (".metadata", "text/plain; charset=utf-8"),
    (".asc", "application/pgp-signature"),
    (".whl", "application/zip"),
    (".zip", "application/zip"),
    (".egg", "application/zip"),
    (".tar.gz", "application/gzip"),
    (".tgz", "application/gzip"),
)


def content_type(filename: str) -> str:
    """By the ending. A .tar.gz is a gzip file, not a tar with a Content-Encoding that clients would undo."""
    return next((kind for ending, kind in _TYPES if filename.endswith(ending)), "application/octet-stream")


def file_headers(filename: str, etag: str | None, *, private: bool) -> tuple[Headers, Headers]:
    """Those of the answer, without its length, and those of a 304."""
    unchanged: Headers = (
        *((("ETag", etag),) if etag else ()),
        ("Cache-Control", scoped(FOREVER, private=private)),
        *vary(private=private),
        ("Accept-Ranges", "bytes"),
    )
    full = (
        *unchanged,
        ("Content-Type", content_type(filename)),
        ("Content-Disposition", f'attachment; filename="{filename}"'),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "sandbox"),
    )
    return full, unchanged
