"""Upstreams as a configuration tells them: words, tables, and what can't go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from caseus.config import Config, ConfigError, load
from caseus.upstreams import UpstreamConfig
from support.server import run_cli

FIRST, SECOND = "https://pkgs.example.com/simple/", "https://torch.example.com/whl/"
PIN = "ab" * 32


def loaded(folder: Path, text: str) -> Config:
    (folder / "caseus.toml").write_text(text)
    return load({"root": str(folder)}, {}).config


def urls(config: Config) -> list[str]:
    return [upstream.url for upstream in config.upstreams]


def test_flags_environment_and_lists(tmp_path: Path) -> None:
    root = {"root": str(tmp_path)}
    assert urls(load(root | {"upstream": [FIRST, SECOND]}, {}).config) == [FIRST, SECOND]
    assert urls(load(root, {"CASEUS_UPSTREAM": f"{SECOND}  {FIRST}"}).config) == [SECOND, FIRST]
    assert urls(loaded(tmp_path, f'[index.main]\nupstream = ["{FIRST}", "{SECOND}"]\n')) == [FIRST, SECOND]
    assert urls(loaded(tmp_path, f'upstream = "{FIRST}"\n')) == [FIRST]
    assert load(root, {}).config.upstreams == (UpstreamConfig(url=FIRST),)


def test_tables(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        f"""
        [[index.main.upstreams]]
        url = "{SECOND.rstrip("/")}"
        projects = ["torch*", "Nvidia_*"]
        ttl = "1h"
        username = "bob"
        password_env = "TORCH_PASSWORD"
        ca = "certificates/ca.pem"
        client_cert = "/etc/ssl/client.pem"
        client_key = "~/client.key"
        spki_sha256 = ["{PIN}", "sha256//q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="]
        proxy = "http://proxy.example.com:3128"

        [[index.main.upstreams]]
        url = "pypi"
        netrc = true
        proxy = "none"
        """,
    )
    assert config.upstreams[0] == UpstreamConfig(
        url=SECOND,
        projects=("torch*", "Nvidia_*"),
        ttl=3600,
        username="bob",
        password_env="TORCH_PASSWORD",
        ca=tmp_path / "certificates" / "ca.pem",  # beside the file
        client_cert=Path("/etc/ssl/client.pem"),
        client_key=Path("~/client.key").expanduser(),
        spki_sha256=(PIN, PIN),
        proxy="http://proxy.example.com:3128",
    )
    assert (config.upstreams[1].netrc, config.upstreams[1].proxy) == (True, "none")


def test_a_flag_replaces_all_tables(tmp_path: Path) -> None:
    (tmp_path / "caseus.toml").write_text(f'[[index.main.upstreams]]\nurl = "{SECOND}"\nttl = 1\n')
    config = load({"root": str(tmp_path), "upstream": [FIRST]}, {}).config
    assert config.upstreams == (UpstreamConfig(url=FIRST),)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", "must be a text that is not empty, or a table"),
        ("ttl = 1", "url must be a text"),
        ("url = 'none'\nttl = 1", "needs a URL"),
        ("url = 'ftp://pkgs.example.com/'", "invalid upstream"),
        (f"url = '{FIRST}'\ntls = 1", "an upstream has no key 'tls': its keys are url, ttl, "),
        (f"url = '{FIRST}'\nttl = 'soon'", "no duration"),
        (f"url = '{FIRST}'\nttl = true", "no duration"),
        (f"url = '{FIRST}'\nprojects = []", "projects must be a list"),
        (f"url = '{FIRST}'\nprojects = ['a b']", "no pattern"),
        (f"url = '{FIRST}'\nnetrc = 1", "netrc must be a text"),
        (f"url = '{FIRST}'\nkeyring = 'yes'", "keyring must be true or false"),
        (f"url = '{FIRST}'\nspki_sha256 = ['abc']", "no sha256 of a key"),
        (f"url = '{FIRST}'\nproxy = 'socks5://localhost'", "proxy is neither"),
        (f"url = '{FIRST}'\nusername = 'bob'", "a user without a password"),
        (f"url = '{FIRST}'\nclient_key = 'key.pem'", "client_key without a client_cert"),
        (
            f"url = '{FIRST}'\nnetrc = true\npassword_env = 'PW'",
            "by password_env and by netrc: give one",
        ),
        ("url = 'https://a:s3cret@h.example.com/'\nkeyring = true", "by a password in its URL and by keyring"),
        (f"url = '{FIRST}'\nusername = 'a'\nusername_env = 'A'\npassword_env = 'P'", "gets its user twice"),
        ("url = 'http://pkgs.example.com/'\nca = 'ca.pem'", "ca is for https"),
        (f"url = 'http://pkgs.example.com/'\nspki_sha256 = '{PIN}'", "spki_sha256 is for https"),
    ],
)
def test_wrong_tables(tmp_path: Path, table: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"[[index.main.upstreams]]\n{table}\n")
    message = str(caught.value)
    assert message.startswith("upstream: ") and told in message and "caseus.toml" in message
    assert "s3cret" not in message


@pytest.mark.parametrize("again", [FIRST, FIRST.rstrip("/"), FIRST.replace("://", "://bob:s3cret@")])
def test_the_same_one_twice(tmp_path: Path, again: str) -> None:
    with pytest.raises(ConfigError, match=r"the upstream at pkgs\.example\.com/simple/ is given twice"):
        load({"root": str(tmp_path), "upstream": [FIRST, again]}, {})


def test_what_is_shown_holds_no_secret(tmp_path: Path) -> None:
    (tmp_path / "caseus.toml").write_text(
        f"""
        [[index.main.upstreams]]
        url = "https://bob:s3cret@pkgs.example.com/simple/"
        proxy = "http://me:hidden@proxy.example.com:3128"
        projects = ["acme-*", "tool"]
        [[index.main.upstreams]]
        url = "{SECOND}"
        keyring = true
        """
    )
    shown = load({"root": str(tmp_path)}, {}).settings["upstream"].shown
    assert shown == (
        "https://bob:***@pkgs.example.com/simple/ "
        "[proxy=http://me:***@proxy.example.com:3128, projects=acme-*+tool] "
        f"{SECOND} [keyring=true]"
    )


def test_a_server_does_not_start_without_a_secret(tmp_path: Path) -> None:
    """A command that asks no upstream needs none."""
    file = tmp_path / "caseus.toml"
    file.write_text(f'[[index.main.upstreams]]\nurl = "{FIRST}"\npassword_env = "NOT_SET_HERE"\n')
    told = ("--root", tmp_path / "root", "--config", file)
    done = run_cli("serve", *told, "--port", "0")
    assert done.returncode == 2
    assert "the environment variable NOT_SET_HERE is not set" in done.stderr
    assert run_cli("user", "add", "alice", "--password-stdin", *told, input="camembert").returncode == 0
    assert "NOT_SET_HERE" not in run_cli("project", "yank", "acme", *told).stderr
