"""Hashes that other programs made, and files of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from caseus.errors import Invalid
from caseus.passwords import Entry, check_hash, parse, verify
from caseus.passwords.formats import LONGEST
from support.passwords import ARGON2I, OF_BAR, SHA256
from support.server import run_cli

each_format = pytest.mark.parametrize("hash", OF_BAR.values(), ids=OF_BAR)


@each_format
def test_the_password_is_verified_and_no_other(hash: str) -> None:
    check_hash(hash)
    assert verify(hash, "bar")
    for wrong in ("", "Bar", "baR", "bar ", "b\0ar", "bär", "\udc80", "b" * 5000):
        assert not verify(hash, wrong), wrong


@each_format
def test_a_damaged_hash_is_told_and_never_verifies(hash: str) -> None:
    """Cut off anywhere, or with a character that no hash has."""
    for damaged in (hash[:-2], hash[: len(hash) // 2], f"{hash}§", hash[:-2] + "!" + hash[-1]):
        with pytest.raises(Invalid) as raised:
            check_hash(damaged)
        assert hash[-8:] not in str(raised.value) and hash[:20] not in str(raised.value)
        assert not verify(damaged, "bar")


@pytest.mark.parametrize("hash", ["", "bar", "secret123", "{PLAIN}bar", "$7$abc", "$2x$05$" + "a" * 53, "!", "*"])
def test_what_is_no_hash_is_refused(hash: str) -> None:
    with pytest.raises(Invalid):
        check_hash(hash)
    assert not verify(hash, hash) and not verify(hash, "bar")


@pytest.mark.parametrize(
    "hash",
    [
        ARGON2I.replace("m=32768", "m=2097152"),
        ARGON2I.replace("t=3", "t=4000"),
        OF_BAR["bcrypt-2y"].replace("$05$", "$16$"),
        "$5$rounds=1000001$B6LO0qYteyxomlUh$RpslY/lx2UFo9hG8WCfG8KUtw6HVlt.hu3X364q5t0D",
    ],
)
def test_a_hash_that_costs_too_much_is_refused(hash: str) -> None:
    with pytest.raises(Invalid, match="its cost is set too high"):
        check_hash(hash)
    assert not verify(hash, "bar")


@pytest.mark.parametrize("cost", ["m=7,t=1,p=1$c2FsdHNhbHQ", "m=64,t=1,p=1$c2E", "m=64,t=0,p=1$c2FsdHNhbHQ"])
def test_argon2_below_its_own_limits_is_refused(cost: str) -> None:
    with pytest.raises(Invalid, match="argon2 hash can't be used"):
        check_hash(f"$argon2id$v=19${cost}$AAAAAAAA")


def test_bcrypt_takes_72_bytes_as_htpasswd_does() -> None:
    password = "ä" * 40  # 80 bytes
    done = subprocess.run(["htpasswd", "-nbB", "-C", "4", "foo", password], capture_output=True, text=True, check=True)
    hash = done.stdout.strip().removeprefix("foo:")
    assert verify(hash, password) and verify(hash, password + "more") and not verify(hash, password[:35])


def test_the_longest_password() -> None:
    hash = PasswordHasher(time_cost=1, memory_cost=64).hash("x" * LONGEST)
    assert verify(hash, "x" * LONGEST)
    assert not verify(PasswordHasher(time_cost=1, memory_cost=64).hash("x" * (LONGEST + 1)), "x" * (LONGEST + 1))


@pytest.mark.parametrize("flags", ["-B", "-m", "-s", "-d", "-2", "-5", "-5 -r 9000"])
def test_what_htpasswd_writes(flags: str, tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    file.touch()
    for user, password in (("foo", "bar"), ("mia", "sesäm")):
        subprocess.run(["htpasswd", "-b", *flags.split(), file, user, password], check=True, capture_output=True)
    found = parse(file.read_text())
    assert found.faults == () and set(found.users) == {"foo", "mia"}
    assert verify(found.users["foo"].hash, "bar") and verify(found.users["mia"].hash, "sesäm")
    assert not verify(found.users["mia"].hash, "bar") and not any(entry.read_only for entry in found.users.values())


@pytest.mark.parametrize("flag", ["-apr1", "-1", "-5", "-6"])
def test_what_openssl_writes(flag: str) -> None:
    made = subprocess.run(["openssl", "passwd", flag, "sesäm"], check=True, capture_output=True, text=True).stdout
    assert verify(made.strip(), "sesäm") and not verify(made.strip(), "sesam")


# Files

FILE = f"""\ufeff# users of the index
foo:{SHA256}

