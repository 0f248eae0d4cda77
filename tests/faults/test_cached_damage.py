"""Cached files that a disk damaged: too short or too long ones are fetched again, others are found and healed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.clients import ask
from support.packages import make_wheel, metadata
from support.server import CaseusServer
from support.upstream import FakeUpstream, Options

FILE = make_wheel("cold", "1.0", files={"padding": bytes(range(256)) * 800}, compress=False)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"cold": [(*FILE, Options(metadata=metadata("cold", "1.0")))]}) as made:
        yield made


@pytest.fixture
def server(upstream: FakeUpstream) -> Iterator[CaseusServer]:
    with CaseusServer(upstream=upstream.url) as made:
        yield made


def stored(server: CaseusServer) -> Path:
    (path,) = server.root.glob(f"fetched/*/cold/{FILE[0]}")
    return path


def get(server: CaseusServer, ending: str = "") -> bytes:
    answer = ask(f"{server.url}simple/cold/{FILE[0]}{ending}")
    assert answer.status == 200 and answer.whole, f"{answer.status} {answer.reason}"
    return answer.body


def shorten(path: Path) -> None:
    path.write_bytes(FILE[1][: len(FILE[1]) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(FILE[1] + b"x")


def remove(path: Path) -> None:
    path.unlink()


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("damage", [shorten, empty, lengthen, remove])
def test_healed_by_fetching_again(server: CaseusServer, upstream: FakeUpstream, damage: Callable[[Path], None]) -> None:
    assert get(server) == FILE[1]
    damage(stored(server))
    for _ in range(3):
        assert get(server) == FILE[1]
    assert stored(server).read_bytes() == FILE[1]
    assert upstream.count(upstream.file_path("cold", FILE[0])) == 2
    assert server.cli("verify").returncode == 0


def test_a_link_in_its_place_leads_nobody_out(server: CaseusServer) -> None:
    assert get(server) == FILE[1]
    replace_by_link(stored(server))
    answer = ask(f"{server.url}simple/cold/{FILE[0]}")
    assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert "no plain file" in answer.reason


def test_other_bytes_of_the_same_length(server: CaseusServer, upstream: FakeUpstream) -> None:
    """Only reading all of it tells: clients do, by its digest, and `verify` does, and mends it."""
    assert get(server) == FILE[1]
    assert get(server, ".metadata") == metadata("cold", "1.0")
    changed = bytearray(FILE[1])
    changed[1000] ^= 1
    stored(server).write_bytes(changed)
    found = server.cli("verify")
    assert found.returncode == 1 and "wrong digest" in found.stdout and FILE[0] in found.stdout
    repaired = server.cli("verify", "--repair")
    assert repaired.returncode == 1 and repaired.stderr.endswith(", 1 repaired\n")  # there were damages
    assert get(server) == FILE[1]
    assert server.cli("verify").returncode == 0
    assert upstream.count(upstream.file_path("cold", FILE[0])) == 2
