"""Damage that a disk does by itself: single bits, lost files, files that nobody put there. `verify` finds each."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from caseus.catalog import Catalog
from caseus.errors import Invalid, Unavailable
from caseus.storage.filesystem import FilesystemStorage
from caseus.verify import CATALOG, Damage, verify
from support.clients import ask
from support.figures import Figures
from support.packages import make_wheel, metadata
from support.server import CaseusServer, run_cli
from support.stocked import stocked_root
from support.upstream import FakeUpstream, Options

COLD = make_wheel("cold", "1.0", files={"padding": bytes(range(256)) * 100}, compress=False)
CHECKED = ("files", "tombstones", "journal")
"""Tables whose every value `verify` can compare with something. What logins and caches need is not among them."""

Rows = dict[str, list[Any]]


@pytest.fixture
def template(memory: Path) -> Path:
    """An index with packages of every kind, yanks, tombstones and a fetched file; no server runs."""
    root = memory / "template"
    stocked_root(root)
    with (
        FakeUpstream({"cold": [(*COLD, Options(metadata=metadata("cold", "1.0")))]}) as upstream,
        CaseusServer(root, upstream=upstream.url) as server,
    ):
        for ending in ("", ".metadata"):
            assert ask(f"{server.url}simple/cold/{COLD[0]}{ending}").status == 200
    return root


def damages(root: Path) -> list[Damage]:
    catalog = Catalog.open(root)
    try:
        return list(verify(catalog, FilesystemStorage(root), settle=lambda: None))
    finally:
        catalog.close()


def known_files(root: Path) -> list[Path]:
    """All that `verify` has a digest of, or can make anew to compare: all but signatures."""
    kept = [path for top in ("files", "fetched") for path in (root / top).rglob("*") if path.is_file()]
    return sorted(path for path in kept if path.suffix != ".asc" and not is_deleted(path))


def is_deleted(path: Path) -> bool:
    """Bytes of tombstones wait for `gc`, and are nobody's."""
    return "1.3" in path.name or (path.parent.name == "gone" and path.name != "packages.jsonl")


def flip_a_bit(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def test_files(template: Path, memory: Path, rounds: Callable[[int, int], int], figures: Figures) -> None:
    """One at a time, so that each finding is of that damage and nothing else is told."""
    chance, counts = random.Random(5), Counter[str]()
    assert damages(template) == []
    files = known_files(template)
    assert len(files) > 12
    for number in range(rounds(30, 300)):
        root = memory / "root"
        shutil.copytree(template, root)
        path = root / chance.choice(files).relative_to(template)
        kind = ("changed", "lost", "shortened", "added")[number % 4]
        if kind == "changed":
            flip_a_bit(path, chance)
        elif kind == "lost":
            path = root / chance.choice([each for each in files if "fetched" not in each.parts]).relative_to(template)
            path.unlink()
        elif kind == "shortened":
            path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])
        else:
            path = root / f"files/main/acme/acme-9.{number}-py3-none-any.whl"
            path.write_bytes(b"by nobody")
        found = [root / each.key for each in damages(root)]
        counts["damages done"] += 1
        counts["found"] += path in found
        counts["told of other files"] += len(found) - found.count(path)
        shutil.rmtree(root)
    figures.add("damaged files", counts)
    assert counts["found"] == counts["damages done"]
    assert counts["told of other files"] == 0


def test_database(template: Path, memory: Path, rounds: Callable[[int, int], int], figures: Figures) -> None:
    """A flipped bit is found, or changes nothing that was said. Most of the file is free space."""
    chance, before = random.Random(6), rows(template)
    told = dict.fromkeys(("bits flipped", "found", "without effect", "missed in facts", "missed elsewhere"), 0)
    for _ in range(rounds(100, 1000)):
        root = memory / "root"
        shutil.copytree(template, root)
        flip_a_bit(root / CATALOG, chance)
        told["bits flipped"] += 1
        told[judge(root, before)] += 1
        shutil.rmtree(root)
    figures.add("damaged databases", told)
    assert told["found"] > 0
    assert told["missed in facts"] == 0


def judge(root: Path, before: Rows) -> str:
    try:
        if damages(root):
            return "found"
    except (Invalid, Unavailable):  # it is not even opened
        return "found"
    after = rows(root)
    changed = {name for name in before if after.get(name) != before[name]}
    return "missed in facts" if changed & set(CHECKED) else "missed elsewhere" if changed else "without effect"


def rows(root: Path) -> Rows:
    with closing(sqlite3.connect(root / CATALOG)) as connection:
        connection.text_factory = bytes  # a damaged text may be none
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        names = [name.decode() for (name,) in tables if name.isascii()]  # a flipped bit may be in a name, too
        return {name: table_rows(connection, name) for name in names}


def table_rows(connection: sqlite3.Connection, name: str) -> list[Any]:
    try:
        return connection.execute(f'SELECT * FROM "{name}"').fetchall()
    except UnicodeDecodeError:  # the name of a column
        return [None]


def test_a_damaged_database_is_told_in_a_line(template: Path, memory: Path) -> None:
    """Of every command and of a start, whatever is damaged; the bytes of the schema are what SQLite's words quote."""
    schema = (template / CATALOG).read_bytes()
    at = schema.index(b"CREATE TABLE tokens")
    (template / CATALOG).write_bytes(schema[:at] + b"CREATE T\xc3BLE tokens" + schema[at + 19 :])
    for command in (("verify",), ("info",), ("serve", "--port", "0")):
        done = run_cli(command[0], *([template] if command[0] == "serve" else ["--root", template]), *command[1:])
        assert done.returncode in (1, 2), command
        assert "Traceback" not in done.stderr
        assert "caseus reindex" in done.stderr.splitlines()[-1]
    done = run_cli("reindex", "--yes", "--root", template)
    assert done.returncode == 0, done.stderr
    assert damages(template) == []
