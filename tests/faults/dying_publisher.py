"""Publishes one file beside a running server, and is killed between COMMIT and the store of the mapped serial."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from caseus.catalog.serial import SerialFile
from caseus.site import MAIN, build
from faults.dying_worker import publish
from support.web import make_config


def die(file: SerialFile, value: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(root: Path, name: str, version: str, path: Path) -> None:
    site = build(make_config(root))
    vars_of: Any = SerialFile
    vars_of.serial = property(vars_of.serial.fget, die)
    publish(site.indexes[MAIN].publisher, name, version, path.name, path.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
