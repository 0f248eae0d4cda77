"""packages.jsonl as files are published: a line more where that is enough, a new list where it is not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from caseus.catalog import Catalog
from caseus.catalog.transaction import Transaction
from caseus.errors import Unavailable
from caseus.packages import PackageLists, read_lines
from caseus.publish import Publisher
from caseus.storage.filesystem import FilesystemStorage
from support.forms import form_for
from support.packages import make_wheel

TREE = "files/main"


class Place:
    """An index in a folder, as a server has it open."""

    def __init__(self, root: Path) -> None:
        self.store = FilesystemStorage(root)
        self.catalog = Catalog.open(root)
        self.lists = PackageLists(self.catalog, self.store)
        self.catalog.writer.after_commit = self.lists.follow
        self.publisher = Publisher(self.catalog, self.store, "main")
        self.list = root / "files" / "main" / "acme" / "packages.jsonl"

    def upload(self, version: str, project: str = "acme") -> str:
        filename, data = make_wheel(project, version)
        with closing(self.publisher.stage()) as staged:
            staged.write(data)
            form = form_for(project, version, filename, data)
            self.publisher.publish(staged, form, filename=filename, signature=None, actor="alice")
        return filename

    def told(self) -> list[str]:
        found, broken = read_lines(self.list.read_bytes())
        assert not broken
        return [line.filename for line in found]

    def is_right(self) -> bool:
        assert self.catalog.written == self.catalog.serial()
        return self.lists.is_current(TREE, "acme")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.catalog.close()


def test_a_file_adds_its_line_at_the_end(place: Place) -> None:
    second = place.upload("2.0")
    inode, text = place.list.stat().st_ino, place.list.read_bytes()
    first = place.upload("1.0")
    assert place.list.stat().st_ino == inode and place.list.read_bytes().startswith(text)
    assert place.told() == [second, first] and place.is_right()


def test_every_other_change_replaces_the_list(place: Place) -> None:
    names = [place.upload(version) for version in ("2.0", "1.0", "3.0")]
    with place.list.open("rb") as before:
        text = before.read()
        place.publisher.yank(place.catalog.hosted_files(TREE, "acme")[:1], "broken", "alice")
        assert before.seek(0) == 0 and before.read() == text, "who reads it goes on with the old one"
    assert place.told() == sorted(names) and place.is_right()


def test_a_file_and_another_change_in_one_transaction_replace_the_list(place: Place) -> None:
    place.upload("1.0")
    [row] = place.catalog.hosted_files(TREE, "acme")
    begun, goes_on = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        begun.set()
        assert goes_on.wait(30)

    before = place.catalog.writer.submit(hold)
    assert begun.wait(30)
    with ThreadPoolExecutor(2) as pool:
        both = pool.submit(place.upload, "2.0"), pool.submit(place.publisher.yank, [row], "broken", "alice")
        while place.catalog.writer._queue.qsize() < 2:
            assert not any(future.done() for future in both)
        goes_on.set()
        for future in (before, *both):
            future.result(30)
    assert len(place.told()) == 2 and place.is_right()


@pytest.mark.parametrize("damage", ["cut off", "gone", "empty", "a link"])
def test_a_list_that_was_damaged_is_written_anew(place: Place, tmp_path: Path, damage: str) -> None:
    place.upload("1.0")
    if damage == "cut off":
        os.truncate(place.list, place.list.stat().st_size - 1)
    elif damage == "empty":
        os.truncate(place.list, 0)
    else:
        place.list.unlink()
    if damage == "a link":
        (tmp_path / "secret").write_bytes(b"\n")
        place.list.symlink_to(tmp_path / "secret")
    place.upload("2.0")
    assert len(place.told()) == 2 and place.is_right() and not place.list.is_symlink()
    assert damage != "a link" or (tmp_path / "secret").read_bytes() == b"\n"


def test_a_snapshot_by_hard_links_does_not_grow(place: Place, tmp_path: Path) -> None:
    place.upload("1.0")
    os.link(place.list, tmp_path / "snapshot")
    text = place.list.read_bytes()
    place.upload("2.0")
    assert (tmp_path / "snapshot").read_bytes() == text
    assert len(place.told()) == 2 and place.is_right()


def test_where_the_disk_failed_before_the_list_is_written_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the line may be there: only the number in ROOT/serial tells that it is not all."""
    place.upload("1.0")

    def torn(key: str, data: bytes, *, behind: bytes) -> bool:
        with place.list.open("ab") as file:
            file.write(data[:40] + b"\n")
        raise Unavailable("no space left in the store", kind="full")

    with monkeypatch.context() as failing:
        failing.setattr(place.store, "append", torn)
        place.upload("2.0")
    assert place.catalog.written == place.catalog.serial() - 1
    place.upload("3.0")
    assert len(place.told()) == 3 and place.is_right()


def test_what_another_process_could_not_list_is_listed_with_the_next_upload(place: Place, tmp_path: Path) -> None:
    place.upload("1.0")
    other = Place(tmp_path)
    other.catalog.writer.after_commit = None  # killed between COMMIT and the list
    other.upload("2.0")
    other.catalog.close()
    assert len(place.told()) == 1
    place.upload("1.0", project="brie")
    assert len(place.told()) == 2 and place.is_right()


def test_after_a_power_cut_a_start_writes_what_was_not_durable(place: Place) -> None:
    place.upload("1.0")
    place.lists.settle()
    durable = place.list.read_bytes()
    place.upload("2.0")
    place.list.write_bytes(durable + b'{"filename": "acme-2.0')
    place.catalog.listed = place.catalog.written = place.catalog.serial() - 1  # as `clean` finds and sets them
    place.lists.catch_up()
    assert len(place.told()) == 2 and place.is_right()
