"""What both renderings say of a file: its link, its digests, text that no upstream can break a page with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from html import escape
from urllib.parse import quote

from caseus.model import File

STRENGTH = ("sha256", "sha512", "sha384", "sha3_256", "sha224", "sha1", "md5")
"""sha256 first (PEP 503 recommends it, lock files hold it), then from strong to weak."""

_ALGORITHMS = hashlib.algorithms_guaranteed - {"shake_128", "shake_256"}
"""PEP 691 wants names that `hashlib.new()` knows: pip 26.3 dies of any other (blake2b_256), and of a missing length."""

Link = Callable[[File], str]

_HEX = re.compile(r"[0-9a-f]+\Z")
_UNQUOTED = re.compile(r"[A-Za-z0-9._~-]*\Z")

# A parser may drop or alter these (HTML standard, section 13.2.3.5), so they never go out as they are.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPECIAL = re.compile("[&<>\"'\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def file_url(filename: str) -> str:
    """The link from a project's page to a file of it.

    `+` and `!` are encoded: some static hosts read a bare `+` as a space.
    """
    return filename if _UNQUOTED.match(filename) else quote(filename, safe="")


def beside(file: File) -> str:
    """The link from a project's page, without a digest: wherever the page is, the file is there too."""
    return file_url(encodable(file.filename))


def sound_hashes(hashes: Mapping[str, str]) -> dict[str, str]:
    """Those that every client knows, in lower-case hex, sorted: an upstream may list anything."""
    if len(hashes) == 1:  # nearly always
        [(name, text)] = hashes.items()
        return {name: text} if name in _ALGORITHMS and _HEX.match(text) else {}
    return {name: hashes[name] for name in sorted(_ALGORITHMS & hashes.keys()) if _HEX.match(hashes[name])}


def best_hash(hashes: Mapping[str, str]) -> str | None:
    """`sha256=…`, else the strongest that is known, None without any."""
    sha256 = hashes.get("sha256")
    if sha256 is not None and _HEX.match(sha256):
        return f"sha256={sha256}"
    sound = sound_hashes(hashes)
    for name in STRENGTH:
        if name in sound:
            return f"{name}={sound[name]}"
    return None


def escaped(text: str) -> str:
    """For HTML, between tags and in attributes with double quotes."""
    if _SPECIAL.search(text) is None:  # nearly always, and five times as fast
        return text
    # A bare CR becomes LF in every HTML parser, a reference to it stays.
    return escape(_CONTROLS.sub("\ufffd", encodable(text))).replace("\r", "&#13;").replace("\n", "&#10;")


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
