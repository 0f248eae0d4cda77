"""Projects whose dependencies a client locks and installs: uv, poetry, pdm, pipenv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from support.clients import Ran, Shell, installed, tool

_PYPROJECT = """\
[project]
name = "work"
version = "0"
requires-python = ">=3.11,<3.90"
dependencies = [{quoted}]
"""


class Locker(NamedTuple):
    """A client that locks. `text`: of the manifest, with {index} and {quoted} requirements."""

    manifest: str
    text: str
    lockfile: str
    lock: tuple[str, ...]
    install: tuple[str, ...]
    """From the lock file, which must fit."""
    env: Mapping[str, str]


LOCKERS = {
    "uv": Locker(
        "pyproject.toml",
        _PYPROJECT + '[[tool.uv.index]]\nname = "caseus"\nurl = "{index}"\ndefault = true\n',
        "uv.lock",
        ("lock",),
        ("sync", "--locked"),
        {},
    ),
    "poetry": Locker(
        "pyproject.toml",
        _PYPROJECT + "[tool.poetry]\npackage-mode = false\n"
        '[[tool.poetry.source]]\nname = "caseus"\nurl = "{index}"\npriority = "primary"\n',
        "poetry.lock",
        ("lock", "-n"),
        ("install", "-n"),
        {"POETRY_VIRTUALENVS_IN_PROJECT": "true", "POETRY_KEYRING_ENABLED": "false"},
    ),
    "pdm": Locker(
        "pyproject.toml",
        _PYPROJECT + "[tool.pdm]\ndistribution = false\n"
        '[[tool.pdm.source]]\nname = "pypi"\nurl = "{index}"\n',  # this name replaces the public index
        "pdm.lock",
        ("lock", "--static-urls"),
        ("install", "--frozen-lockfile"),
        {"PDM_CHECK_UPDATE": "0"},
    ),
    "pipenv": Locker(
        "Pipfile",
        '[[source]]\nname = "caseus"\nurl = "{index}"\nverify_ssl = true\n[packages]\n{lines}\n',
        "Pipfile.lock",
        ("lock",),
        ("install", "--deploy"),
        {"PIPENV_VENV_IN_PROJECT": "1", "PIPENV_NOSPIN": "1"},
    ),
}


@dataclass(frozen=True)
class Project:
    """A folder with a manifest. `lock` and `install` are those of its client."""

    shell: Shell
    client: str
    folder: Path

    def lock(self, env: Mapping[str, str] | None = None) -> Ran:
        return self.run(*LOCKERS[self.client].lock, env=env)

    def install(self, env: Mapping[str, str] | None = None) -> Ran:
        return self.run(*LOCKERS[self.client].install, env=env)

    def run(self, *args: str, env: Mapping[str, str] | None = None) -> Ran:
        own = {**LOCKERS[self.client].env, "PIPENV_PYTHON": tool("python"), "UV_PYTHON": tool("python")}
        return self.shell.run(tool(self.client), *args, env=own | dict(env or {}), cwd=self.folder)

    @property
    def locked(self) -> str:
        return (self.folder / LOCKERS[self.client].lockfile).read_text()

    @property
    def installed(self) -> dict[str, str]:
        """Name to version in the project's own environment, without what that is made with."""
        (site,) = (self.folder / ".venv").glob("lib/python*/site-packages")
        return {name: version for name, version in installed(site).items() if name not in ("pip", "setuptools")}


def make_project(shell: Shell, client: str, index: str, *requires: str, into: Path) -> Project:
    """A project of this client that requires these names, from this index alone."""
    into.mkdir(parents=True, exist_ok=True)
    locker = LOCKERS[client]
    quoted, lines = ", ".join(f'"{name}"' for name in requires), "\n".join(f'{name} = "*"' for name in requires)
    (into / locker.manifest).write_text(locker.text.format(index=index, quoted=quoted, lines=lines))
    shell.env.pop("UV_NO_CONFIG", None)  # which keeps uv from the project's own settings too
    return Project(shell, client, into)
