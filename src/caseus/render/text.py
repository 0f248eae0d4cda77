"""Text in pages, which no upstream can break them with. It loads quickly, for an export is over soon."""

from __future__ import annotations

import re
from typing import Final

API_VERSION: Final = "1.4"
"""Of the Simple Repository API that the pages speak (PEP 792)."""

_UNQUOTED = re.compile(r"[A-Za-z0-9._~-]*\Z")

# A parser may drop or alter these (HTML standard, section 13.2.3.5), so they never go out as they are.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPECIAL = re.compile("[&<>\"'\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REFERENCES = (
    ("&", "&amp;"),
    ("<", "&lt;"),
    (">", "&gt;"),
    ('"', "&quot;"),
    ("'", "&#x27;"),
    ("\r", "&#13;"),  # a bare one becomes LF in every HTML parser, a reference to it stays
    ("\n", "&#10;"),
)
"""As `html.escape` has them, which loads slowly."""


def file_url(filename: str) -> str:
    """The link from a project's page to a file of it.

    `+` and `!` are encoded: some static hosts read a bare `+` as a space.
    """
    if _UNQUOTED.match(filename):
        return filename
    from urllib.parse import quote

    return quote(filename, safe="")


def escaped(text: str) -> str:
    """For HTML, between tags and in attributes with double quotes."""
    if _SPECIAL.search(text) is None:  # nearly always, and five times as fast
        return text
    text = _CONTROLS.sub("\ufffd", encodable(text))
    for sign, reference in _REFERENCES:
        text = text.replace(sign, reference)
    return text


def encodable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 can't carry, replaced."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def provenance_url(url: str | None) -> str | None:
    """The URL if it is https: PEP 740 wants it absolute, and nothing else is worth following."""
    return encodable(url) if url is not None and url.startswith("https://") else None
