"""The console script `dumb-pypi`, which comes with an extra."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from caseus import __version__
from support.exported import hrefs, read_tree
from support.server import clean_environment

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "extras" / "dumb-pypi"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed beside the caseus that runs the tests."""
    folder = tmp_path_factory.mktemp("script")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(folder), str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "dumb-pypi"


def test_the_extra_names_this_version() -> None:
    main = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extra = tomllib.loads((SCRIPT / "pyproject.toml").read_text())["project"]
    assert main["optional-dependencies"]["dumb-pypi"] == [f"{extra['name']}=={__version__}"]
    assert (extra["version"], extra["dependencies"]) == (__version__, [f"caseus=={__version__}"])
    assert "dumb-pypi" not in main["scripts"]


def run(script: Path, *arguments: str | Path, input: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(script), *map(str, arguments)]
    return subprocess.run(command, input=input, capture_output=True, text=True, env=clean_environment(), check=False)


def test_it_takes_the_flags_and_says_nothing(script: Path, tmp_path: Path) -> None:
    flags = (
        "--package-list",
        "-",
        "--output-dir",
        tmp_path / "tree",
        "--packages-url",
        "../../pool/",
        "--logo-width",
        "5",
    )
    done = run(script, *flags, input="foo-1.0.tar.gz\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert hrefs(read_tree(tmp_path / "tree")["simple/foo/index.html"]) == ["../../pool/foo-1.0.tar.gz"]


def test_its_errors_are_one_line(script: Path, tmp_path: Path) -> None:
    done = run(script, "--package-list", "-", "--output-dir", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "caseus: error: a list tells no place of its files: give --packages-url\n"
    done = run(script, "--output-dir", tmp_path)
    assert done.returncode == 2 and "see `dumb-pypi --help`" in done.stderr
    assert run(script, "--help").stdout.startswith("usage: dumb-pypi")
