"""A process that publishes for a while and dies at a random step: `python upload_worker.py ROOT SECONDS SEED`."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from caseus import publication
from caseus.catalog import Catalog, uploads
from caseus.errors import Busy, Conflict
from caseus.publish import Publisher
from caseus.storage.filesystem import FilesystemStorage
from support.forms import form_for
from support.packages import make_wheel, sha256

PROJECTS = 20
BUILDS = 3
LEASE = 0.3  # seconds, so that dead claims end within the test


def build(project: int, variant: int) -> tuple[str, bytes]:
    return make_wheel(f"p{project}", "1.0", content=f"# build {variant}\n".encode())


def open_publisher(root: Path) -> tuple[Catalog, FilesystemStorage, Publisher]:
    catalog = Catalog.open(root)
    store = FilesystemStorage(root)
    return catalog, store, Publisher(catalog, store, "main")


def dying(step: object, name: str, before: bool, chance: float) -> None:
    """Let a method die now and then, before or after its work."""
    method = getattr(step, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before and random.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*args, **kwargs)
        if not before and random.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(step, name, wrapped)


def main(root: Path, seconds: float, seed: int) -> None:
    random.seed(seed)
    uploads.LEASE = LEASE
    if seed % 2:
        publication.SMALL = -1  # with a claim, as large files have it, beside others that publish at once
    catalog, store, publisher = open_publisher(root)
    probe = publisher.stage()
    dying(catalog, "claim", False, 0.01)
    dying(type(probe), "link", True, 0.05)
    dying(type(probe), "link", False, 0.05)
    dying(store, "sync", False, 0.05)
    dying(catalog, "publish", True, 0.05)
    dying(catalog, "publish", False, 0.05)
    probe.close()
    end = time.monotonic() + seconds
    with open(root / "acknowledged", "a") as log:
        while time.monotonic() < end:
            project, variant = random.randrange(PROJECTS), random.randrange(BUILDS)
            filename, data = build(project, variant)
            staged = publisher.stage()
            staged.write(data)
            form = form_for(f"p{project}", "1.0", filename, data)
            try:
                publisher.publish(staged, form, filename=filename, signature=None, actor="worker")
                log.write(f"{filename} {sha256(data)}\n")
                log.flush()
            except (Busy, Conflict):
                pass
            staged.close()
    catalog.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
