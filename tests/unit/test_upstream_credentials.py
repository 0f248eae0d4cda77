"""Where an upstream's user and password come from, and what happens when it refuses them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caseus.errors import Invalid, Unavailable
from caseus.names import normalize
from caseus.upstream import Page, Upstream
from caseus.upstream.credentials import Credentials, Pair
from caseus.upstreams import UpstreamConfig, check_credentials, open_upstream, parse_upstreams
from support.packages import make_wheel
from support.proxied import Clock
from support.upstream import FakeUpstream, Fault

ALPHA = normalize("alpha")


@pytest.fixture
def server() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": [make_wheel("alpha", "1.0")]}) as upstream:
        yield upstream


def config_of(server: FakeUpstream, **told: Any) -> UpstreamConfig:
    (config,) = parse_upstreams([{"url": server.url, "proxy": "none"} | told])
    return config


def opened(server: FakeUpstream, environ: dict[str, str] | None = None, **told: Any) -> Upstream:
    config = config_of(server, **told)
    check_credentials(config, environ or {})
    return open_upstream(config, environ or {})


def refused(server: FakeUpstream, environ: dict[str, str], match: str, **told: Any) -> str:
    """What a server says that doesn't start. A command that asks no upstream goes on, and asks without credentials."""
    config = config_of(server, **told)
    with pytest.raises(Invalid, match=match) as caught:
        check_credentials(config, environ)
    assert sent(server, open_upstream(config, environ)) is None
    return str(caught.value)


def sent(server: FakeUpstream, client: Upstream) -> str | None:
    """User and password with which a page is asked for."""
    assert isinstance(client.page(ALPHA), Page)
    client.close()
    header = server.requests[-1].headers.get("authorization")
    return base64.b64decode(header.removeprefix("Basic ")).decode() if header else None


class TestSources:
    def test_none(self, server: FakeUpstream) -> None:
        assert sent(server, opened(server)) is None

    @pytest.mark.parametrize(
        ("told", "expected"),
        [
            ({}, "__token__:s3cret"),
            ({"username": "bob"}, "bob:s3cret"),
            ({"username_env": "WHO"}, "alice:s3cret"),
        ],
    )
    def test_environment(self, server: FakeUpstream, told: dict[str, str], expected: str) -> None:
        environ = {"PW": "s3cret", "WHO": "alice"}
        assert sent(server, opened(server, environ, password_env="PW", **told)) == expected

    def test_a_variable_that_is_not_set(self, server: FakeUpstream) -> None:
        for environ in ({}, {"PW": ""}):
            refused(server, environ, "environment variable PW is not set", password_env="PW")

    @pytest.mark.parametrize("how", ["path", "NETRC", "HOME"])
    def test_netrc(self, server: FakeUpstream, tmp_path: Path, how: str) -> None:
        file = tmp_path / ".netrc"
        file.write_text("machine 127.0.0.1 login bob password s3cret\nmachine other login x password y\n")
        file.chmod(0o600)
        environ = {"NETRC": {"NETRC": str(file)}, "HOME": {"HOME": str(tmp_path)}}.get(how, {})
        assert sent(server, opened(server, environ, netrc=str(file) if how == "path" else True)) == "bob:s3cret"

    def test_netrc_of_others(self, server: FakeUpstream, tmp_path: Path) -> None:
        file = tmp_path / "netrc"
        file.write_text("machine pkgs.example.com login bob password s3cret\n")
        assert sent(server, opened(server, netrc=str(file))) is None

    def test_netrc_that_is_none(self, server: FakeUpstream, tmp_path: Path) -> None:
        file = tmp_path / "netrc"
        refused(server, {}, "netrc: .* can't be read: No such file", netrc=str(file))
        file.write_text("machine x login y\nnonsense s3cret\n")
        told = refused(server, {}, "netrc: .* can't be understood: look at line 2", netrc=str(file))
        assert "s3cret" not in told

    @pytest.mark.parametrize("service", ["url", "host"])
    def test_keyring(self, server: FakeUpstream, tmp_path: Path, service: str) -> None:
        """The command is asked as pip asks it: by the URL, then by the host."""
        known = server.url if service == "url" else server.origin.removeprefix("http://")
        keyring(tmp_path, f'[ "$1 $2 $3" = "get {known} bob" ] && echo "s3cret é" || exit 1')
        client = opened(server, {"PATH": str(tmp_path)}, keyring=True, username="bob")
        assert sent(server, client) == "bob:s3cret é"

    def test_a_user_in_the_url_goes_with_what_else_has_the_password(self, server: FakeUpstream, tmp_path: Path) -> None:
        keyring(tmp_path, '[ "$3" = bob ] && echo s3cret')
        url, environ = server.url.replace("://", "://bob@"), {"PATH": str(tmp_path), "PW": "other"}
        assert sent(server, opened(server, environ, url=url, keyring=True)) == "bob:s3cret"
        assert sent(server, opened(server, environ, url=url, password_env="PW")) == "bob:other"
        assert sent(server, opened(server, environ, url=url)) == "bob:"

    def test_a_keyring_that_fails(self, server: FakeUpstream, tmp_path: Path) -> None:
        keyring(tmp_path, "echo nonsense; exit 1")
        assert sent(server, opened(server, {"PATH": str(tmp_path)}, keyring=True)) is None

    def test_no_keyring(self, server: FakeUpstream, tmp_path: Path) -> None:
        refused(server, {"PATH": str(tmp_path)}, "the command `keyring` is not on the PATH", keyring=True)


def keyring(folder: Path, script: str) -> None:
    file = folder / "keyring"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


class TestRefusals:
    """Passwords from a keyring may live for an hour: after a 401 it is asked again, at most each minute."""

    def test_newer_ones_are_looked_for(self, server: FakeUpstream) -> None:
        passwords, clock = iter(["old", "new"]), Clock()
        client = Upstream(
            server.url, credentials=Credentials(lambda: Pair("bob", next(passwords)), clock=clock), proxies={}
        )
        assert isinstance(client.page(ALPHA), Page)
        clock.now += 60
        server.fail(Fault("status", status=401, times=1))
        assert sent(server, client) == "bob:new"
        assert [request.path for request in server.requests] == ["/simple/alpha/"] * 3

    def test_not_again_and_again(self, server: FakeUpstream) -> None:
        looked: list[int] = []

        def find() -> Pair:
            looked.append(1)
            return Pair("bob", "wrong")

        clock = Clock()
        client = Upstream(server.url, credentials=Credentials(find, clock=clock), proxies={})
        server.fail(Fault("status", status=401))
        for _ in range(3):
            with pytest.raises(Unavailable, match="answers 401"):
                client.page(ALPHA)
        assert (len(looked), len(server.requests)) == (1, 3)
        clock.now += 60
        with pytest.raises(Unavailable):
            client.page(ALPHA)
        assert (len(looked), len(server.requests)) == (2, 4)  # it is the same one still: no use to send it
        client.close()

    def test_what_another_thread_found_is_used(self) -> None:
        credentials = Credentials(lambda: Pair("bob", "new"))
        now = credentials.header()
        assert credentials.renewed("Basic old") == now
        assert credentials.renewed(now) is None
