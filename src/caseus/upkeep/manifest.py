"""The file by which a backup is one: it is replaced when all that it names is there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from caseus.errors import CaseusError
from caseus.upkeep.disk import write_file

NAME = "manifest.json"


class NoBackup(CaseusError):
    """The folder can't be used as a backup."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds. `time` in Unix seconds; `catalog`: a filename; `files`: keys to sha256, hex.

    Without a `catalog` the first backup into the folder was not finished.
    """

    format: Literal["caseus-backup-1"] = "caseus-backup-1"
    caseus: str = ""
    time: float = 0.0
    serial: int = 0
    catalog: str = ""
    catalog_sha256: str = ""
    bytes: int = 0
    files: dict[str, str] = {}


def read(folder: Path) -> Manifest | None:
    """None if there is no manifest. NoBackup if it can't be read."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoBackup(f"{folder / NAME} is no manifest of a backup that this caseus knows: {error}") from None


def write(folder: Path, manifest: Manifest) -> None:
    """Durably, for people too."""
    write_file(folder / NAME, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
