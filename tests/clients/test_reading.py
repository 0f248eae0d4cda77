"""`--read users`: who has no login gets nothing, not even a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.clients import JSON, Login, Shell, ask, installed, listed, upload, with_login
from support.packages import make_wheel
from support.server import CaseusServer

FILE = make_wheel("acme-lib", "1.0")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseusServer]:
    with CaseusServer(tmp_path_factory.mktemp("closed") / "root", flags=("--read", "users")) as server:
        assert upload(server.url, *FILE, login=server.admin).status == 200
        yield server


@pytest.fixture(scope="module")
def reader(closed: CaseusServer) -> Login:
    """Somebody with a token that may only read."""
    closed.add_user("rita", "correct horse battery")
    return "__token__", closed.token("rita", scope="read")


@pytest.mark.parametrize(
    "path", ["simple/", "simple/acme-lib/", "simple/nobody/", f"simple/acme-lib/{FILE[0]}", "simple/acme-lib/x.asc"]
)
def test_anonymous_and_wrong_logins_get_a_challenge(closed: CaseusServer, path: str) -> None:
    for login in (None, ("admin", "wrong"), ("__token__", "caseus_" + "0" * 49)):
        answer = ask(closed.url + path, headers={"Accept": JSON}, login=login)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert b"acme" not in answer.body


def test_nothing_of_it_may_be_kept_by_shared_caches(closed: CaseusServer, reader: Login) -> None:
    for path in ("simple/", "simple/acme-lib/", f"simple/acme-lib/{FILE[0]}"):
        answer = ask(closed.url + path, login=reader)
        assert answer.status == 200
        assert "private" in answer.headers["Cache-Control"]
        assert "Authorization" in answer.headers["Vary"]


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_anonymous_install_fails(closed: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    flags = ("-vvv", "--no-input") if client == "pip" else ()  # pip tells nothing of it otherwise
    ran = shell.install(client, f"{closed.url}simple/", "acme-lib", *flags, into=tmp_path / "site").failed()
    assert "401" in ran.words
    assert "a login is needed to read here" in ran.words or client == "uv"
    assert not installed(tmp_path / "site")


@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("how", ["url", "netrc"])
def test_install_with_a_login(
    closed: CaseusServer, reader: Login, shell: Shell, client: str, how: str, tmp_path: Path
) -> None:
    index = f"{closed.url}simple/"
    if how == "url":
        index = with_login(index, reader)
    else:
        netrc = shell.home / ".netrc"
        netrc.write_text(f"machine {urlsplit(index).hostname} login {reader[0]} password {reader[1]}\n")
        netrc.chmod(0o600)
    shell.install(client, index, "acme-lib", into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-lib": "1.0"}


def test_a_password_reads_too(closed: CaseusServer, reader: Login) -> None:
    assert list(listed(closed.url, "acme-lib", ("rita", "correct horse battery"))) == [FILE[0]]
    assert list(listed(closed.url, "acme-lib", closed.admin)) == [FILE[0]]
