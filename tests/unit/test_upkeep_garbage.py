"""What `gc` takes and what it must leave, on a real catalog and store with a clock that the test moves."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from caseus.catalog import LEASE, Catalog, HostedFile
from caseus.errors import Busy
from caseus.fill.part import Part
from caseus.packages import PackageLists
from caseus.storage.filesystem import FilesystemStorage
from caseus.storage.staging import IN_MEMORY
from caseus.upkeep.garbage import DEFAULT_AGE, Collector
from caseus.upkeep.holding import holding

TREE, UPSTREAM = "files/main", "fetched/pypi"
DAY = 86_400.0


class Place(NamedTuple):
    root: Path
    catalog: Catalog
    store: FilesystemStorage

    def put(self, key: str, data: bytes = b"bytes") -> str:
        self.store.replace(key, io.BytesIO(data))
        return key

    def publish(self, filename: str, *, project: str = "acme", has_sig: bool = False, metadata: bool = False) -> None:
        sha256 = hashlib.sha256(b"bytes").hexdigest()
        self.catalog.claim(TREE, project, filename, sha256=sha256, owner="me").result()
        self.put(f"{TREE}/{project}/{filename}")
        row = HostedFile(
            tree=TREE, project=project, filename=filename, version="1", sha256=sha256, size=5, md5="", blake2b_256="",
            uploaded=1.0, uploader="alice", has_sig=has_sig, metadata_sha256=sha256 if metadata else None,
        )  # fmt: skip
        self.catalog.publish(row, "me", holds=lambda: True)

    def collect(self, later: float = 2 * DAY, **options: float | bool) -> dict[str, str]:
        """Key to kind of what a run takes, so many seconds from now."""
        collector = Collector(self.catalog, self.store, clock=lambda: time.time() + later, **options)  # type: ignore[arg-type]
        found: dict[str, str] = {each.key: each.kind for each in collector.run()}
        assert collector.kept == []
        return found

    def stored(self) -> list[str]:
        return [*self.store.keys("fetched/"), *self.store.keys("files/")]

    def there(self, *keys: str) -> list[str]:
        return [key for key in keys if (self.root / key).exists()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    store = FilesystemStorage(tmp_path)
    catalog = Catalog.open(tmp_path)
    catalog.writer.after_commit = PackageLists(catalog, store).follow
    place = Place(tmp_path, catalog, store)
    yield place
    catalog.close()


def test_what_the_catalog_knows_stays(place: Place) -> None:
    place.publish("acme-1.whl", has_sig=True, metadata=True)
    place.put(f"{TREE}/acme/acme-1.whl.metadata")
    place.put(f"{TREE}/acme/acme-1.whl.asc")
    place.put(f"{UPSTREAM}/big/big-1.whl")
    place.catalog.save_fetched(UPSTREAM, "big", "big-1.whl", sha256="0" * 64, size=5)
    place.put(f"{UPSTREAM}/big/big-1.whl.metadata")
    place.catalog.save_fetched_metadata(UPSTREAM, "big", "big-1.whl", sha256="0" * 64)
    place.put(f"{UPSTREAM}/big/big-1.whl.asc")
    before = place.stored()
    assert place.collect() == {}
    assert place.stored() == before and len(before) == 7


def test_what_nothing_knows_goes(place: Place) -> None:
    place.publish("acme-1.whl")
    place.publish("acme-2.whl")
    place.catalog.delete([file for file in place.catalog.all_hosted() if file.filename == "acme-2.whl"], "", actor="me")
    wanted = {
        place.put(f"{TREE}/acme/acme-2.whl"): "deleted",
        place.put(f"{TREE}/acme/acme-2.whl.metadata"): "deleted",
        place.put(f"{TREE}/acme/acme-1.whl.asc"): "sidecar",  # its row has no signature
        place.put(f"{TREE}/acme/acme-1.whl.metadata"): "sidecar",
        place.put(f"{TREE}/acme/acme-3.whl.metadata"): "sidecar",  # without its file
        place.put(f"{TREE}/acme/acme-4.whl"): "unknown",
        place.put(f"{TREE}/acme/acme-4.whl.metadata"): "unknown",
        place.put(f"{TREE}/none/none-1.whl"): "unknown",
        place.put(f"{TREE}/none/packages.jsonl", b""): "list",
        place.put("files/stray"): "unknown",
        place.put(f"{UPSTREAM}/big/big-1.whl"): "uncached",
        place.put(f"{UPSTREAM}/big/big-1.whl.metadata"): "uncached",
        place.put(f"{UPSTREAM}/big/big-1.whl.asc"): "uncached",
    }
    assert place.collect(dry_run=True) == wanted
    assert place.there(*wanted) == list(wanted)
    assert place.collect() == wanted
    assert place.stored() == [f"{TREE}/acme/acme-1.whl", f"{TREE}/acme/packages.jsonl"]
    assert not (place.root / UPSTREAM).exists()  # empty folders go too


def test_the_list_of_a_project_of_tombstones_stays(place: Place) -> None:
    place.publish("acme-1.whl")
    place.catalog.delete(list(place.catalog.all_hosted()), "", actor="me")
    assert place.collect() == {f"{TREE}/acme/acme-1.whl": "deleted"}
    assert place.there(f"{TREE}/acme/packages.jsonl")


def test_a_dropped_fact_of_a_fetched_file_gives_its_bytes_up(place: Place) -> None:
    key = place.put(f"{UPSTREAM}/big/big-1.whl")
    place.catalog.save_fetched(UPSTREAM, "big", "big-1.whl", sha256="0" * 64, size=5)
    place.catalog.evicted(UPSTREAM, "big", "big-1.whl")
    assert place.collect() == {key: "uncached"}


@pytest.mark.parametrize("later", [0, DEFAULT_AGE - 60])
def test_what_is_young_stays(place: Place, later: float) -> None:
    keys = [place.put(f"{TREE}/acme/acme-4.whl"), place.put(f"{UPSTREAM}/big/big-1.whl")]
    place.store.set_aside(place.put(f"{TREE}/acme/acme-5.whl"), "")
    assert place.collect(later) == {}
    assert place.there(*keys) == keys
    assert len(place.collect(DEFAULT_AGE + 60)) == 3


def test_a_deleted_files_age_begins_with_its_deletion(place: Place) -> None:
    place.publish("acme-1.whl")
    place.catalog.clock = place.catalog.writer._clock = lambda: time.time() + 30 * DAY
    place.catalog.delete(list(place.catalog.all_hosted()), "", actor="me")
    assert place.collect(30 * DAY + 3600) == {}
    assert place.collect(31 * DAY + 3600) == {f"{TREE}/acme/acme-1.whl": "deleted"}


def test_the_bytes_of_an_upload_that_runs_stay(place: Place) -> None:
    place.catalog.claim(TREE, "acme", "acme-1.whl", sha256="0" * 64, owner="me").result()
    keys = [place.put(f"{TREE}/acme/acme-1.whl"), place.put(f"{TREE}/acme/acme-1.whl.metadata")]
    assert place.collect(older_than=0) == {}
    assert place.there(*keys) == keys


def test_an_upload_whose_bytes_went_can_not_publish(place: Place) -> None:
    """Its lease was over, but a claim is its owner's until somebody takes it."""
    place.catalog.claim(TREE, "acme", "acme-1.whl", sha256="0" * 64, owner="me").result()
    key = place.put(f"{TREE}/acme/acme-1.whl")
    place.catalog.clock = place.catalog.writer._clock = lambda: time.time() + LEASE + 1
    assert place.collect(older_than=0) == {key: "unknown"}
    with pytest.raises(Busy):
        place.catalog.with_claim(TREE, "acme-1.whl", "me", lambda: None)


