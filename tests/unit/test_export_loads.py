"""What an export of a list loads: a short one is written in the time that other modules take to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import caseus.render
from support.server import clean_environment

PROGRAM = """\
import sys
from caseus.cli import run
code = run(sys.argv[1:])
print(code, *sorted(sys.modules))
"""
SLOW = {"packaging.utils", "packaging.tags", "sqlalchemy", "cyclopts", "rich", "structlog", "caseus.names", "httpx"}
SLOW |= {"caseus.render.home", "caseus.render.simple_html", "caseus.render.simple_json", "caseus.render.signatures"}


def loaded(folder: Path, *flags: str) -> set[str]:
    """Modules that a run needs."""
    packages = folder / "packages.txt"
    packages.write_text("acme_app-1.0-py3-none-any.whl\nacme-1.0.tar.gz\n")
    command = [sys.executable, "-c", PROGRAM, "export", "--package-list", str(packages)]
    command += ["--output-dir", str(folder / "tree"), "--packages-url", "../../pool/", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    code, *modules = done.stdout.splitlines()[-1].split()
    assert (code, done.stderr) == ("0", "")
    return set(modules)


def test_a_list_loads_only_what_it_needs(tmp_path: Path) -> None:
    assert not SLOW & loaded(tmp_path)


def test_another_style_loads_its_pages(tmp_path: Path) -> None:
    modules = loaded(tmp_path, "--style", "caseus")
    assert {"caseus.render.simple_html", "caseus.render.simple_json"} <= modules
    assert b"acme_app-1.0" in (tmp_path / "tree" / "simple" / "acme-app" / "index.html").read_bytes()


def test_renderings_are_all_there() -> None:
    for name in caseus.render.__all__:
        assert getattr(caseus.render, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = caseus.render.nothing
