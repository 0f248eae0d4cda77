"""`caseus cache`, beside a running server with an upstream."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caseus.catalog import Catalog
from support.clients import ask
from support.packages import make_wheel, sha256
from support.server import CaseusServer
from support.stocked import cli_json
from support.upstream import FakeUpstream

OLD, NEW, OTHER = (make_wheel("far", "1.0"), make_wheel("far", "2.0"), make_wheel("other", "1.0"))
PAGE = "/simple/far/"


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"far": [OLD, NEW], "other": [OTHER]}) as fake:
        yield fake


@pytest.fixture
def server(tmp_path: Path, upstream: FakeUpstream) -> Iterator[CaseusServer]:
    """Which has fetched all three, in that order."""
    with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
        for project, file in (("far", OLD), ("far", NEW), ("other", OTHER)):
            assert ask(f"{server.url}simple/{project}/{file[0]}").body == file[1]
        yield server


def cache(server: CaseusServer, *words: str, code: int = 0) -> Any:
    return cli_json("cache", *words, "--root", server.root, code=code)


def cached(server: CaseusServer) -> set[str]:
    return {path.name for path in (server.root / "fetched").rglob("*.whl")}


def test_info(server: CaseusServer) -> None:
    told = cache(server, "info")
    size = sum(len(data) for _, data in (OLD, NEW, OTHER))
    [tree] = told["upstreams"]
    assert told["bytes"] == tree["bytes"] == size
    assert (tree["files"], tree["pages"]) == (3, 2)
    assert 1_700_000_000 < tree["oldest"] <= tree["newest"]
    done = server.cli("cache", "info")
    assert done.returncode == 0 and done.stdout.splitlines()[0].split() == (
        ["upstream", "pages", "files", "bytes", "oldest", "use", "latest", "use"]
    )


def test_prune_to_a_size(server: CaseusServer) -> None:
    left = len(NEW[1]) + len(OTHER[1])
    assert [file["filename"] for file in cache(server, "prune", "--to", str(left))["files"]] == [OLD[0]]
    assert cached(server) == {NEW[0], OTHER[0]}
    assert cache(server, "prune", "--to", str(left))["files"] == []
    assert cache(server, "prune")["files"] == []  # to what the cache may have
    assert cache(server, "info")["bytes"] == left
    assert ask(f"{server.url}simple/far/{OLD[0]}").body == OLD[1]


def test_prune_what_was_not_used(server: CaseusServer) -> None:
    assert cache(server, "prune", "--older-than", "1h")["files"] == []
    done = cache(server, "prune", "--older-than", "0s")
    assert {file["filename"] for file in done["files"]} == {OLD[0], NEW[0], OTHER[0]}
    assert cached(server) == set() and cache(server, "info")["bytes"] == 0


def test_evict_a_project_and_its_page(server: CaseusServer, upstream: FakeUpstream) -> None:
    asked = upstream.count(PAGE)
    ask(server.url + "simple/far/")
    assert upstream.count(PAGE) == asked
    done = cache(server, "evict", "Far")
    assert {file["filename"] for file in done["files"]} == {OLD[0], NEW[0]} and len(done["pages"]) == 1
    assert cached(server) == {OTHER[0]}
    ask(server.url + "simple/far/")
    assert upstream.count(PAGE) == asked + 1
    assert ask(f"{server.url}simple/far/{NEW[0]}").body == NEW[1]
    assert upstream.count(upstream.file_path("far", NEW[0])) == 2


@pytest.mark.parametrize("target", ["far==1", OLD[0]])
def test_evict_a_version_or_a_file(server: CaseusServer, upstream: FakeUpstream, target: str) -> None:
    assert ask(f"{server.url}simple/far/{OLD[0]}.metadata").status == 200
    asked = upstream.count(PAGE)
    done = cache(server, "evict", target)
    assert ([file["filename"] for file in done["files"]], done["pages"]) == ([OLD[0]], [])
    assert not list((server.root / "fetched").rglob(f"{OLD[0]}*"))
    ask(server.url + "simple/far/")
    assert upstream.count(PAGE) == asked
    assert ask(f"{server.url}simple/far/{OLD[0]}").body == OLD[1]
    assert ask(f"{server.url}simple/far/{OLD[0]}.metadata").status == 200


@pytest.mark.parametrize("command", [("prune", "--to", "0"), ("evict", "far==1.0"), ("prune", "--older-than", "0s")])
def test_what_is_being_read_stays(server: CaseusServer, command: tuple[str, ...]) -> None:
    [path] = (server.root / "fetched").rglob(OLD[0])
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)  # as the server does for a client
        done = cache(server, *command, code=0 if "--to" in command else 1)
        assert OLD[0] not in {file["filename"] for file in done["files"]}
        assert path.exists() and ask(f"{server.url}simple/far/{OLD[0]}").body == OLD[1]
    assert OLD[0] in {file["filename"] for file in cache(server, *command)["files"]}


def test_what_can_not_be(server: CaseusServer) -> None:
    for words, code in (
        (("evict", "nobody"), 1),
        (("evict", "nobody-1.0.tar.gz"), 1),
        (("evict", "far==3"), 1),
        (("evict", "far==x y"), 1),
        (("evict", "a b"), 1),
        (("prune", "--to", "much"), 2),
        (("prune", "--older-than", "long"), 2),
        (("prune", "--to", "1", "--older-than", "1d"), 2),
    ):
        done = server.cli("cache", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), (words, done.stderr)
    assert cached(server) == {OLD[0], NEW[0], OTHER[0]}


def test_a_backup_has_no_cache(server: CaseusServer, tmp_path: Path) -> None:
    """And its catalog does not count what is not there; which digests were seen first is still known."""
    cli_json("backup", tmp_path / "backup", "--root", server.root)
    cli_json("restore", tmp_path / "backup", "--root", tmp_path / "restored")
    told = cli_json("cache", "info", "--root", tmp_path / "restored")
    assert told["bytes"] == 0 and [(tree["files"], tree["pages"]) for tree in told["upstreams"]] == [(0, 2)]
    catalog = Catalog.open(tmp_path / "restored")
    assert {file.sha256 for file in catalog.all_fetched()} == {sha256(data) for _, data in (OLD, NEW, OTHER)}
    catalog.close()