def test_it_is_looked_at_again_before_it_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row may come between the look at the folder and the deletion."""
    keys = [
        place.put(f"{TREE}/acme/acme-1.whl"),
        place.put(f"{TREE}/none/packages.jsonl", b""),
        place.put(f"{UPSTREAM}/big/big-1.whl"),
    ]
    place.publish("acme-1.whl")
    place.publish("none-1.whl", project="none")
    place.catalog.save_fetched(UPSTREAM, "big", "big-1.whl", sha256="0" * 64, size=5)
    monkeypatch.setattr(Collector, "_listed", lambda *_: frozenset())
    collector = Collector(place.catalog, place.store, older_than=0, clock=lambda: time.time() + DAY)
    hosted, fetched = place.catalog.hosted_files, place.catalog.fetched_files
    seen: set[str] = set()

    def blind_once(tree: str, project: str) -> list[HostedFile]:
        if project in seen:
            return hosted(tree, project)
        seen.add(project)
        return []

    monkeypatch.setattr(place.catalog, "hosted_files", blind_once)
    monkeypatch.setattr(place.catalog, "fetched_files", lambda *_: {})
    assert list(collector.run()) == []
    assert place.there(*keys) == keys and fetched(UPSTREAM, "big")


def test_a_file_that_is_being_fetched_stays(place: Place) -> None:
    key = place.put(f"{UPSTREAM}/big/big-1.whl")
    (place.root / ".fill").mkdir()
    lock = Part(place.root / ".fill", key).take()
    assert lock is not None
    assert place.collect() == {}
    os.close(lock)
    assert place.collect()[key] == "uncached"


def test_bytes_on_their_way_stay_while_somebody_holds_them(place: Place) -> None:
    staged = place.store.stage()
    staged.write(bytes(IN_MEMORY + 1))
    (place.root / ".fill").mkdir()
    part = Part(place.root / ".fill", "fetched/pypi/big/big-1.whl")
    lock = part.take()
    assert lock is not None
    part.tell(lock, size=10, etag=None)
    assert place.collect() == {}
    staged.close()
    os.close(lock)
    left = place.root / ".incoming" / "left-by-a-kill"
    left.write_bytes(b"half")
    names = {f".fill/{path.name}" for path in (place.root / ".fill").iterdir()}
    assert place.collect() == {".incoming/left-by-a-kill": "upload"} | dict.fromkeys(names, "fetch")
    assert len(names) == 2 and not left.exists() and not list((place.root / ".fill").iterdir())


def test_what_was_begun_just_now_stays(place: Place) -> None:
    """A file is there a moment before its lock."""
    (place.root / ".incoming").mkdir()
    (place.root / ".incoming" / "new").write_bytes(b"")
    assert place.collect(30, older_than=0) == {}
    assert place.collect(90, older_than=0) == {".incoming/new": "upload"}


def test_orphans_go(place: Place) -> None:
    place.store.set_aside(place.put(f"{TREE}/acme/acme-1.whl"), "")
    [orphan] = (place.root / ".orphans").iterdir()
    assert place.collect() == {f".orphans/{orphan.name}": "orphan"}
    assert not orphan.exists()


@pytest.mark.parametrize("broken", [False, True])
def test_what_a_list_says_is_published_stays(place: Place, broken: bool) -> None:
    """The catalog may be an older backup."""
    place.publish("acme-1.whl")
    text = (place.root / TREE / "acme/packages.jsonl").read_bytes().replace(b"acme", b"lost")
    place.put(f"{TREE}/lost/packages.jsonl", text[:-3] if broken else text)
    key = place.put(f"{TREE}/lost/lost-1.whl")
    collector = Collector(place.catalog, place.store, clock=lambda: time.time() + 2 * DAY)
    assert list(collector.run()) == []
    assert collector.kept == [key] == place.there(key)


def test_a_backup_holds_it_off(place: Place) -> None:
    key = place.put(f"{TREE}/acme/acme-4.whl")
    with holding(place.root, alone=False, others=""), pytest.raises(Busy, match="a backup or another"):
        place.collect()
    assert place.collect() == {key: "unknown"}


def test_staged_bytes_are_held(place: Place) -> None:
    """What tells a living upload from the remains of a dead one."""
    staged = place.store.stage()
    staged.write(bytes(IN_MEMORY + 1))
    [path] = (place.root / ".incoming").iterdir()
    with path.open("rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        staged.close()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
