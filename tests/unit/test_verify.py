"""Damage done by hand to a real catalog and store is told, and nothing else is."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from caseus.catalog import Catalog, HostedFile
from caseus.packages import PackageLists
from caseus.storage.filesystem import FilesystemStorage
from caseus.verify import count_files, verify
from support.server import run_cli

TREE, UPSTREAM = "files/main", "fetched/pypi"


class Place(NamedTuple):
    root: Path
    catalog: Catalog
    storage: FilesystemStorage

    def put(self, key: str, data: bytes) -> str:
        self.storage.replace(key, io.BytesIO(data))
        return hashlib.sha256(data).hexdigest()

    def add_row(self, filename: str, data: bytes, **more: str | bool) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        self.catalog.claim(TREE, "acme", filename, sha256=sha256, owner="me").result()
        row = HostedFile(
            tree=TREE, project="acme", filename=filename, version="1", sha256=sha256, size=len(data),
            md5=hashlib.md5(data).hexdigest(), blake2b_256="", uploaded=1.0, uploader="alice", **more,  # type: ignore[arg-type]
        )  # fmt: skip
        self.catalog.publish(row, "me", holds=lambda: True)

    def damages(self, settle: Callable[[], None] = lambda: None) -> list[tuple[str, str]]:
        return [(each.kind, each.key) for each in verify(self.catalog, self.storage, settle=settle)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """acme 1 with METADATA and signature, published; big 1 with METADATA, fetched."""
    storage = FilesystemStorage(tmp_path)
    catalog = Catalog.open(tmp_path)
    place = Place(tmp_path, catalog, storage)
    place.put(f"{TREE}/acme/acme-1.whl", b"wheel")
    metadata = place.put(f"{TREE}/acme/acme-1.whl.metadata", b"Name: acme")
    place.put(f"{TREE}/acme/acme-1.whl.asc", b"signature")
    catalog.writer.after_commit = PackageLists(catalog, storage).follow
    place.add_row("acme-1.whl", b"wheel", metadata_sha256=metadata, has_sig=True)
    sha256 = place.put(f"{UPSTREAM}/big/big-1.whl", b"fetched")
    catalog.save_fetched(UPSTREAM, "big", "big-1.whl", sha256=sha256, size=7)
    metadata = place.put(f"{UPSTREAM}/big/big-1.whl.metadata", b"Name: big")
    catalog.save_fetched_metadata(UPSTREAM, "big", "big-1.whl", sha256=metadata)
    yield place
    catalog.close()


def test_whole(place: Place) -> None:
    seen: list[int] = []
    assert list(verify(place.catalog, place.storage, seen=lambda: seen.append(1), settle=lambda: None)) == []
    assert len(seen) == count_files(place.catalog) == 2


@pytest.mark.parametrize(
    ("key", "data", "kind"),
    [
        (f"{TREE}/acme/acme-1.whl", None, "missing"),
        (f"{TREE}/acme/acme-1.whl", b"wheal", "wrong digest"),
        (f"{TREE}/acme/acme-1.whl", b"whee", "wrong size"),
        (f"{TREE}/acme/acme-1.whl.metadata", None, "missing"),
        (f"{TREE}/acme/acme-1.whl.metadata", b"Name: evil", "wrong digest"),
        (f"{TREE}/acme/acme-1.whl.asc", None, "missing"),
        (f"{TREE}/acme/acme-2.whl", b"who?", "extra"),
        (f"{TREE}/acme/acme-2.whl.metadata", b"who?", "extra"),
        (f"{TREE}/other/other-1.whl", b"who?", "extra"),
        ("files/stray", b"who?", "extra"),
        (f"{UPSTREAM}/big/big-1.whl", b"Fetched", "wrong digest"),
        (f"{UPSTREAM}/big/big-1.whl", b"fetch", "wrong size"),
        (f"{UPSTREAM}/big/big-1.whl.metadata", b"Name: evil", "wrong digest"),
    ],
)
def test_damage(place: Place, key: str, data: bytes | None, kind: str) -> None:
    if data is None:
        place.storage.delete(key)
    else:
        place.put(key, data)
    assert place.damages() == [(kind, key)]


@pytest.mark.parametrize("key", [f"{UPSTREAM}/big/big-1.whl", f"{UPSTREAM}/big/big-1.whl.metadata"])
def test_what_is_fetched_may_be_absent(place: Place, key: str) -> None:
    place.storage.delete(key)
    assert place.damages() == []


@pytest.mark.parametrize("data", [None, b"", b"{}\n"])
def test_a_list_that_does_not_say_what_the_catalog_says(place: Place, data: bytes | None) -> None:
    key = f"{TREE}/acme/packages.jsonl"
    if data is None:
        place.storage.delete(key)
    else:
        place.put(key, data)
    assert place.damages() == [("outdated", key)]


def test_a_list_that_is_written_just_now_is_no_damage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is seen a moment before its list is there; under the lock of all who change it isn't."""
    answers = iter([False, True])
    monkeypatch.setattr(PackageLists, "is_current", lambda *_: next(answers))
    assert place.damages() == []


def test_bytes_of_a_tombstone_are_not_extra(place: Place) -> None:
    place.catalog.delete(place.catalog.hosted_files(TREE, "acme"), "wrong", actor="cli:me")
    assert place.damages() == []


def test_an_upload_that_gets_its_row_meanwhile_is_not_extra(place: Place) -> None:
    place.put(f"{TREE}/acme/acme-2.whl", b"second")
    assert place.damages(settle=lambda: place.add_row("acme-2.whl", b"second")) == []


def test_a_file_that_is_deleted_meanwhile_is_not_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(place.catalog.all_hosted())
    place.catalog.delete(rows, "wrong", actor="cli:me")
    place.storage.delete(f"{TREE}/acme/acme-1.whl")
    monkeypatch.setattr(place.catalog, "all_hosted", lambda: iter(rows))
    assert place.damages() == []


def test_a_changed_journal_is_told(place: Place) -> None:
    with sqlite3.connect(place.root / "catalog.sqlite") as database:
        assert database.execute("UPDATE journal SET actor = 'nobody' WHERE number = 1").rowcount == 1
    database.close()
    assert [kind for kind, _ in place.damages()][:1] == ["journal"]


def test_the_command(place: Place) -> None:
    done = run_cli("verify", "--root", place.root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "verified 2 files: all as they were\n", "")
    key = f"{TREE}/acme/acme-1.whl"
    place.put(key, b"wheal")
    done = run_cli("verify", "--root", place.root)
    assert done.returncode == 1 and done.stderr == f"caseus: error: 1 damages found in {place.root}\n"
    assert "wrong digest" in done.stdout and key in done.stdout
    done = run_cli("verify", "--root", place.root, "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 1 and result["files"] == 2
    assert [(each["kind"], each["key"]) for each in result["damages"]] == [("wrong digest", key)]
