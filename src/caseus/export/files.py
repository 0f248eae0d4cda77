"""The files themselves in the tree: beside the page of their project, with their sidecars."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from caseus.errors import Unavailable
from caseus.export.entries import Entry
from caseus.export.found import Found
from caseus.export.writing import Writer

if TYPE_CHECKING:
    from pathlib import Path

PathOf = Callable[[str, Entry], "Path | None"]
_METADATA: Final = ".metadata"


def place_files(found: Found, path_of: PathOf, writer: Writer) -> list[str]:
    """Puts every file that is offered where its page links it; the keys. Unavailable if one can't be read."""
    from caseus.names import SIDECARS  # it loads slowly, and lists don't need it

    keys = []
    for release in found.offered:
        entry = release.entry
        path = path_of(found.name, entry)
        if path is None or entry.url is not None:
            continue
        key = f"simple/{found.name}/{entry.filename}"
        for ending in SIDECARS:
            beside = f"{path}{ending}"
            if os.path.isfile(beside):
                writer.place(f"{key}{ending}", beside)
                keys.append(f"{key}{ending}")
            elif ending == _METADATA and entry.core_metadata:
                writer.put_exactly(f"{key}{ending}", _made(path))
                keys.append(f"{key}{ending}")
        writer.place(key, path)
        keys.append(key)
    return keys


def is_placed(name: str) -> bool:
    """Whether a name in a project's folder is a file's or a sidecar's."""
    from caseus.names import is_filename, split_sidecar

    return is_filename(split_sidecar(name)[0])


def _made(path: Path) -> bytes:
    from caseus.export.folder_source import metadata_of  # it needs what reads archives, which lists don't

    try:
        metadata = metadata_of(path)
    except OSError as error:
        raise Unavailable(f"can't read {path}: {error.strerror}", kind="local") from None
    if metadata is None:
        raise Unavailable(f"{path} changed while it was exported: run it again", kind="local")
    return metadata
