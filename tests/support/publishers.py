"""Clients that publish, without a terminal and without any configuration but what is given here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from support.clients import Login, Ran, Shell, name_and_version, tool

EPOCH = {"SOURCE_DATE_EPOCH": "1704067200"}
"""Two builds of the same source have the same bytes."""


def publish(shell: Shell, client: str, url: str, login: Login, files: Iterable[Path], *flags: str) -> Ran:
    """The files, which lie in one folder and are all of it, by one of `PUBLISHERS`; `flags` are the client's own."""
    return PUBLISHERS[client](shell, url, login, list(files), *flags)


def flit_publish(shell: Shell, url: str, login: Login, project: Path) -> Ran:
    """flit publishes only what it builds itself: a wheel and an sdist of a project of `flit_project`."""
    env = {"FLIT_INDEX_URL": url, "FLIT_USERNAME": login[0], "FLIT_PASSWORD": login[1]}
    return shell.run(tool("flit"), "publish", env=env | EPOCH, cwd=project)


def flit_project(folder: Path, name: str, version: str, *, content: str = "") -> Path:
    """A project of one module, in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core>=3.2"]\nbuild-backend = "flit_core.buildapi"\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\ndescription = "The package {name}"\n'
    )
    (folder / f"{name.replace('-', '_')}.py").write_text(f"version = {version!r}\n{content}")
    return folder


def _twine(shell: Shell, url: str, login: Login, files: list[Path], *more: str) -> Ran:
    env = {"TWINE_USERNAME": login[0], "TWINE_PASSWORD": login[1]}
    flags = ("--non-interactive", "--disable-progress-bar", "--repository-url", url)
    return shell.run(tool("twine"), "upload", *flags, *more, *files, env=env)


def _uv(shell: Shell, url: str, login: Login, files: list[Path], *more: str) -> Ran:
    env = {"UV_PUBLISH_URL": url, "UV_PUBLISH_USERNAME": login[0], "UV_PUBLISH_PASSWORD": login[1]}
    return shell.uv("publish", "--trusted-publishing", "never", *more, *files, env=env)


def _poetry(shell: Shell, url: str, login: Login, files: list[Path], *more: str) -> Ran:
    env = {
        "POETRY_REPOSITORIES_T_URL": url,
        "POETRY_HTTP_BASIC_T_USERNAME": login[0],
        "POETRY_HTTP_BASIC_T_PASSWORD": login[1],
        "POETRY_KEYRING_ENABLED": "false",
    }
    flags = ("-n", "-r", "t", "--dist-dir", files[0].parent)
    return shell.run(tool("poetry"), "publish", *flags, *more, env=env, cwd=_project_of(shell, files))


def _hatch(shell: Shell, url: str, login: Login, files: list[Path], *more: str) -> Ran:
    env = {"HATCH_INDEX_REPO": url, "HATCH_INDEX_USER": login[0], "HATCH_INDEX_AUTH": login[1]}
    return shell.run(tool("hatch"), "publish", "-n", *more, *files, env=env)


def _pdm(shell: Shell, url: str, login: Login, files: list[Path], *more: str) -> Ran:
    env = {"PDM_PUBLISH_REPO": url, "PDM_PUBLISH_USERNAME": login[0], "PDM_PUBLISH_PASSWORD": login[1]}
    flags = ("--no-build", "--dest", files[0].parent)
    return shell.run(
        tool("pdm"), "publish", *flags, *more, env=env | {"PDM_CHECK_UPDATE": "0"}, cwd=_project_of(shell, files)
    )


def _project_of(shell: Shell, files: list[Path]) -> Path:
    """poetry and pdm publish what the folder holds of the project whose pyproject.toml they find."""
    name, version = name_and_version(files[0].name)
    project = shell.home / f"project-{name}-{version}"
    project.mkdir(exist_ok=True)
    text = f'[project]\nname = "{name}"\nversion = "{version}"\nrequires-python = ">=3.11"\n'
    (project / "pyproject.toml").write_text(text)
    return project


PUBLISHERS: dict[str, Callable[..., Ran]] = {
    "twine": _twine,
    "uv": _uv,
    "poetry": _poetry,
    "hatch": _hatch,
    "pdm": _pdm,
}
