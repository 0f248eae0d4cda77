"""The data folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from caseus.errors import Unavailable


def make_root(root: Path) -> None:
    """Make the data folder if it is not there, open to its owner only. Unavailable if it can't be made or written."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        reason = f"can't make the data folder {root}: {error.strerror}: give another --root"
        raise Unavailable(reason, kind="local") from None
    try:
        tempfile.TemporaryFile(dir=root).close()  # as root, os.access would say yes to anything
    except OSError as error:
        reason = f"can't write to the data folder {root}: {error.strerror}: see its disk and its owner"
        raise Unavailable(reason, kind="local") from None
