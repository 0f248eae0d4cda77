"""What both renderings say of a file: its link and its digests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping

from caseus.model import File
from caseus.render.text import encodable, file_url

STRENGTH = ("sha256", "sha512", "sha384", "sha3_256", "sha224", "sha1", "md5")
"""sha256 first (PEP 503 recommends it, lock files hold it), then from strong to weak."""

_ALGORITHMS = hashlib.algorithms_guaranteed - {"shake_128", "shake_256"}
"""PEP 691 wants names that `hashlib.new()` knows: pip 26.3 dies of any other (blake2b_256), and of a missing length."""

Link = Callable[[File], str]

_HEX = re.compile(r"[0-9a-f]+\Z")


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
