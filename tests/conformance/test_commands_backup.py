"""`caseus backup` of a folder in use, and `caseus restore`."""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from caseus.catalog import Catalog
from caseus.upkeep.holding import holding
from support.clients import ask
from support.packages import make_wheel
from support.server import CaseusServer, run_cli
from support.stocked import GONE, SDIST, SIGNATURE, WHEEL, cli_json, pages, publish, stocked_root

ACME = "files/main/acme"


@pytest.fixture
def stocked(tmp_path: Path) -> Iterator[CaseusServer]:
    stocked_root(tmp_path / "data")
    with CaseusServer(tmp_path / "data") as server:
        yield server


def back_up(server: CaseusServer, target: Path, code: int = 0) -> Any:
    return cli_json("backup", target, "--root", server.root, code=code)


def restore(target: Path, root: Path, code: int = 0) -> Any:
    return cli_json("restore", target, "--root", root, code=code)


class Uploads:
    """A client that publishes without a pause; `answered` are the filenames that the server acknowledged."""

    def __init__(self, server: CaseusServer) -> None:
        self.answered: list[str] = []
        self._server, self._stop = server, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._changed = threading.Condition()

    def _run(self) -> None:
        for number in itertools.count(1):
            if self._stop.is_set():
                return
            file = make_wheel(f"stream-{number % 3}", f"0.{number}", content=b"x" * 50_000)
            if publish(self._server, file) != 200:
                return
            with self._changed:
                self.answered.append(file[0])
                self._changed.notify_all()

    def wait(self, count: int) -> list[str]:
        """At least so many are acknowledged."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.answered) >= count, timeout=60)
            return list(self.answered)

    def __enter__(self) -> Uploads:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_backup_while_uploads_run(stocked: CaseusServer, tmp_path: Path) -> None:
    with Uploads(stocked) as uploads:
        for _ in range(2):
            before = uploads.wait(len(uploads.answered) + 10)
            back_up(stocked, tmp_path / "backup")
        uploads.wait(len(uploads.answered) + 1)
    assert restore(tmp_path / "backup", tmp_path / "restored")["damages"] == []
    assert run_cli("verify", "--root", tmp_path / "restored").returncode == 0
    with CaseusServer(tmp_path / "restored") as restored:
        listed = {
            file["filename"]
            for name in range(3)
            for file in ask(f"{restored.url}simple/stream-{name}/?format=application/vnd.pypi.simple.v1+json").json()[
                "files"
            ]
        }
    assert set(before) <= listed
    assert len(listed) <= len(uploads.answered)


def test_all_is_as_it_was(stocked: CaseusServer, tmp_path: Path) -> None:
    (stocked.root / "caseus.toml").write_text('private = ["acme*"]\n')
    token = stocked.token("admin")
    served, login = pages(stocked), stocked.admin
    back_up(stocked, tmp_path / "backup")
    assert not list((tmp_path / "backup").rglob("admin-password"))
    restore(tmp_path / "backup", tmp_path / "restored")
    assert (tmp_path / "restored" / "caseus.toml").read_text() == 'private = ["acme*"]\n'
    with CaseusServer(tmp_path / "restored") as restored:
        assert pages(restored) == served
        assert ask(f"{restored.url}simple/acme/{WHEEL[0]}.asc").body == SIGNATURE
        assert publish(restored, GONE, login=login) == 409  # a tombstone
        assert publish(restored, make_wheel("acme", "2.0"), login=login) == 200
        assert publish(restored, make_wheel("acme", "2.1"), login=("__token__", token)) == 200
    assert run_cli("verify", "--root", tmp_path / "restored").returncode == 0


def test_a_claim_is_not_backed_up(stocked: CaseusServer, tmp_path: Path) -> None:
    """Of an upload that ran then: it would hold its name in the restored index, where it never ends."""
    file = make_wheel("acme", "2.0")
    catalog = Catalog.open(stocked.root)
    catalog.claim("files/main", "acme", file[0], sha256="0" * 64, owner="somebody").result()
    assert publish(stocked, file) == 503
    back_up(stocked, tmp_path / "backup")
    catalog.close()
    restore(tmp_path / "backup", tmp_path / "restored")
    with closing(sqlite3.connect(tmp_path / "restored" / "catalog.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM claims").fetchone() == (0,)


def test_only_what_is_new_is_copied(stocked: CaseusServer, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    assert back_up(stocked, target)["copied"] == 6 + 4 + 1  # files, METADATA of wheels, a signature
    times = {path: path.stat().st_mtime_ns for path in target.rglob("*.whl")}
    assert back_up(stocked, target)["copied"] == 0
    assert publish(stocked, make_wheel("acme", "2.0")) == 200
    assert back_up(stocked, target)["copied"] == 2
    assert {path: path.stat().st_mtime_ns for path in times} == times
    done = stocked.cli("project", "delete", "acme==2.0", "--yes")
    assert done.returncode == 0
    assert back_up(stocked, target)["copied"] == 0
    assert set(target.rglob("*.whl")) == set(times)
    assert len(list(target.glob("catalog-*.sqlite"))) == 1
    assert restore(target, tmp_path / "restored")["damages"] == []


def test_it_can_be_reindexed_too(stocked: CaseusServer, tmp_path: Path) -> None:
    """Of a backup whose catalog is lost, files/ is enough."""
    served = pages(stocked)
    back_up(stocked, tmp_path / "backup")
    next((tmp_path / "backup").glob("catalog-*.sqlite")).write_bytes(b"")
    done = run_cli("restore", tmp_path / "backup", "--root", tmp_path / "restored")
    assert done.returncode == 2 and "caseus reindex" in done.stderr
    (tmp_path / "restored").mkdir()
    (tmp_path / "backup" / "files").rename(tmp_path / "restored" / "files")
    assert cli_json("reindex", "--root", tmp_path / "restored")["damages"] == []
    with CaseusServer(tmp_path / "restored") as restored:
        assert pages(restored) == served


def test_what_the_disk_of_the_backup_damaged_is_mended(stocked: CaseusServer, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    back_up(stocked, target)
    (target / ACME / WHEEL[0]).write_bytes(b"x" * len(WHEEL[1]))
    (target / ACME / f"{WHEEL[0]}.asc").write_bytes(b"x")
    (target / ACME / "packages.jsonl").write_bytes(b"x")
    (target / ACME / SDIST[0]).unlink()
    assert back_up(stocked, target)["damages"] == []
    assert (target / ACME / WHEEL[0]).read_bytes() == WHEEL[1]
    assert restore(target, tmp_path / "restored")["damages"] == []


def test_damage_of_the_folder_does_not_get_into_the_backup(stocked: CaseusServer, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    back_up(stocked, target)
    (stocked.root / ACME / WHEEL[0]).write_bytes(b"x" * len(WHEEL[1]))
    (stocked.root / ACME / f"{WHEEL[0]}.asc").unlink()
    lost = make_wheel("acme", "2.0")
    assert publish(stocked, lost) == 200
    (stocked.root / ACME / lost[0]).unlink()
    keys = {f"{ACME}/{WHEEL[0]}.asc", f"{ACME}/{lost[0]}"}
    assert {each["key"] for each in back_up(stocked, target, code=1)["damages"]} == keys
    assert (target / ACME / WHEEL[0]).read_bytes() == WHEEL[1]
    assert [each["key"] for each in restore(target, tmp_path / "restored", code=1)["damages"]] == [f"{ACME}/{lost[0]}"]
    assert (tmp_path / "restored" / ACME / f"{WHEEL[0]}.asc").read_bytes() == SIGNATURE


def test_a_file_that_was_damaged_in_the_backup_is_told(stocked: CaseusServer, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    back_up(stocked, target)
    (target / ACME / WHEEL[0]).write_bytes(b"x" * len(WHEEL[1]))
    damages = restore(target, tmp_path / "restored", code=1)["damages"]
    assert [(each["kind"], each["key"]) for each in damages] == [("wrong digest", f"{ACME}/{WHEEL[0]}")]
    assert not (tmp_path / "restored" / ACME / WHEEL[0]).exists()


def other_files(root: Path, target: Path) -> None:
    target.mkdir()
    (target / "letters").write_text("to somebody")


def inside(root: Path, target: Path) -> None:
    target.symlink_to(root / "backup")


def around(root: Path, target: Path) -> None:
    target.symlink_to(root.parent)


def a_file(root: Path, target: Path) -> None:
    target.write_text("no folder")


def another_format(root: Path, target: Path) -> None:
    target.mkdir()
    (target / "manifest.json").write_text('{"format": "caseus-backup-9"}')


@pytest.mark.parametrize("make", [other_files, inside, around, a_file, another_format], ids=lambda make: make.__name__)
def test_targets_that_are_refused(stocked: CaseusServer, tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    target = tmp_path / "elsewhere" / "backup"
    target.parent.mkdir()
    make(stocked.root, target)
    before = sorted(path.name for path in stocked.root.parent.iterdir())
    done = stocked.cli("backup", target)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done
    assert sorted(path.name for path in stocked.root.parent.iterdir()) == before
    assert not (stocked.root / "backup").exists()


def test_a_lost_index_does_not_empty_its_backup(stocked: CaseusServer, tmp_path: Path) -> None:
    back_up(stocked, tmp_path / "backup")
    with CaseusServer(tmp_path / "new") as new:
        assert publish(new, GONE) == 200
        done = new.cli("backup", tmp_path / "backup")
    assert done.returncode == 2 and "is newer" in done.stderr
    assert restore(tmp_path / "backup", tmp_path / "restored")["damages"] == []


def test_a_backup_that_was_broken_off_is_taken_up_again(stocked: CaseusServer, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    target.mkdir()
    with holding(target, alone=True, others=""):  # as one that runs
        done = stocked.cli("backup", target)
    assert done.returncode == 2 and "another backup" in done.stderr
    assert json.loads((target / "manifest.json").read_text())["catalog"] == ""
    done = run_cli("restore", target, "--root", tmp_path / "restored")
    assert done.returncode == 2 and "not finished" in done.stderr and not (tmp_path / "restored").exists()
    (target / ".new").mkdir()
    (target / ".new" / "catalog.sqlite").write_bytes(b"half")
    back_up(stocked, target)
    assert not (target / ".new").exists()
    assert restore(target, tmp_path / "restored")["damages"] == []


def test_it_waits_for_no_gc(stocked: CaseusServer, tmp_path: Path) -> None:
    with holding(stocked.root, alone=True, others=""):
        done = stocked.cli("backup", tmp_path / "backup")
    assert done.returncode == 2 and "`caseus gc`" in done.stderr


def test_a_restore_needs_an_empty_folder_and_a_backup(stocked: CaseusServer, tmp_path: Path) -> None:
    back_up(stocked, tmp_path / "backup")
    done = run_cli("restore", tmp_path / "backup", "--root", stocked.root)
    assert done.returncode == 2 and "not empty" in done.stderr
    done = run_cli("restore", tmp_path / "nothing", "--root", tmp_path / "restored")
    assert done.returncode == 2 and "no backup" in done.stderr
    assert not (tmp_path / "restored").exists() and not (tmp_path / "nothing").exists()
    done = run_cli("backup", tmp_path / "backup", "--root", tmp_path / "nothing")
    assert done.returncode == 2 and not (tmp_path / "nothing").exists()
    (tmp_path / "restored").mkdir()
    done = run_cli("restore", tmp_path / "backup", "--root", tmp_path / "restored")
    assert done.returncode == 0 and "restored" in done.stdout and done.stderr == ""
