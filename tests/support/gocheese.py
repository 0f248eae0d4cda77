"""Folders as GoCheese keeps them, by its documentation: that of 2019, and the later one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

Writing = Literal["raw", "hex", "hex-line"]

OF = {
    ".md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    ".sha256": lambda data: hashlib.sha256(data).digest(),
    ".sha512": lambda data: hashlib.sha512(data).digest(),
    ".blake2_256": lambda data: hashlib.blake2b(data, digest_size=32).digest(),
    ".blake2b_256": lambda data: hashlib.blake2b(data, digest_size=32).digest(),
}
"""What stands in a file with that ending, for the bytes of a package."""

WRITTEN: Mapping[Writing, Callable[[bytes], bytes]] = {
    "raw": lambda digest: digest,
    "hex": lambda digest: digest.hex().encode(),
    "hex-line": lambda digest: digest.hex().upper().encode() + b"\n",
}


class Cheese:
    """A folder that `-root` names."""

    def __init__(self, root: Path, *, writing: Writing = "raw") -> None:
        self.root, self.writing = root, writing
        root.mkdir(parents=True, exist_ok=True)

    def mark(self, package: str, marker: str = ".internal") -> Path:
        """A package that may be uploaded."""
        return self._write(package, marker, b"")

    def add(
        self,
        package: str,
        file: tuple[str, bytes],
        *digests: str,
        downloaded: bool = True,
        signature: bytes | None = None,
        uploaded: float | None = None,
    ) -> Path:
        """A file with its digests (`.sha256` unless told), or these alone; where it lies."""
        name, data = file
        for ending in digests or (".sha256",):
            self._write(package, name + ending, WRITTEN[self.writing](OF[ending](data)))
        if signature is not None:
            self._write(package, f"{name}.asc", signature)
        path = self.root / package / name
        if downloaded:
            self._write(package, name, data)
            if uploaded is not None:
                os.utime(path, (uploaded, uploaded))
        return path

    def _write(self, package: str, name: str, data: bytes) -> Path:
        folder = self.root / package
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        return folder / name


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder, its bytes and modification time: what an import must leave as it is."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