reader:{ARGON2I}:ro
#old:{SHA256}
"""


@pytest.mark.parametrize("text", [FILE, FILE.replace("\n", "\r\n"), FILE.replace("\n", " \n"), FILE.rstrip("\n")])
def test_a_file_gives_its_users(text: str) -> None:
    found = parse(text)
    assert dict(found.users) == {"foo": Entry(SHA256), "reader": Entry(ARGON2I, read_only=True)}
    assert found.faults == ()


def test_every_faulty_line_is_told_by_its_number() -> None:
    lines = [
        f"foo:{SHA256}",
        "nocolon",
        f":{SHA256}",
        "bar:",
        "bar:plain text",
        f"bar:{SHA256}:rw",
        f"bar:{SHA256}:ro:x",
        f" bar:{SHA256}",
        f"foo:{ARGON2I}",
        f"main:{SHA256}",
        f"__token__:{SHA256}",
        f"{SHA256}:foo",
        f"bar:{SHA256[:-1]}",
        " # not at the beginning of the line",
        f"bar:{ARGON2I}:ro",
    ]
    found = parse("\n".join(lines))
    assert dict(found.users) == {"foo": Entry(SHA256), "bar": Entry(ARGON2I, read_only=True)}
    assert [fault.line for fault in found.faults] == list(range(2, 15))
    told = {fault.line: fault.message for fault in found.faults}
    assert "user foo is in line 1 already" in told[9]
    assert "no password hash for user bar" in told[4]
    assert not [message for message in told.values() if SHA256[8:20] in message or "plain text" in message]


@given(st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    found = parse(text)
    lines = text.removeprefix("\ufeff").split("\n")
    skipped = [line for line in lines if not line.rstrip() or line.startswith("#")]
    assert len(found.users) + len(found.faults) + len(skipped) == len(lines)


# Commands


def test_passwd_check_lists_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_bytes(f"foo:{SHA256}\nbar:\nb\xff".encode("latin-1") + f":{SHA256}\n".encode())
    for done in (run_cli("passwd-check", file), run_cli("passwd-check", input=file.read_bytes())):
        assert done.returncode == 1
        assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["line 2", "line 3"]
        assert done.stderr == "caseus: error: 2 faults found: the server would keep its former passwords\n"


def test_passwd_check_of_a_sound_file(tmp_path: Path) -> None:
    done = run_cli("passwd-check", input=FILE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 users, 1 of them read-only: no fault\n", "")
    absent = run_cli("passwd-check", tmp_path / "absent")
    assert (absent.returncode, absent.stdout) == (2, "") and "can't be read: No such file" in absent.stderr


@pytest.mark.parametrize("read_only", [False, True])
def test_passwd_hash_makes_a_line(read_only: bool) -> None:
    done = run_cli("passwd-hash", "mia", "--password-stdin", *["--read-only"] * read_only, input="sesam öffne dich\n")
    assert (done.returncode, done.stderr) == (0, "")
    found = parse(done.stdout)
    assert found.faults == () and found.users["mia"].read_only == read_only
    assert found.users["mia"].hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert verify(found.users["mia"].hash, "sesam öffne dich")


@pytest.mark.parametrize("user", ["main", "a:b", "__token__", ""])
def test_passwd_hash_refuses_names_that_nobody_can_have(user: str) -> None:
    done = run_cli("passwd-hash", user, "--password-stdin", input="secret\n")
    assert (done.returncode, done.stdout) == (2, "")
