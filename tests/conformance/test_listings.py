"""What pages list, read after a change by what the journal tells: the same as all of it read anew."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from caseus.catalog import Catalog, HostedFile, Tombstone
from caseus.remembered import Remembered

TREE, NAME = "files/main", "acme"
OTHER = "files/other"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog.open(tmp_path)
    yield made
    made.close()


def a_file(number: int, *, tree: str = TREE, project: str = NAME) -> HostedFile:
    digest = sha256(f"{tree}{project}{number}".encode()).hexdigest()
    return HostedFile(
        tree=tree, project=project, filename=f"{project}-1.{number}-py3-none-any.whl", version=f"1.{number}",
        sha256=digest, size=number, md5=digest[:32], blake2b_256=digest, uploaded=1e9 + number, uploader="test",
        metadata_sha256=digest,
    )  # fmt: skip


def put(catalog: Catalog, *files: HostedFile) -> None:
    assert catalog.reinstate(files, (), actor="test") == []


def get(catalog: Catalog, number: int) -> HostedFile:
    found = catalog.find_file(TREE, a_file(number).filename)
    assert found is not None
    return found


def buried(file: HostedFile) -> Tombstone:
    return Tombstone(
        tree=file.tree, project=file.project, filename=file.filename, sha256=file.sha256, deleted=1.0, reason="x"
    )


Change = Callable[[Catalog], object]

CHANGES: dict[str, Change] = {
    "put in": lambda catalog: put(catalog, a_file(500)),
    "put in, several": lambda catalog: put(catalog, *(a_file(number) for number in range(500, 540))),
    "uploaded": lambda catalog: catalog.publish_at_once(a_file(501), store=_Disk(), place=list, displaces=[]).result(),
    "claimed and uploaded": lambda catalog: _claimed(catalog, a_file(502)),
    "yanked": lambda catalog: catalog.yank([get(catalog, 3), get(catalog, 4)], "broken", actor="test"),
    "yanked and not": lambda catalog: _yanked_and_not(catalog),
    "deleted": lambda catalog: catalog.delete([get(catalog, 7), get(catalog, 0)], "old", actor="test"),
    "deleted, forgotten and put in": lambda catalog: _replaced(catalog),
    "signed": lambda catalog: catalog.sign(get(catalog, 9), signed=True, actor="test"),
    "touched": lambda catalog: catalog.redate(get(catalog, 9), 5.0, actor="test"),
    "marked": lambda catalog: catalog.mark(TREE, NAME, marked=True, actor="test"),
    "buried": lambda catalog: catalog.reinstate((), [buried(a_file(900))], actor="test"),
    "nothing": lambda catalog: None,
    "another project": lambda catalog: put(catalog, a_file(3, project="other"), a_file(3, tree=OTHER)),
    "all deleted": lambda catalog: catalog.delete(catalog.hosted_files(TREE, NAME), "old", actor="test"),
}


class _Disk:
    def sync(self, keys: object, *, beside: bool, meanwhile: Callable[[], bool]) -> None: ...


def _yanked_and_not(catalog: Catalog) -> None:
    catalog.yank([get(catalog, 3)], "broken", actor="test")
    catalog.yank([get(catalog, 3)], None, actor="test")


def _replaced(catalog: Catalog) -> None:
    catalog.delete([get(catalog, 7)], "old", actor="test")
    catalog.forget(TREE, a_file(7).filename, actor="test")
    put(catalog, msgspec.structs.replace(a_file(7), size=77))


def _claimed(catalog: Catalog, file: HostedFile) -> None:
    catalog.claim(file.tree, file.project, file.filename, sha256=file.sha256, owner="me").result()
    catalog.publish(file, "me", holds=lambda: True)


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_all_that_is_read(catalog: Catalog, what: str) -> None:
    put(catalog, *(a_file(number) for number in range(150)))
    before = catalog.listing(TREE, NAME)
    CHANGES[what](catalog)
    after, anew = catalog.listing(TREE, NAME, before), catalog.listing(TREE, NAME)
    assert after == anew
    assert [listed.file.filename for listed in after.files] == sorted(listed.file.filename for listed in after.files)
    was = {listed.file.filename: listed.file for listed in before.files}
    same = [listed for listed in after.files if was.get(listed.file.filename) == listed.file]
    if what not in ("all deleted", "put in, several"):
        assert sum(was[listed.file.filename] is listed.file for listed in same) >= 140  # they were not read again
    if what in ("nothing", "another project", "marked"):
        assert after.files is before.files


def test_several_changes_one_after_the_other(catalog: Catalog) -> None:
    put(catalog, *(a_file(number) for number in range(150)))
    listing = catalog.listing(TREE, NAME)
    for what in ("put in", "yanked", "uploaded", "deleted", "signed", "touched", "claimed and uploaded"):
        CHANGES[what](catalog)
        listing = catalog.listing(TREE, NAME, listing)
        assert listing == catalog.listing(TREE, NAME)


def test_more_than_the_journal_is_asked_for_is_read_anew(catalog: Catalog) -> None:
    put(catalog, *(a_file(number) for number in range(150)))
    before = catalog.listing(TREE, NAME)
    put(catalog, *(a_file(number) for number in range(500, 601)))
    assert catalog.listing(TREE, NAME, before) == catalog.listing(TREE, NAME)
    put(catalog, *(a_file(number, project="other") for number in range(1001)))
    catalog.yank([get(catalog, 3)], "broken", actor="test")
    assert catalog.listing(TREE, NAME, before) == catalog.listing(TREE, NAME)


def test_another_journal_tells_nothing(catalog: Catalog, tmp_path: Path) -> None:
    """A catalog that was put in the place of the one that was read: the numbers go on, what they name does not."""
    put(catalog, *(a_file(number) for number in range(3)))
    before = catalog.listing(TREE, NAME)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection, connection:
        connection.execute("UPDATE journal SET digest = 'other' WHERE number = 3")
        connection.execute("UPDATE files SET size = 77")
    assert [listed.file.size for listed in catalog.listing(TREE, NAME, before).files] == [77, 77, 77]
    ahead = before._replace(at=before.at._replace(number=99))
    assert catalog.listing(TREE, NAME, ahead) == catalog.listing(TREE, NAME)


def test_versions_stay_in_order(catalog: Catalog) -> None:
    remembered = Remembered(catalog, TREE)
    put(catalog, *(a_file(number) for number in range(150)))
    rng = random.Random(1)
    number = 200
    for _ in range(30):
        known = remembered.read(NAME)
        assert known == Remembered(catalog, TREE).read(NAME)
        assert known.versions == tuple(sorted(known.versions, key=lambda text: int(text[2:])))
        if rng.random() < 0.5:
            put(catalog, *(a_file(number + more) for more in range(rng.randrange(1, 4))))
            number += 5
        else:
            catalog.delete(rng.sample(catalog.hosted_files(TREE, NAME), 3), "old", actor="test")


def test_a_version_in_two_spellings(catalog: Catalog) -> None:
    """Equal by PEP 440, so their text tells which comes first: whatever was there before."""
    remembered = Remembered(catalog, TREE)
    put(catalog, *(a_file(number) for number in range(150)))
    remembered.read(NAME)
    odd = [
        msgspec.structs.replace(a_file(900 + n), version=text) for n, text in enumerate(("1.7.0.0", "1.7.0", "1.07"))
    ]
    for file in odd:
        put(catalog, file)
        assert remembered.read(NAME) == Remembered(catalog, TREE).read(NAME)


def test_what_is_remembered_is_bounded(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseus.remembered._MOST", 350)
    for project in "abcd":
        put(catalog, *(a_file(number, project=project) for number in range(120)))
    put(catalog, *(a_file(number, project="few") for number in range(99)))
    remembered = Remembered(catalog, TREE)
    first = {project: remembered.read(project).files for project in ("few", "a", "b", "c", "d")}
    again = {project: remembered.read(project).files for project in ("d", "c", "few", "a")}
    assert {project: again[project][0] is first[project][0] for project in again} == {
        "d": True, "c": True, "few": False, "a": False,
    }  # fmt: skip
    assert again == {project: first[project] for project in again}


def test_many_who_read_while_others_write(catalog: Catalog) -> None:
    """Nobody gets files of a time before the one at which they asked."""
    remembered = Remembered(catalog, TREE)
    put(catalog, *(a_file(number) for number in range(150)))
    done = threading.Event()
    written = [149]

    def write() -> None:
        try:
            for number in range(200, 260):
                put(catalog, a_file(number))
                written.append(number)
        finally:
            done.set()

    def read() -> int:
        count = 0
        while not done.is_set() or not count:
            newest = written[-1]
            known = remembered.read(NAME)
            assert a_file(newest).filename in {file.filename for file in known.files}
            assert f"1.{newest}" in known.versions
            count += 1
        return count

    with ThreadPoolExecutor(5) as pool:
        writing, *reading = pool.submit(write), *(pool.submit(read) for _ in range(4))
        writing.result()
        assert all(each.result() for each in reading)
    assert remembered.read(NAME) == Remembered(catalog, TREE).read(NAME)
