"""`no_fsync`: nothing waits for the disk, which is said loudly; without it everything does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caseus import durability
from caseus.catalog import sql
from caseus.names import normalize
from caseus.site import MAIN, build
from faults.dying_worker import publish
from support.clients import ask, upload
from support.packages import make_wheel
from support.served import captured_log
from support.server import CaseusServer, run_cli
from support.upstream import FakeUpstream
from support.web import make_config


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Each fsync of this process, and `sync`."""
    calls: list[str] = []
    fsync, sync = os.fsync, os.sync

    def counted(descriptor: int) -> None:
        calls.append("fsync")
        fsync(descriptor)

    def counted_for_all() -> None:
        calls.append("sync")
        sync()

    monkeypatch.setattr(os, "fsync", counted)
    monkeypatch.setattr(os, "sync", counted_for_all)
    yield calls
    durability.configure(waits=True)


def test_uploads_and_fetches_wait_for_no_disk(tmp_path: Path, synced: list[str]) -> None:
    wheel = make_wheel("acme", "1.0")
    with FakeUpstream({"cold": [make_wheel("cold", "1.0")]}) as upstream:
        for no_fsync in (True, False):
            del synced[:]
            config = make_config(tmp_path / str(no_fsync), upstreams=(upstream.url,), no_fsync=no_fsync)
            with captured_log() as log:
                site = build(config)
            assert any("no_fsync: a power cut loses" in event["event"] for event in log) is no_fsync
            publish(site.indexes[MAIN].publisher, "acme", "1.0", *wheel)
            with site.indexes[MAIN].index.open(normalize("cold"), "cold-1.0-py3-none-any.whl") as blob:
                while blob.read():
                    pass
            assert ("fsync" in synced) is not no_fsync
            site.close()
            assert ("sync" in synced) is no_fsync, "at an orderly end all is on the disk"


def test_sqlite_does_not_wait_either(tmp_path: Path) -> None:
    try:
        for waits, level in ((False, 0), (True, 2)):
            durability.configure(waits=waits)
            connection = sql.connect(str(tmp_path / "x.sqlite"), read_only=False)
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == level
            connection.close()
    finally:
        durability.configure(waits=True)


def test_the_server_says_so(start_caseus: Callable[..., CaseusServer]) -> None:
    server = start_caseus(flags=("--no-fsync", "--workers", "2"))
    assert "  DANGER     no_fsync: a power cut loses what is published\n" in server.log
    assert server.log.count("no_fsync: a power cut loses what is published from now on") >= 3
    wheel = make_wheel("acme", "1.0")
    assert upload(server.url, *wheel, login=server.admin).status == 200
    assert ask(f"{server.url}simple/acme/{wheel[0]}").body == wheel[1]
    server.stop()
    assert server.cli("verify").returncode == 0


def test_imports_heed_it(tmp_path: Path) -> None:
    with FakeUpstream({"acme": [make_wheel("acme", "1.0")]}) as other:
        root = ("--root", tmp_path / "root")
        assert run_cli("user", "add", "alice", "--password-stdin", *root, input="correct horse").returncode == 0
        told = ("import", "index", other.url, *root)
        done = run_cli(*told, environ={"CASEUS_NO_FSYNC": "true", "CASEUS_UPSTREAM": "none"})
        assert done.returncode == 0, done.stderr
        assert "no_fsync: a power cut loses" in done.stderr
    assert run_cli("verify", *root).returncode == 0
