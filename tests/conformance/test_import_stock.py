"""What all imports from another server's disk have in common: broken off, gone on with, beside dead fillers."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from caseus import cli
from caseus.catalog import Catalog
from caseus.errors import Unavailable
from caseus.importers.caching import Caching
from caseus.importers.gocheese import GoCheese
from caseus.importers.hosting import Hosting
from caseus.importers.report import Outcome, Result
from caseus.importers.run import StockImport
from caseus.importers.shelf import Shelf
from caseus.importers.source import Stopped
from caseus.names import NamePatterns
from support.gocheese import Cheese
from support.importing import Heard, Target, run_stock
from support.packages import make_wheel
from support.server import COMMAND, clean_environment

FILES = [make_wheel("acme", f"{number}.0") for number in range(40)]
ALPHA = make_wheel("alpha", "1.0")
CACHE = "fetched/pypi"


@pytest.fixture
def cheese(tmp_path: Path) -> Cheese:
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    for file in FILES:
        cheese.add("acme", file)
    cheese.add("alpha", ALPHA)
    return cheese


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    target = Target(tmp_path / "data", "http://127.0.0.1:9/simple/")
    yield target
    target.close()


class StopsAfter(Heard):
    """Ends the import once so many files came to something."""

    def __init__(self, target: Target, files: int) -> None:
        super().__init__()
        self._stop, self._left = target.stop, files

    def done(self, result: Result) -> None:
        super().done(result)
        self._left -= 1
        if not self._left:
            self._stop.set()


def importer(target: Target, cheese: Cheese, heard: Heard | None = None) -> StockImport:
    shelf = Shelf(target.catalog, target.publisher, actor="import:gocheese")
    caching = Caching(
        target.catalog, target.store, hosted_tree=shelf.tree, tree_of=lambda name: CACHE, limit=1 << 20
    )  # fmt: skip
    return StockImport(
        GoCheese(cheese.root), shelf, Hosting(shelf, max_file_bytes=1 << 20), caching,
        private=NamePatterns(()), stop=target.stop, progress=heard or Heard(),
    )  # fmt: skip


def test_it_is_broken_off_and_gone_on_with(target: Target, cheese: Cheese) -> None:
    heard = StopsAfter(target, 10)
    run = importer(target, cheese, heard)
    with pytest.raises(Stopped):
        run.run()
    taken = run.report.counts[Outcome.TAKEN]
    assert 10 <= taken < len(FILES) and len(target.files("acme")) >= taken
    target.stop.clear()
    again = importer(target, cheese)
    again.run()
    counts = again.report.counts
    assert counts[Outcome.TAKEN] + counts[Outcome.THERE] == len(FILES) == len(target.files("acme"))
    assert counts[Outcome.THERE] >= taken and counts[Outcome.CACHED] == 1 and again.report.bad == 0


def test_progress_hears_of_every_file(target: Target, cheese: Cheese) -> None:
    heard = Heard()
    importer(target, cheese, heard).run()
    assert heard.files == len(heard.results) == len(FILES) + 1


@pytest.mark.parametrize("left", ["the same bytes", "other bytes"])
def test_bytes_that_a_dead_filler_left_in_the_cache(target: Target, cheese: Cheese, left: str) -> None:
    path = target.store.root / CACHE / "alpha" / ALPHA[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(ALPHA[1] if left == "the same bytes" else b"half of something")
    run = importer(target, cheese)
    run.run()
    assert run.report.counts[Outcome.CACHED] == 1 and path.read_bytes() == ALPHA[1]
    row = target.catalog.fetched(CACHE, "alpha", ALPHA[0])
    assert row is not None and row.stored and target.catalog.cache_bytes() == len(ALPHA[1])


def test_our_own_full_disk_ends_it(target: Target, cheese: Cheese, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each file of thousands would fail for itself."""

    def full() -> None:
        raise Unavailable("no space left in the store: free some space and try again", kind="full")

    monkeypatch.setattr(target.publisher, "stage", full)
    with pytest.raises(Unavailable, match="no space left"):
        importer(target, cheese).run()


@pytest.mark.slow
def test_interrupted_at_the_terminal(tmp_path: Path) -> None:
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    for number in range(400):
        cheese.add("acme", make_wheel("acme", f"{number}.1"))
    root = tmp_path / "data"
    root.mkdir()
    Catalog.open(root).close()
    command = [*COMMAND, "import", "gocheese", str(cheese.root), "--root", str(root), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment({"CASEUS_UPSTREAM": "none"})
    )
    published = root / "files" / "main" / "acme"
    deadline = threading.Timer(60, process.kill)
    deadline.start()
    while process.poll() is None and not (published.exists() and any(published.iterdir())):
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    deadline.cancel()
    assert process.returncode == 130, err
    assert b'"taken"' in out and b"Traceback" not in err
    again = run_stock(root, "gocheese", cheese.root)
    assert again.code == 0 and 0 < again.count("there already") < 400
    assert again.count("there already") + again.count("taken") == 400


def test_the_report_for_people(
    tmp_path: Path, cheese: Cheese, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEUS_UPSTREAM", "none")
    root, passwd = tmp_path / "root", tmp_path / "passwd"
    root.mkdir()
    Catalog.open(root).close()
    passwd.write_text("foo:\n")
    words = ("import", "gocheese", str(cheese.root), "--passwd", str(passwd), "--root", str(root))
    assert cli.run((*words, "--dry-run")) == 1
    planned = capsys.readouterr()
    assert planned.out.splitlines()[1].split()[:2] == ["acme", "40"]
    assert "user in line 1" in planned.out
    assert cli.run(words) == 1
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[1].split()[:2] == ["taken", "40"] and "users: 1 damaged" in lines
    assert any(line.startswith("skipped") and "project alpha" in line for line in lines)
    assert told.err == "caseus: error: 1 could not be taken: see the report\n"
