"""What an export of a list loads: a short one is written in the time that other modules take to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import caseus.render
from support.server import COMMAND, clean_environment

PROGRAM = """\
import sys
from caseus.cli import run
code = run(sys.argv[1:])
print(code, *sorted(sys.modules))
"""
SLOW = {"packaging.utils", "packaging.tags", "sqlalchemy", "cyclopts", "rich", "structlog", "caseus.names", "httpx"}
SLOW |= {"pathlib", "hashlib", "tempfile", "shutil", "threading", "urllib.parse", "html", "inspect"}
SLOW |= {"typing_extensions", "caseus.export.checking", "caseus.storage"}
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


def test_a_short_command_does_not_wait_for_its_end(tmp_path: Path) -> None:
    """What it says is read whole, whoever reads it."""
    listed = tmp_path / "packages.txt"
    listed.write_text("".join(f"acme-{number}\n" for number in range(30)))
    command = [*COMMAND, "export", "--package-list", str(listed), "--output-dir", str(tmp_path / "tree")]
    command += ["--packages-url", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
    *faults, more, error = done.stderr.splitlines()
    assert (done.returncode, done.stdout, len(faults)) == (1, "", 20)
    assert "10 more bad lines" in more and "nothing was written" in error
    buffered = clean_environment({"PYTHONUNBUFFERED": ""})
    done = subprocess.run([*COMMAND, "export", "--help"], capture_output=True, text=True, check=True, env=buffered)
    assert done.stdout.startswith("usage: caseus export ") and done.stdout.endswith("result as JSON\n")


def test_what_is_left_out_of_a_start_is_there_later(tmp_path: Path) -> None:
    """msgspec is loaded without typing_extensions, which others may want then."""
    start = "import caseus.cli\ncaseus.cli.hurry()\nimport typing_extensions\n"
    program = PROGRAM.replace("code = run", f"{start}code = run")
    listed = tmp_path / "packages.txt"
    listed.write_text("acme-1.0.tar.gz\n")
    command = [sys.executable, "-c", program, "export", "--package-list", str(listed)]
    command += ["--output-dir", str(tmp_path / "tree"), "--packages-url", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0" and "typing_extensions" in modules


def test_renderings_are_all_there() -> None:
    for name in caseus.render.__all__:
        assert getattr(caseus.render, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = caseus.render.nothing
