"""A closed index, and every place where a client may find the login for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.clients import Login, Shell, installed, listed, tool, upload, with_login, write
from support.keyrings import Keyring
from support.packages import make_wheel
from support.projects import make_project
from support.publishers import flit_project
from support.server import CaseusServer

FILE, LIB = make_wheel("acme-app", "1.0", requires=["acme-lib"]), make_wheel("acme-lib", "1.0")
BOTH = {"acme-app": "1.0", "acme-lib": "1.0"}


class Closed(NamedTuple):
    """A server that asks everybody for a login; a token that reads, and one that uploads too."""

    server: CaseusServer
    reading: str
    writing: str

    @property
    def login(self) -> Login:
        return "__token__", self.reading


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    with CaseusServer(tmp_path_factory.mktemp("closed") / "root", flags=("--read", "users")) as server:
        for file in (FILE, LIB):
            assert upload(server.url, *file, login=server.admin).status == 200
        tokens = Closed(server, server.token("admin", scope="read"), server.token("admin"))
        yield tokens
        assert tokens.reading not in server.log and tokens.writing not in server.log


def write_netrc(shell: Shell, login: Login) -> None:
    netrc = shell.home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1\nlogin {login[0]}\npassword {login[1]}\n")
    netrc.chmod(0o600)


# Installing


@pytest.mark.parametrize("how", ["import", "subprocess"])
def test_pip_asks_a_keyring(closed: Closed, shell: Shell, how: str, tmp_path: Path) -> None:
    """The library in pip's own environment, or the `keyring` command, which is asked without a terminal too."""
    keyring, index = Keyring(shell, closed.reading), f"{closed.server.url}simple/"
    shell.install("pip", index, "acme-app", "--keyring-provider", how, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == BOTH
    assert keyring.asked == {index}


def test_uv_asks_a_keyring(closed: Closed, shell: Shell, tmp_path: Path) -> None:
    """It has to be told the user's name."""
    keyring, index = Keyring(shell, closed.reading), f"{closed.server.url}simple/"
    named = index.replace("://", "://__token__@")
    shell.install("uv", named, "acme-app", "--keyring-provider", "subprocess", into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == BOTH
    assert keyring.asked == {index}


VARIABLE = "http://__token__:${CASEUS_TOKEN}@"  # which the client itself puts in
PLACES = [
    ("uv", "netrc"),
    ("uv", "environment"),
    ("uv", "keyring"),
    ("poetry", "netrc"),
    ("poetry", "environment"),
    ("poetry", "keyring"),
    ("pdm", "netrc"),
    ("pdm", "variable"),
    ("pdm", "keyring"),
    ("pipenv", "netrc"),
    ("pipenv", "variable"),
    ("pipenv", "keyring"),
]


@pytest.mark.parametrize(("client", "place"), PLACES)
def test_lock_and_install(closed: Closed, shell: Shell, client: str, place: str, tmp_path: Path) -> None:
    """Nothing that may be committed has the secret in it."""
    index, env = f"{closed.server.url}simple/", {}
    match place:
        case "netrc":
            write_netrc(shell, closed.login)
        case "environment":
            first = {"uv": "UV_INDEX_CASEUS_", "poetry": "POETRY_HTTP_BASIC_CASEUS_"}[client]
            env = {f"{first}USERNAME": "__token__", f"{first}PASSWORD": closed.reading}
        case "variable":
            index, env = index.replace("http://", VARIABLE), {"CASEUS_TOKEN": closed.reading}
        case "keyring":
            Keyring(shell, closed.reading)
            env = {"POETRY_KEYRING_ENABLED": "true", "UV_KEYRING_PROVIDER": "subprocess"}
            env |= {"PIP_KEYRING_PROVIDER": "subprocess"}  # pipenv asks as pip does
            index = index.replace("://", "://__token__@") if client == "uv" else index
    project = make_project(shell, client, index, "acme-app", into=tmp_path / "work")
    project.lock(env).ok()
    project.install(env).ok()
    assert project.installed == BOTH
    kept = [path for path in project.folder.iterdir() if path.is_file()]
    assert len(kept) >= 2
    assert [path.name for path in kept if closed.reading in path.read_text()] == []


@pytest.mark.parametrize("client", ["uv", "poetry", "pdm", "pipenv"])
def test_lock_without_a_login(closed: Closed, shell: Shell, client: str, tmp_path: Path) -> None:
    project = make_project(shell, client, f"{closed.server.url}simple/", "acme-app", into=tmp_path / "work")
    ran = project.lock().failed()
    assert client in ("pdm", "pipenv") or "401" in ran.words or "Authorization error" in ran.words


# Publishing


@pytest.mark.parametrize("client", ["twine", "uv", "hatch"])
def test_publish_with_a_keyring(closed: Closed, shell: Shell, client: str, tmp_path: Path) -> None:
    name, url = f"acme-ringed-{client}", f"{closed.server.url}legacy/"
    keyring = Keyring(shell, closed.writing)
    files = write(tmp_path / "dist", make_wheel(name, "1.0"))
    commands = {
        "twine": ("upload", "--non-interactive", "--repository-url", url, "--username", "__token__"),
        "uv": ("publish", "--keyring-provider", "subprocess", "--publish-url", url, "--username", "__token__"),
        "hatch": ("publish", "-n", "-r", url, "-u", "__token__"),
    }
    shell.run(tool(client), *commands[client], *files).ok()
    assert keyring.asked == {url}
    assert listed(closed.server.url, name, closed.login)


def test_uv_check_url_asks_for_the_login(closed: Closed, shell: Shell, tmp_path: Path) -> None:
    """The page is read with the login of the upload."""
    url, index = f"{closed.server.url}legacy/", f"{closed.server.url}simple/"
    env = {"UV_PUBLISH_TOKEN": closed.writing}
    files = write(tmp_path / "dist", make_wheel("acme-checked", "1.0"))
    command = ("publish", "--trusted-publishing", "never", "--publish-url", url, "--check-url")
    shell.uv(*command, index, *files, env=env).ok()
    assert listed(closed.server.url, "acme-checked", closed.login)
    again = shell.uv(*command, with_login(index, closed.login), *files, env=env).ok()
    assert "already exists, skipping" in again.words


@pytest.mark.parametrize("client", ["twine", "flit"])
def test_publish_by_pypirc(closed: Closed, shell: Shell, client: str, tmp_path: Path) -> None:
    (shell.home / ".pypirc").write_text(
        "[distutils]\nindex-servers = caseus\n\n[caseus]\n"
        f"repository = {closed.server.url}legacy/\nusername = __token__\npassword = {closed.writing}\n"
    )
    if client == "flit":
        project = flit_project(tmp_path, "acme-rc-flit", "1.0")
        shell.run(tool("flit"), "publish", "--repository", "caseus", cwd=project).ok()
    else:
        files = write(tmp_path, make_wheel("acme-rc-twine", "1.0"))
        shell.run(tool("twine"), "upload", "--non-interactive", "-r", "caseus", *files).ok()
    assert listed(closed.server.url, f"acme-rc-{client}", closed.login)
