"""The commands, called as the console script calls them."""

from __future__ import annotations

import io
import json
import os
import pwd
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from argon2 import PasswordHasher

from caseus import __version__, cli
from caseus.catalog import Catalog
from caseus.cli.token import parse_expiry
from caseus.tokens import check_token, digest
from support.server import run_cli

DAY = 86_400.0


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on tmp_path/data, with `input` on a standard input that is no terminal."""
    for name in os.environ:
        if name.startswith("CASEUS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CASEUS_ROOT", str(tmp_path / "data"))

    def call(*arguments: str, input: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(input)))
        code = cli.run(arguments)
        done = Done(code, *capsys.readouterr())
        errors = [line for line in done.err.splitlines() if not line.startswith("caseus: warning:")]
        assert len(errors) == (code != 0), done.err
        assert all(line.startswith("caseus: error: ") for line in errors)
        return done

    return call


@pytest.fixture
def open_catalog(tmp_path: Path) -> Callable[[], Catalog]:
    return lambda: Catalog.open(tmp_path / "data")


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"{__version__}\n"
    for word in ("serve", "user", "token", "project", "config", "verify"):
        assert word in run("--help").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["user", "nope"],
        ["user", "add"],
        ["user", "add", "a", "b", "--password-stdin"],
        ["user", "list", "--nope"],
        ["token", "create"],
        ["token", "create", "--user", "a", "--scope", "all"],
        ["serve", "--port"],
        ["serve", "--port", "x"],
        ["serve", "a", "b"],
        ["serve", "/another"],
        ["serve", "--upstream", "none", "--upstream", "pypi"],
        ["serve", "--workers", "65"],
        ["config", "show", "--read", "nobody"],
    ],
)
def test_bad_usage(run: Run, arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments)
    assert done.code == 2 and done.out == ""
    assert not (tmp_path / "data").exists()


def test_unknown_environment_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEUS_UPSTREAMS", "none")
    for command in (["user", "list"], ["config", "show"], ["verify"], ["serve"]):
        done = run(*command)
        assert done.code == 2 and "CASEUS_UPSTREAMS" in done.err


def test_a_read_only_user(run: Run, open_catalog: Callable[[], Catalog]) -> None:
    both = run("user", "add", "eve", "--read-only", "--admin", "--password-stdin", input=b"correct horse\n")
    assert both.code == 2 and "exclude each other" in both.err
    assert run("user", "add", "eve", "--read-only", "--password-stdin", input=b"correct horse\n").code == 0
    assert run("user", "list").out.splitlines()[1].split()[:2] == ["eve", "read"]
    refused = run("token", "create", "--user", "eve")
    assert refused.code == 1 and "eve may only read" in refused.err
    assert run("token", "create", "--user", "eve", "--scope", "read").code == 0
    catalog = open_catalog()
    assert catalog.user("eve") == msgspec.structs.replace(catalog.users()[0], read_only=True, admin=False)
    assert next(catalog.journal()).detail == "eve (read-only)"
    catalog.close()


def test_uploaders_of_a_project(run: Run, open_catalog: Callable[[], Catalog]) -> None:
    assert run("user", "add", "alice", "--password-stdin", input=b"correct horse\n").code == 0
    assert run("project", "uploaders", "Acme.App").out == "everybody who may upload may do so to acme-app\n"
    added = run("project", "uploaders", "Acme.App", "--add", "mia", "--add", "bob", "--add", "mia")
    assert (added.code, added.out) == (0, "bob\nmia\n")
    assert run("project", "uploaders", "acme_app", "--remove", "bob", "--remove", "nobody").out == "mia\n"
    assert run("project", "uploaders", "acme-app", "--add", "a:b").code == 1
    assert run("project", "uploaders", "-", "--add", "mia").code != 0
    catalog = open_catalog()
    told = [(e.action, e.project, e.detail) for e in catalog.journal() if e.action.startswith("uploader")]
    assert told == [
        ("uploader-add", "acme-app", "mia"),
        ("uploader-add", "acme-app", "bob"),
        ("uploader-remove", "acme-app", "bob"),
    ]
    catalog.close()


def test_aliases_of_an_index(run: Run, open_catalog: Callable[[], Catalog]) -> None:
    assert run("user", "add", "alice", "--password-stdin", input=b"correct horse\n").code == 0
    assert run("index", "alias", "mia/dev").out == "/mia/dev/+simple/ is /simple/\n"
    assert run("index", "alias", "mia/dev").code == 0
    assert json.loads(run("index", "show", "main", "--json").out)["aliases"] == ["mia/dev"]
    assert run("index", "alias", "mia/dev", "--remove").out == "/mia/dev/+simple/ is no more\n"
    again = run("index", "alias", "mia/dev", "--remove")
    assert again.code == 1 and "no alias mia/dev" in again.err
    for path in ("mia", "mia/dev/more", "/mia/dev", "mia/"):
        assert run("index", "alias", path).code == 2
    catalog = open_catalog()
    told = [(entry.action, entry.detail) for entry in catalog.journal()][1:]
    assert told == [("alias-add", "mia/dev of main"), ("alias-remove", "mia/dev")]
    catalog.close()


def test_users(run: Run, open_catalog: Callable[[], Catalog]) -> None:
    assert run("user", "add", "alice", "--admin", "--password-stdin", input=b"correct horse\n").code == 0
    assert run("user", "add", "bob", "--password_stdin", input="schöne grüße".encode()).code == 0
    lines = run("user", "list").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["name", "may"], ["alice", "administer"], ["bob", "upload"]]
    done = run("user", "add", "bob", "--password-stdin", input=b"another one")
    assert done.code == 1 and "bob exists" in done.err
    assert run("user", "passwd", "bob", "--password-stdin", input=b"new password\r\n").code == 0
    catalog = open_catalog()
    alice, bob = catalog.users()
    catalog.close()
    assert PasswordHasher().verify(alice.password_hash, "correct horse")
    assert PasswordHasher().verify(bob.password_hash, "new password")
    assert run("user", "remove", "bob").code == 0
    assert run("user", "remove", "bob").code == 1
    assert run("user", "passwd", "bob", "--password-stdin", input=b"new password").code == 1
    assert "bob" not in run("user", "list").out


def test_the_first_user_makes_the_data_folder(run: Run, tmp_path: Path) -> None:
    assert run("user", "add", "alice", "--password-stdin", input=b"correct horse").code == 0
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


@pytest.mark.parametrize("command", [["user", "list"], ["token", "list"], ["verify"], ["project", "yank", "a"]])
def test_a_mistyped_root_makes_no_index(run: Run, tmp_path: Path, command: list[str]) -> None:
    done = run(*command)
    assert done.code == 2 and str(tmp_path / "data") in done.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["__token__", "main", "-a", ".a", "a:b", "a b", "", "ä", "a" * 65, "a\n"])
def test_names_that_no_user_can_have(run: Run, name: str) -> None:
    assert run("user", "add", "--password-stdin", "--", name, input=b"correct horse").code == 2


@pytest.mark.parametrize("password", [b"", b"\n", b"one\ntwo", b"\xff\xfe", b"x" * 1025])
def test_passwords_that_are_refused(run: Run, password: bytes) -> None:
    assert run("user", "add", "alice", "--password-stdin", input=password).code == 2


def test_a_password_is_as_long_as_its_characters(run: Run) -> None:
    """However many bytes they take."""
    assert run("user", "add", "alice", "--password-stdin", input=("\U0001f9c0" * 1024 + "\r\n").encode()).code == 0
    done = run("user", "add", "bob", "--password-stdin", input=("\U0001f9c0" * 1025).encode())
    assert done.code == 2 and "at most 1024 characters" in done.err


def test_a_short_password_is_taken_with_a_warning(run: Run) -> None:
    done = run("user", "add", "alice", "--password-stdin", input=b"short")
    assert done.code == 0 and "caseus: warning: " in done.err


def test_without_a_terminal_the_password_comes_from_standard_input(run: Run) -> None:
    done = run("user", "add", "alice", input=b"correct horse")
    assert done.code == 2 and "--password-stdin" in done.err


def test_tokens(run: Run, open_catalog: Callable[[], Catalog]) -> None:
    run("user", "add", "alice", "--password-stdin", input=b"correct horse")
    done = run("token", "create", "--user", "alice", "--scope", "read", "--expires", "never")
    assert done.out == check_token(done.out.strip()) + "\n" and done.err == ""
    other = run("token", "create", "--user", "alice").out.strip()
    catalog = open_catalog()
    forever, quarter = catalog.token(digest(done.out.strip())), catalog.token(digest(other))
    catalog.close()
    assert forever is not None and (forever.scope, forever.expires) == ("read", None)
    assert quarter is not None and quarter.expires is not None and quarter.scope == "upload"
    assert quarter.expires - quarter.created == pytest.approx(90 * DAY, abs=60)
    listing = run("token", "list", "--user", "alice").out
    assert len(listing.splitlines()) == 3 and quarter.prefix in listing and other not in listing
    assert run("token", "revoke", other).code == 0
    assert run("token", "revoke", str(quarter.id)).code == 1
    assert run("token", "revoke", forever.prefix).code == 0
    assert len(run("token", "list").out.splitlines()) == 1


def test_which_token_must_be_clear(run: Run) -> None:
    run("user", "add", "alice", "--password-stdin", input=b"correct horse")
    for _ in range(2):
        run("token", "create", "--user", "alice")
    done = run("token", "revoke", "caseus_")
    assert done.code == 1 and "2 tokens begin so" in done.err
    assert len(run("token", "list").out.splitlines()) == 3


def test_tokens_that_are_refused(run: Run) -> None:
    run("user", "add", "alice", "--password-stdin", input=b"correct horse")
    assert run("token", "create", "--user", "bob").code == 1
    assert run("token", "create", "--user", "alice", "--scope", "admin").code == 1
    assert run("token", "list", "--user", "bob").code == 1
    for expires in ("2001-01-31", "0d", "soon", "200000d"):
        assert run("token", "create", "--user", "alice", "--expires", expires).code == 2
    assert len(run("token", "list").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("never", None),
        ("90d", 1_000 + 90 * DAY),
        ("12h", 1_000 + DAY / 2),
        ("1970-01-03", 2 * DAY),
        ("1970-01-03T01:00:00+01:00", 2 * DAY),
    ],
)
def test_expiry(text: str, until: float | None) -> None:
    assert parse_expiry(text, 1_000.0) == until


def test_who_did_it_is_in_the_journal(run: Run, open_catalog: Callable[[], Catalog]) -> None:
    run("user", "add", "alice", "--password-stdin", input=b"correct horse")
    catalog = open_catalog()
    entries = list(catalog.journal())
    catalog.close()
    assert entries[-1].actor == f"cli:{pwd.getpwuid(os.getuid()).pw_name}"


def test_config_show(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEUS_UPSTREAM", "https://bob:s3cret@pkgs.example.com/simple/")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "caseus.toml").write_text('private = ["acme-*"]\n')
    done = run("config", "show", "--max_file_bytes", "2GiB", "--json")
    assert "s3cret" not in done.out
    shown = json.loads(done.out)
    assert shown["upstream"] == {"value": "https://bob:***@pkgs.example.com/simple/", "source": "CASEUS_UPSTREAM"}
    assert shown["max_file_bytes"] == {"value": 2 * 1024**3, "source": "--max-file-bytes"}
    assert shown["private"] == {"value": ["acme-*"], "source": str(tmp_path / "data" / "caseus.toml")}
    assert shown["port"] == {"value": 8080, "source": "default"}
    table = run("config", "show").out
    assert "s3cret" not in table
    assert ["upstream_ttl", "10m", "default"] in [line.split() for line in table.splitlines()]


def test_unexpected_errors_are_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(Catalog, "users", broken)
    run("user", "add", "alice", "--password-stdin", input=b"correct horse")
    done = run("user", "list")
    assert done == (2, "", "caseus: error: ZeroDivisionError: two lines\n")


def test_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caseus.cli.user.open_catalog", interrupted)
    assert cli.run(["user", "list"]) == 130
    assert capsys.readouterr() == ("", "")


def test_the_process_ends_with_the_code(tmp_path: Path) -> None:
    done = run_cli("user", "list", "--root", tmp_path / "nowhere")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert run_cli("--version").stdout == f"{__version__}\n"
