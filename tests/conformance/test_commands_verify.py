"""`caseus verify --repair`, `caseus gc`, `caseus info` and `caseus index` beside a running server."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from caseus.catalog import Catalog
from caseus.storage.filesystem import FilesystemStorage
from caseus.upkeep.garbage import Collector, Garbage
from support.clients import ask
from support.packages import make_wheel
from support.server import COMMAND, CaseusServer, clean_environment, run_cli
from support.stocked import SDIST, SIGNATURE, WHEEL, YANKED, cli_json, pages, publish, stocked_root
from support.upstream import FakeUpstream

ACME = "files/main/acme"
FAR = make_wheel("far", "1.0")


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"far": [FAR]}) as fake:
        yield fake


@pytest.fixture
def server(tmp_path: Path, upstream: FakeUpstream) -> Iterator[CaseusServer]:
    """Stocked, with a file of the upstream in its cache."""
    stocked_root(tmp_path / "data")
    with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
        assert ask(f"{server.url}simple/far/{FAR[0]}").body == FAR[1]
        assert ask(f"{server.url}simple/far/{FAR[0]}.metadata").status == 200
        yield server


def test_repair(server: CaseusServer) -> None:
    [wheel] = (server.root / "fetched").rglob(FAR[0])
    wheel.write_bytes(b"x" * len(FAR[1]))
    sidecar = wheel.with_name(f"{FAR[0]}.metadata")
    sidecar.write_bytes(b"x")
    acme = server.root / ACME
    metadata = (acme / f"{WHEEL[0]}.metadata").read_bytes()
    (acme / f"{WHEEL[0]}.metadata").write_bytes(b"x")
    (acme / f"{YANKED[0]}.metadata").unlink()
    (acme / "packages.jsonl").write_bytes(b"x")
    (server.root / "files/main/gone/packages.jsonl").unlink()
    found = cli_json("verify", "--root", server.root, code=1)
    assert "repaired" not in found["damages"][0] and len(found["damages"]) == 6
    assert wheel.read_bytes() == b"x" * len(FAR[1])  # nothing was touched
    done = cli_json("verify", "--repair", "--root", server.root, code=1)
    assert all(each["repaired"] for each in done["damages"]) and len(done["damages"]) == 6
    assert run_cli("verify", "--root", server.root).returncode == 0
    assert (acme / f"{WHEEL[0]}.metadata").read_bytes() == metadata
    assert not wheel.exists() and not sidecar.exists()
    assert ask(f"{server.url}simple/far/{FAR[0]}").body == FAR[1]
    assert ask(f"{server.url}simple/far/{FAR[0]}.metadata").status == 200


def test_what_can_not_be_repaired(server: CaseusServer) -> None:
    acme = server.root / ACME
    (acme / WHEEL[0]).write_bytes(b"x" * len(WHEEL[1]))
    (acme / f"{WHEEL[0]}.metadata").unlink()  # can't be made of a wrong wheel
    (acme / f"{WHEEL[0]}.asc").unlink()
    (acme / SDIST[0]).unlink()
    (acme / "stranger-1.0.tar.gz").write_bytes(b"x")
    done = cli_json("verify", "--repair", "--root", server.root, code=1)
    outcomes = {each["key"].rpartition("/")[2]: each["outcome"] for each in done["damages"]}
    assert outcomes.pop("stranger-1.0.tar.gz") == "left to `caseus gc`"
    assert set(outcomes) == {WHEEL[0], f"{WHEEL[0]}.metadata", f"{WHEEL[0]}.asc", SDIST[0]}
    assert all("restore the file from a backup" in outcome for outcome in outcomes.values())
    assert not any(each["repaired"] for each in done["damages"])
    done_in_words = server.cli("verify", "--repair")
    assert done_in_words.stderr == f"caseus: error: 5 damages found in {server.root}, 0 repaired\n"


def test_gc_of_a_living_index(server: CaseusServer) -> None:
    before = pages(server)
    told = cli_json("gc", "--older-than", "0s", "--dry-run", "--root", server.root)
    assert told["dry_run"] and {each["kind"] for each in told["garbage"]} == {"deleted"}
    assert len(told["garbage"]) == 4  # two wheels and their METADATA
    assert cli_json("gc", "--root", server.root)["garbage"] == []  # they are too young
    again = cli_json("gc", "--older-than", "0s", "--root", server.root)
    assert [each["key"] for each in again["garbage"]] == [each["key"] for each in told["garbage"]]
    assert not any((server.root / each["key"]).exists() for each in again["garbage"])
    done = server.cli("gc", "--older-than", "0s")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 files, 0 bytes deleted\n", "")
    assert pages(server) == before
    assert ask(f"{server.url}simple/acme/{WHEEL[0]}.asc").body == SIGNATURE
    assert ask(f"{server.url}simple/far/{FAR[0]}").body == FAR[1]
    assert run_cli("verify", "--root", server.root).returncode == 0


def test_gc_that_looks_at_an_older_catalog(server: CaseusServer) -> None:
    folder = server.root / "files/main/lost"
    folder.mkdir()
    (folder / "packages.jsonl").write_text(f'{{"filename": "lost-1.0.tar.gz", "hash": "sha256={"0" * 64}"}}\n')
    (folder / "lost-1.0.tar.gz").write_bytes(b"x")
    done = server.cli("gc", "--older-than", "0s")
    assert done.returncode == 1 and "caseus reindex" in done.stderr and done.stderr.count("\n") == 1
    assert (folder / "lost-1.0.tar.gz").exists() and (folder / "packages.jsonl").exists()


@pytest.mark.parametrize("age", ["soon", "-1d"])
def test_gc_of_no_age(server: CaseusServer, age: str) -> None:
    done = server.cli("gc", f"--older-than={age}")
    assert done.returncode == 2 and "--older-than" in done.stderr


def test_gc_while_uploads_run(server: CaseusServer) -> None:
    """With no age at all, so that only claims and rows keep what is new."""
    stop = threading.Event()
    taken: list[Garbage] = []
    catalog = Catalog.open(server.root)

    def collect() -> None:
        while not stop.is_set():
            taken.extend(Collector(catalog, FilesystemStorage(server.root), older_than=0).run())

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        statuses = [publish(server, make_wheel("stream", f"0.{number}"), signature=SIGNATURE) for number in range(40)]
    finally:
        stop.set()
        thread.join()
        catalog.close()
    assert statuses == [200] * 40
    assert not [each for each in taken if "stream" in each.key]
    assert run_cli("verify", "--root", server.root).returncode == 0


def test_info(server: CaseusServer) -> None:
    told = cli_json("info", "--root", server.root)
    assert (told["projects"], told["files"], told["tombstones"], told["users"], told["tokens"]) == (2, 6, 2, 1, 0)
    assert (told["fetched_files"], told["fetched_bytes"], told["in_use"]) == (1, len(FAR[1]), True)
    assert told["bytes"] == sum(path.stat().st_size for path in published(server.root))
    assert told["last_upload"] > 1_700_000_000 and told["serial"] > 10 and told["journal_entries"] > 10
    lines = server.cli("info").stdout.splitlines()
    assert ["projects", "2"] in [line.split() for line in lines]
    server.stop()
    assert cli_json("info", "--root", server.root)["in_use"] is False


def published(root: Path) -> list[Path]:
    """Wheels and sdists that were not deleted."""
    found = [*(root / "files").rglob("*.whl"), *(root / "files").rglob("*.tar.gz")]
    return [path for path in found if not path.name.startswith(("gone", "acme-1.3"))]


def test_index_list_and_show(server: CaseusServer) -> None:
    (server.root / "caseus.toml").write_text(
        'private = ["acme-*", "in-*"]\nupstream = "https://bob:s3cret@pkgs.example.com/simple/"\n'
    )
    [listed] = cli_json("index", "list", "--root", server.root)
    shown = cli_json("index", "show", "main", "--root", server.root)
    assert listed == shown and shown["upstream"] == "https://bob:***@pkgs.example.com/simple/"
    assert (shown["name"], shown["read"], shown["private"]) == ("main", "all", ["acme-*", "in-*"])
    assert (shown["projects"], shown["files"]) == (2, 6)
    assert server.cli("index", "list").stdout.splitlines()[1].split()[:2] == ["main", "all"]
    done = server.cli("index", "show", "other")
    assert done.returncode == 1 and "index list" in done.stderr


@pytest.mark.parametrize("command", ["info", "gc", "verify", "cache info", "cache prune", "index list"])
def test_a_mistyped_root_makes_no_index(tmp_path: Path, command: str) -> None:
    done = run_cli(*command.split(), "--root", tmp_path / "nowhere")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not (tmp_path / "nowhere").exists()


def test_a_bar_is_shown_on_a_terminal_only(server: CaseusServer, tmp_path: Path) -> None:
    """On stderr: what stdout gets can be used by programs all the same."""
    above, below = pty.openpty()
    with os.fdopen(above, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [*COMMAND, "verify", "--json", "--root", str(server.root)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=below,
            env=clean_environment({"TERM": "xterm"}),
            check=True,
        )
        os.write(below, b"END")
        shown = b""
        while not shown.endswith(b"END"):
            shown += terminal.read(4096)
    os.close(below)
    assert b"verifying" in shown and b"verifying" not in done.stdout
    assert done.stdout.startswith(b"{")
