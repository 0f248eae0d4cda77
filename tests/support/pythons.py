"""The Pythons of this machine, found when tests are collected: each brings a pip of its own age."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"python(\d)\.(\d+)\Z")
FIRST_OWN = (3, 11)
"""caseus itself needs this one; what is older is found on the machine or not at all."""


class Python(NamedTuple):
    """An interpreter that is in no virtual environment. `label`: unique, without the machine's paths."""

    label: str
    version: tuple[int, int]
    path: Path


def find_pythons() -> list[Python]:
    """All of them, oldest first. Nothing is run."""
    found: dict[Path, tuple[int, int]] = {}
    for folder in _folders():
        for path in sorted(folder.iterdir()):
            name = _NAME.match(path.name)
            if name and os.access(path, os.X_OK) and not _is_script(path):
                found.setdefault(path.resolve(), (int(name[1]), int(name[2])))
    pythons: list[Python] = []
    for path, version in sorted(found.items(), key=lambda each: (each[1], each[0])):
        before = sum(python.version == version for python in pythons)
        label = ".".join(map(str, version)) + (f"-{before + 1}" if before else "")
        pythons.append(Python(label, version, path))
    return pythons


def _folders() -> Iterator[Path]:
    """The search path, the usual places, and what pyenv keeps for this user."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    named = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for folder in [*named, Path("/usr/bin"), Path("/usr/local/bin"), *sorted(pyenv.glob("versions/*/bin"))]:
        if folder.is_dir() and not (folder.parent / "pyvenv.cfg").exists():
            yield folder


def _is_script(path: Path) -> bool:
    """A shim of pyenv, which starts whatever is chosen elsewhere."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"
