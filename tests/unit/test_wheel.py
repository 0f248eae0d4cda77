"""The wheel, installed alone in a clean venv, starts."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from caseus import __version__
from support.clients import ask
from support.server import CaseusServer

PROJECT = Path(__file__).parents[2]


def run(*command: str | Path) -> None:
    """With the machine's own pip configuration: that is how packages are had here."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_wheel_starts_alone(tmp_path: Path) -> None:
    pip = ("-m", "pip", "--disable-pip-version-check")
    run(sys.executable, *pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, PROJECT)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"caseus-{__version__}-py3-none-any.whl"
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"caseus", f"caseus-{__version__}.dist-info"}
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    run(python, *pip, "install", "--require-hashes", "-r", PROJECT / "requirements.txt")
    run(python, *pip, "install", "--no-deps", wheel)
    run(python, *pip, "check")
    with CaseusServer(tmp_path / "data", command=(str(tmp_path / "venv/bin/caseus"),)) as server:
        assert ask(f"{server.url}livez").status == 200
        assert server.cli("verify").returncode == 0
