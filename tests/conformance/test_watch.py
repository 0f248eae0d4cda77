"""What a person does in the folder of a watched index is what readers see; what they must not see stays away."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import watchfiles
from watchfiles._rust_notify import WatchfilesRustInternalError

from caseus.checks.found import check_found
from caseus.errors import Conflict, NotFound, Unavailable
from caseus.names import normalize
from caseus.storage.filesystem import FilesystemStorage
from caseus.upkeep.garbage import Collector
from caseus.watch import Intake
from caseus.watch.in_place import InPlace
from caseus.watch.tree import Seen, Tree
from conformance.index_conformance import read_all
from support.packages import make_sdist, make_wheel
from support.served import Log, captured_log
from support.server import run_cli
from support.upstream import FakeUpstream
from support.watched import TREE, Watched, until

ONE, TWO, OTHER = make_wheel("acme", "1.0"), make_wheel("acme", "2.0"), make_wheel("acme", "1.0", content=b"# other")
SDIST = make_sdist("acme", "1.0")
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----\n"
LONG_AGO = 1_500_000_000


@pytest.fixture
def log() -> Iterator[Log]:
    with captured_log() as events:
        yield events


@pytest.fixture
def watched(tmp_path: Path, log: Log) -> Iterator[Watched]:
    with Watched(tmp_path / "root") as made:
        yield made


def told(log: Log, event: str) -> list[dict[str, Any]]:
    return [each for each in log if each["event"] == event]


def reasons(log: Log, filename: str) -> list[str]:
    """Why a file was not published."""
    return [each["reason"] for each in told(log, "folder.not_published") if each.get("filename") == filename]


def past(watched: Watched) -> None:
    """Waits until all that happened before has been looked at: something that comes later is there."""
    name = f"later-{time.monotonic_ns()}"
    watched.copy(name, make_wheel(name, "1.0"))
    until(lambda: watched.listed(name))


class TestAppearing:
    def test_a_copied_file_is_published(self, watched: Watched) -> None:
        for file in (ONE, SDIST):
            os.utime(watched.copy("acme", file), (0, LONG_AGO))
        until(lambda: len(watched.listed("acme")) == 2)
        until(
            lambda: (
                {file.upload_time and file.upload_time.timestamp() for file in watched.project("acme").files}
                == {LONG_AGO}
            )
        )
        row = watched.rows("acme")[ONE[0]]
        assert (row.sha256, row.size) == (hashlib.sha256(ONE[1]).hexdigest(), len(ONE[1]))
        assert (row.uploader, row.version) == ("folder", "1.0")
        blob = watched.site.indexes["main"].index.open(normalize("acme"), f"{ONE[0]}.metadata")
        assert b"Name: acme" in read_all(blob)
        until(lambda: not watched.damages())  # a list is written after its rows
        assert (watched.folder("acme") / "packages.jsonl").read_bytes().count(b"\n") == 2

    def test_a_moved_folder_is_published(self, watched: Watched, tmp_path: Path) -> None:
        for file in (ONE, TWO):
            (tmp_path / "dist").mkdir(exist_ok=True)
            (tmp_path / "dist" / file[0]).write_bytes(file[1])
        (tmp_path / "dist").rename(watched.folder("acme"))
        until(lambda: len(watched.listed("acme")) == 2)

    def test_a_half_copied_file_is_not(self, watched: Watched, log: Log) -> None:
        for file in (TWO, SDIST):
            path = watched.copy("acme", (file[0], file[1][: len(file[1]) // 2]))
            until(lambda: reasons(log, path.name))  # noqa: B023
            assert watched.listed("acme") == []
        for file in (TWO, SDIST):
            with (watched.folder("acme") / file[0]).open("ab") as rest:
                rest.write(file[1][len(file[1]) // 2 :])
        until(lambda: len(watched.listed("acme")) == 2)
        assert {row.sha256 for row in watched.rows("acme").values()} == {
            hashlib.sha256(file[1]).hexdigest() for file in (TWO, SDIST)
        }

    def test_what_is_no_package_of_the_project_is_not(self, watched: Watched, log: Log) -> None:
        egg = watched.copy("acme", ("acme-1.0-py2.7.egg", b"PK"))
        foreign = watched.copy("other", ONE)
        watched.copy("acme", ("README.txt", b"hello"))
        watched.copy("acme", (f".{TWO[0]}.Xy1zab", TWO[1]))
        spelt = watched.copy("Acme_App", make_wheel("acme-app", "1.0"))
        (watched.folder("acme") / ONE[0]).symlink_to(watched.root / "elsewhere")
        (watched.folder("acme") / SDIST[0]).mkdir()
        until(lambda: reasons(log, egg.name) and reasons(log, foreign.name))
        past(watched)
        assert watched.listed("acme") == watched.listed("other") == watched.listed("acme-app") == []
        assert "not one of other" in reasons(log, foreign.name)[0]
        [bad] = [each for each in told(log, "folder.not_published") if each.get("project") == "Acme_App"]
        assert "not a normalised one" in bad["reason"]
        extras = {damage.key for damage in watched.damages() if damage.kind == "extra"}
        assert {f"{TREE}/acme/{egg.name}", f"{TREE}/other/{ONE[0]}", f"{TREE}/Acme_App/{spelt.name}"} <= extras

    def test_a_file_beside_the_folders(self, watched: Watched, log: Log) -> None:
        """Where pypiserver has its files, all in one folder."""
        watched.copy(".", ONE)
        until(lambda: told(log, "folder.not_published"))
        [each] = told(log, "folder.not_published")
        assert (each["project"], each["reason"]) == (ONE[0], "a file belongs into the folder of its project")
        past(watched)
        assert watched.listed("acme") == []
        (watched.root / TREE / ONE[0]).unlink()
        watched.folder("Spelt").mkdir()
        until(lambda: len(told(log, "folder.not_published")) == 2)

    def test_a_name_that_another_project_has(self, watched: Watched, log: Log) -> None:
        """An sdist from before PEP 625, whose name can be read as one of two projects."""
        name, data = "acme-1.0-1.tar.gz", make_sdist("acme", "1.0.post1")[1]
        watched.copy("acme", (name, data))
        until(lambda: watched.listed("acme"))
        watched.copy("acme-1-0", (name, data))
        until(lambda: reasons(log, name))
        assert watched.listed("acme-1-0") == []
        assert watched.listed("acme") == [name]

    def test_an_upload_is_nobodys_business(self, watched: Watched) -> None:
        """What is uploaded has the times that it is listed with, so that it is not even read."""
        for number in range(20):
            watched.upload("acme", make_wheel("acme", f"3.{number}"))
        past(watched)
        assert watched.journal("acme") == [("publish", "mia")] * 20
        for name, row in watched.rows("acme").items():
            assert abs((watched.folder("acme") / name).stat().st_mtime - row.uploaded) < 1e-6

    def test_the_same_file_by_upload_and_by_hand(self, watched: Watched) -> None:
        watched.copy("acme", ONE)
        watched.upload("acme", ONE)
        past(watched)
        assert watched.listed("acme") == [ONE[0]]
        with pytest.raises(Conflict):
            watched.upload("acme", OTHER)

    def test_a_name_becomes_ours_and_is_no_longer_cached(self, tmp_path: Path) -> None:
        with FakeUpstream({"acme": [TWO]}) as upstream, Watched(tmp_path / "r", upstreams=[upstream.url]) as watched:
            assert read_all(watched.site.indexes["main"].index.open(normalize("acme"), TWO[0])) == TWO[1]
            watched.copy("acme", ONE)
            until(lambda: watched.listed("acme") == [ONE[0]])
            until(lambda: not list((watched.root / "fetched").rglob("*.whl")))

    def test_a_time_that_is_none(self, watched: Watched) -> None:
        """In the future, and before 1970: pages tell times between, and so does the file from then on."""
        os.utime(watched.copy("acme", ONE), (0, time.time() + 10**8))
        os.utime(watched.copy("acme", TWO), (0, -(10**8)))
        until(lambda: len(watched.listed("acme")) == 2)
        until(lambda: watched.rows("acme")[TWO[0]].uploaded == 0)
        until(lambda: watched.rows("acme")[ONE[0]].uploaded <= time.time())
        assert (watched.folder("acme") / TWO[0]).stat().st_mtime == 0
        assert (watched.folder("acme") / ONE[0]).stat().st_mtime <= time.time()


class TestRemoving:
    @pytest.fixture
    def stocked(self, watched: Watched) -> Watched:
        for file in (ONE, TWO):
            watched.copy("acme", file)
        until(lambda: len(watched.listed("acme")) == 2)
        return watched

    def test_a_removed_file_leaves_a_tombstone(self, stocked: Watched) -> None:
        stocked.remove("acme", ONE[0])
        until(lambda: stocked.listed("acme") == [TWO[0]])
        assert stocked.graves("acme")[ONE[0]].sha256 == hashlib.sha256(ONE[1]).hexdigest()
        assert stocked.journal("acme")[-1] == ("delete", "folder")
        packages = stocked.folder("acme") / "packages.jsonl"
        until(lambda: b'"deleted_reason":"removed from the folder"' in packages.read_bytes())
        with pytest.raises(NotFound):
            stocked.site.indexes["main"].index.open(normalize("acme"), ONE[0])

    def test_a_removed_folder_leaves_the_name_ours(self, tmp_path: Path) -> None:
        with FakeUpstream({"acme": [TWO]}) as upstream, Watched(tmp_path / "r", upstreams=[upstream.url]) as watched:
            watched.copy("acme", ONE)
            until(lambda: watched.listed("acme") == [ONE[0]] and not watched.damages())
            upstream.forget()
            watched.remove("acme")
            until(lambda: watched.graves("acme"))
            assert watched.project("acme").files == ()
            assert upstream.requests == []
            until(lambda: (watched.folder("acme") / "packages.jsonl").exists())

    def test_what_is_put_back_is_listed_again(self, stocked: Watched) -> None:
        publisher = stocked.site.indexes["main"].publisher
        publisher.yank(publisher.select(ONE[0]), "broken", "mia")
        stocked.remove("acme", ONE[0])
        until(lambda: ONE[0] in stocked.graves("acme"))
        stocked.copy("acme", ONE)
        until(lambda: ONE[0] in stocked.listed("acme"))
        assert stocked.graves("acme") == {}
        assert stocked.rows("acme")[ONE[0]].yanked == "broken"

    def test_other_bytes_under_a_used_name_are_not(self, stocked: Watched, log: Log) -> None:
        stocked.remove("acme", ONE[0])
        until(lambda: ONE[0] in stocked.graves("acme"))
        stocked.copy("acme", OTHER)
        until(lambda: reasons(log, OTHER[0]))
        assert stocked.listed("acme") == [TWO[0]]
        until(lambda: [(each.kind, each.key) for each in stocked.damages()] == [("changed", f"{TREE}/acme/{OTHER[0]}")])

    def test_what_was_deleted_on_purpose_stays_so(self, stocked: Watched, log: Log) -> None:
        publisher = stocked.site.indexes["main"].publisher
        publisher.delete(publisher.select(ONE[0]), "has a key in it", "mia")
        path = stocked.folder("acme") / ONE[0]
        path.touch()
        past(stocked)
        path.unlink()
        past(stocked)
        os.utime(stocked.copy("acme", ONE))
        until(lambda: (path.stat().st_ctime <= stocked.graves("acme")[ONE[0]].deleted + 1) or reasons(log, ONE[0]))
        past(stocked)
        assert stocked.listed("acme") == [TWO[0]]
        until(lambda: not stocked.damages())  # they are the deleted bytes, which `caseus gc` takes

    def test_a_link_in_a_files_place_is_no_removal(self, stocked: Watched, log: Log, tmp_path: Path) -> None:
        """Somebody moves files to another disk: they can't be served, but nothing is decided for good."""
        path = stocked.folder("acme") / ONE[0]
        path.rename(tmp_path / ONE[0])
        path.symlink_to(tmp_path / ONE[0])
        shutil.move(stocked.folder("acme") / TWO[0], tmp_path / TWO[0])
        until(lambda: TWO[0] in stocked.graves("acme"))
        until(lambda: ONE[0] in stocked.graves("acme") or reasons(log, ONE[0]))
        assert ONE[0] in stocked.rows("acme")
        path.unlink()
        (tmp_path / ONE[0]).rename(path)
        past(stocked)
        assert stocked.listed("acme") == [ONE[0]]


class TestChanging:
    @pytest.fixture
    def stocked(self, watched: Watched) -> Watched:
        watched.copy("acme", ONE)
        until(lambda: watched.listed("acme") and not watched.damages())
        return watched

    @pytest.mark.parametrize("data", [OTHER[1], ONE[1] + b"\0", b"", b"junk"], ids=["whole", "longer", "empty", "junk"])
    def test_changed_bytes_are_unlisted_and_named(self, stocked: Watched, data: bytes) -> None:
        stocked.copy("acme", (ONE[0], data))
        until(lambda: not stocked.listed("acme"))
        until(lambda: [(each.kind, each.key) for each in stocked.damages()] == [("changed", f"{TREE}/acme/{ONE[0]}")])
        past(stocked)
        assert stocked.listed("acme") == []

    def test_by_a_rename_too(self, stocked: Watched, tmp_path: Path) -> None:
        (tmp_path / "new").write_bytes(OTHER[1])
        (tmp_path / "new").rename(stocked.folder("acme") / ONE[0])
        until(lambda: not stocked.listed("acme"))

    def test_the_bytes_that_it_had_heal_it(self, stocked: Watched) -> None:
        stocked.copy("acme", OTHER)
        until(lambda: not stocked.listed("acme"))
        stocked.copy("acme", ONE)
        until(lambda: stocked.listed("acme") == [ONE[0]])
        until(lambda: not stocked.damages())

    def test_a_touched_file_has_another_upload_time(self, stocked: Watched) -> None:
        before = stocked.project("acme").validity
        os.utime(stocked.folder("acme") / ONE[0], (0, LONG_AGO))
        until(lambda: stocked.rows("acme")[ONE[0]].uploaded == LONG_AGO)
        assert not stocked.site.catalog.is_current(before, 0)
        assert stocked.journal("acme") == [("publish", "folder"), ("touch", "folder")]
        until(lambda: not stocked.damages())

    def test_written_over_with_what_it_has(self, stocked: Watched) -> None:
        stocked.copy("acme", ONE)
        past(stocked)
        assert stocked.listed("acme") == [ONE[0]]
        assert stocked.graves("acme") == {}

    def test_gc_leaves_what_somebody_put_there(self, stocked: Watched) -> None:
        stocked.copy("acme", OTHER)
        until(lambda: not stocked.listed("acme"))
        store = FilesystemStorage(stocked.root)
        taken = {each.key for each in Collector(stocked.site.catalog, store, older_than=0).run()}
        assert f"{TREE}/acme/{ONE[0]}" not in taken
        assert (stocked.folder("acme") / ONE[0]).read_bytes() == OTHER[1]


class TestForget:
    @pytest.fixture
    def changed(self, watched: Watched) -> Watched:
        watched.copy("acme", ONE)
        until(lambda: watched.listed("acme"))
        watched.copy("acme", OTHER)
        until(lambda: not watched.listed("acme"))
        return watched

    @pytest.mark.parametrize("running", [True, False], ids=["beside a server", "alone"])
    def test_new_bytes_are_published(self, changed: Watched, running: bool) -> None:
        if not running:
            changed.stop()
        done = run_cli("project", "forget", ONE[0], "--yes", "--root", changed.root)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [f"forgot {ONE[0]}", f"published {ONE[0]}"]
        if not running:
            changed.start(watch=False)
        assert changed.rows("acme")[ONE[0]].sha256 == hashlib.sha256(OTHER[1]).hexdigest()
        assert changed.graves("acme") == {}
        until(lambda: not changed.damages())
        assert [action for action, _ in changed.journal("acme")] == ["publish", "delete", "forget", "publish"]

    def test_the_name_is_ours_at_every_moment(self, changed: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between the tombstone and the row there is a claim: an upstream could answer otherwise."""
        knew: list[bool] = []
        publisher = changed.site.indexes["main"].publisher
        real = publisher.take

        def take(*args: Any, **kwargs: Any) -> Any:
            knew.append(changed.site.catalog.knows(TREE, "acme"))
            return real(*args, **kwargs)

        monkeypatch.setattr(publisher, "take", take)
        taking = Intake(changed.site.catalog, changed.site.store, publisher)
        assert taking.forget(publisher.grave(ONE[0]), actor="test") is None
        assert knew == [True]

    def test_a_name_without_a_file(self, watched: Watched) -> None:
        watched.copy("acme", ONE)
        until(lambda: watched.listed("acme"))
        watched.remove("acme", ONE[0])
        until(lambda: watched.graves("acme"))
        done = run_cli("project", "forget", ONE[0], "--yes", "--root", watched.root)
        assert (done.returncode, done.stdout) == (0, f"forgot {ONE[0]}\n")
        assert "nothing of acme is here now" in done.stderr
        with pytest.raises(NotFound):
            watched.project("acme")
        watched.copy("acme", OTHER)
        until(lambda: watched.listed("acme") == [ONE[0]])

    def test_what_lies_there_is_no_package(self, changed: Watched) -> None:
        changed.copy("acme", (ONE[0], b"junk"))
        done = run_cli("project", "forget", ONE[0], "--yes", "--root", changed.root)
        assert done.returncode == 1
        assert f"{ONE[0]} lies in the folder and was not published" in done.stderr
        assert changed.listed("acme") == []

    def test_refusals(self, changed: Watched) -> None:
        changed.copy("acme", TWO)
        until(lambda: changed.listed("acme"))
        for filename, code, words in (
            (TWO[0], 1, f"{TWO[0]} is published: delete it first"),
            ("nothing-1.0.tar.gz", 1, "no file 'nothing-1.0.tar.gz' was deleted here"),
            (ONE[0], 2, "--yes"),
        ):
            flags = () if "--yes" in words else ("--yes",)
            done = run_cli("project", "forget", filename, *flags, "--root", changed.root)
            assert (done.returncode, words in done.stderr) == (code, True), done.stderr


class TestMarkers:
    @pytest.fixture
    def upstream(self) -> Iterator[FakeUpstream]:
        with FakeUpstream({"acme": [TWO]}) as server:
            yield server

    @pytest.fixture
    def proxied(self, tmp_path: Path, upstream: FakeUpstream, log: Log) -> Iterator[Watched]:
        with Watched(tmp_path / "root", upstreams=[upstream.url]) as made:
            yield made

    @pytest.mark.parametrize("marker", [".private", ".internal"])
    def test_a_marked_name_is_ours(self, proxied: Watched, upstream: FakeUpstream, marker: str) -> None:
        before = proxied.project("acme").validity
        assert proxied.listed("acme") == [TWO[0]]
        path = proxied.mark("acme", marker)
        until(lambda: not proxied.listed("acme"))
        assert proxied.project("acme").files == ()  # and no NotFound, upon which clients ask their next index
        assert not proxied.site.catalog.is_current(before, 0)
        upstream.forget()
        with pytest.raises(NotFound):
            proxied.site.indexes["main"].index.open(normalize("acme"), TWO[0])
        assert upstream.requests == []
        path.unlink()
        until(lambda: proxied.listed("acme") == [TWO[0]])
        assert proxied.journal("acme") == [("mark", "folder"), ("unmark", "folder")]

    def test_one_of_two_is_enough(self, proxied: Watched) -> None:
        first, second = proxied.mark("acme"), proxied.mark("acme", ".internal")
        until(lambda: not proxied.listed("acme"))
        first.unlink()
        past(proxied)
        assert proxied.listed("acme") == []
        second.unlink()
        until(lambda: proxied.listed("acme"))

    def test_a_file_in_a_marked_project(self, proxied: Watched) -> None:
        proxied.mark("acme")
        proxied.copy("acme", ONE)
        until(lambda: proxied.listed("acme") == [ONE[0]])
        proxied.remove("acme", ".private")
        past(proxied)
        assert proxied.listed("acme") == [ONE[0]]  # what is published here is ours without a marker

    def test_in_force_before_the_first_answer(self, proxied: Watched, upstream: FakeUpstream) -> None:
        """One that was made, or taken away, while no server ran."""
        proxied.stop()
        proxied.mark("acme")
        proxied.start()
        upstream.forget()
        assert proxied.project("acme").files == ()
        assert upstream.requests == []
        proxied.stop()
        proxied.remove("acme")
        proxied.start()
        assert proxied.listed("acme") == [TWO[0]]

    def test_it_holds_without_a_watcher(self, proxied: Watched) -> None:
        proxied.mark("acme")
        until(lambda: not proxied.listed("acme"))
        proxied.stop()
        proxied.start(watch=False)
        assert proxied.listed("acme") == []

    def test_upkeep_knows_markers(self, proxied: Watched, tmp_path: Path) -> None:
        """verify and gc leave them alone, a backup has them, and reindex finds them."""
        path = proxied.mark("acme")
        until(lambda: not proxied.listed("acme"))
        until(lambda: not proxied.damages())
        store = FilesystemStorage(proxied.root)
        assert list(Collector(proxied.site.catalog, store, older_than=0).run()) == []
        proxied.stop()
        assert run_cli("backup", tmp_path / "backup", "--root", proxied.root).returncode == 0
        done = run_cli("restore", tmp_path / "backup", "--root", tmp_path / "restored")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "restored" / TREE / "acme" / ".private").exists()
        shutil.move(proxied.root, tmp_path / "lost")
        (tmp_path / "lost" / "files").rename(tmp_path / "restored" / "files.moved")
        for root in (tmp_path / "restored",):
            again = Watched(root, upstreams=["http://127.0.0.1:9/simple/"])
            again.start(watch=False)
            assert again.project("acme").files == ()
            again.stop()
        assert path.name == ".private"

    def test_reindex(self, proxied: Watched) -> None:
        proxied.mark("acme")
        until(lambda: not proxied.listed("acme"))
        proxied.stop()
        (proxied.root / "catalog.sqlite").unlink()
        done = run_cli("reindex", "--yes", "--root", proxied.root)
        assert done.returncode == 0, done.stdout + done.stderr
        proxied.start(watch=False)
        assert proxied.listed("acme") == []


class TestBesideFiles:
    @pytest.fixture
    def stocked(self, watched: Watched) -> Watched:
        watched.copy("acme", ONE)
        until(lambda: watched.listed("acme") and not watched.damages())
        return watched

    def test_a_signature_that_comes_and_goes(self, stocked: Watched) -> None:
        index, name = stocked.site.indexes["main"].index, f"{ONE[0]}.asc"
        assert [file.gpg_sig for file in stocked.project("acme").files] == [False]
        stocked.copy("acme", (name, SIGNATURE))
        until(lambda: stocked.project("acme").files[0].gpg_sig)
        assert read_all(index.open(normalize("acme"), name)) == SIGNATURE
        stocked.remove("acme", name)
        until(lambda: stocked.project("acme").files[0].gpg_sig is False)
        with pytest.raises(NotFound):
            index.open(normalize("acme"), name)
        assert [action for action, _ in stocked.journal("acme")] == ["publish", "sign", "unsign"]

    def test_one_that_came_with_the_file(self, watched: Watched) -> None:
        watched.copy("acme", (f"{ONE[0]}.asc", SIGNATURE))
        watched.copy("acme", ONE)
        until(lambda: watched.listed("acme"))
        until(lambda: watched.project("acme").files[0].gpg_sig)

    def test_one_that_is_none(self, stocked: Watched, log: Log) -> None:
        name = f"{ONE[0]}.asc"
        stocked.copy("acme", (name, SIGNATURE[:40]))
        until(lambda: reasons(log, name))
        assert "ends before its armour does" in reasons(log, name)[0]
        assert stocked.project("acme").files[0].gpg_sig is False
        stocked.copy("acme", (name, SIGNATURE))
        until(lambda: stocked.project("acme").files[0].gpg_sig)

    def test_metadata_that_is_taken_away_is_made_again(self, stocked: Watched) -> None:
        path = stocked.folder("acme") / f"{ONE[0]}.metadata"
        before = path.read_bytes()
        path.unlink()
        until(path.exists)
        assert path.read_bytes() == before

    def test_the_list_that_is_taken_away_is_written_again(self, stocked: Watched) -> None:
        path = stocked.folder("acme") / "packages.jsonl"
        before = path.read_bytes()
        path.unlink()
        until(path.exists)
        assert path.read_bytes() == before
        until(lambda: not stocked.damages())


class TestStart:
    def test_what_was_done_while_nobody_watched(self, watched: Watched) -> None:
        three, four = make_wheel("acme", "3.0"), make_wheel("acme", "4.0")
        for file in (ONE, TWO, three):
            watched.copy("acme", file)
        until(lambda: len(watched.listed("acme")) == 3)
        watched.stop()
        watched.copy("acme", four)
        watched.remove("acme", TWO[0])
        watched.copy("acme", OTHER)
        os.utime(watched.folder("acme") / three[0], (0, LONG_AGO))
        watched.start()
        until(lambda: watched.listed("acme") == [three[0], four[0]])
        until(lambda: watched.rows("acme")[three[0]].uploaded == LONG_AGO)
        assert set(watched.graves("acme")) == {ONE[0], TWO[0]}

    def test_only_names_sizes_and_times_are_compared(self, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(10):
            watched.copy("acme", make_wheel("acme", f"1.{number}"))
        until(lambda: len(watched.listed("acme")) == 10)
        watched.stop()
        read: list[str] = []

        class Recorded(InPlace):
            def __init__(self, root: Path, key: str, **more: Any) -> None:
                read.append(key)
                super().__init__(root, key, **more)

        monkeypatch.setattr("caseus.watch.intake.InPlace", Recorded)
        new = watched.copy("acme", make_wheel("acme", "2.0"))
        watched.start()
        until(lambda: len(watched.listed("acme")) == 11)
        past(watched)
        assert {key for key in read if "/acme/" in key} == {f"{TREE}/acme/{new.name}"}

    def test_a_restored_backup_has_the_times_it_had(self, watched: Watched, tmp_path: Path) -> None:
        os.utime(watched.copy("acme", ONE), (0, LONG_AGO))
        until(lambda: watched.listed("acme") and watched.rows("acme")[ONE[0]].uploaded == LONG_AGO)
        watched.stop()
        assert run_cli("backup", tmp_path / "backup", "--root", watched.root).returncode == 0
        assert run_cli("restore", tmp_path / "backup", "--root", tmp_path / "restored").returncode == 0
        with Watched(tmp_path / "restored") as restored:
            past(restored)
            assert restored.rows("acme")[ONE[0]].uploaded == LONG_AGO
            assert ("touch", "folder") not in restored.journal("acme")

    def test_times_that_a_copy_lost(self, watched: Watched, tmp_path: Path) -> None:
        """Of a backup that was made before the file was touched, and of a folder that was copied without times."""
        watched.copy("acme", ONE)
        until(lambda: watched.listed("acme") and not watched.damages())
        assert run_cli("backup", tmp_path / "backup", "--root", watched.root).returncode == 0
        os.utime(watched.folder("acme") / ONE[0], (0, LONG_AGO))
        until(lambda: watched.rows("acme")[ONE[0]].uploaded == LONG_AGO and not watched.damages())
        assert run_cli("backup", tmp_path / "backup", "--root", watched.root).returncode == 0
        assert run_cli("restore", tmp_path / "backup", "--root", tmp_path / "restored").returncode == 0
        shutil.copytree(watched.root / "files", tmp_path / "copied" / "files", copy_function=shutil.copyfile)
        assert run_cli("reindex", "--yes", "--root", tmp_path / "copied").returncode == 0
        for root in (tmp_path / "restored", tmp_path / "copied"):
            with Watched(root) as again:
                past(again)
                assert again.rows("acme")[ONE[0]].uploaded == LONG_AGO
                assert (again.folder("acme") / ONE[0]).stat().st_mtime == LONG_AGO

    def test_one_watches_and_another_takes_over(self, watched: Watched, log: Log) -> None:
        other = Watched(watched.root).start()
        try:
            watched.copy("acme", ONE)
            until(lambda: watched.listed("acme"))
            past(watched)
            assert [each["filename"] for each in told(log, "folder.published")].count(ONE[0]) == 1
            watched.stop()
            other.copy("acme", TWO)
            until(lambda: len(other.listed("acme")) == 2)
        finally:
            other.stop()
            watched.start()


class TestTrouble:
    @pytest.fixture
    def stocked(self, watched: Watched) -> Watched:
        watched.copy("acme", ONE)
        until(lambda: watched.listed("acme") and not watched.damages())
        return watched

    def test_a_folder_that_is_gone_is_no_removal(self, stocked: Watched, log: Log) -> None:
        """As where a disk is no longer mounted; and when it is back, all goes on."""
        main = stocked.root / TREE
        main.rename(stocked.root / "aside")
        until(lambda: told(log, "folder.unreadable"))
        assert stocked.graves("acme") == {}
        (stocked.root / "aside").rename(main)
        past(stocked)
        assert stocked.listed("acme") == [ONE[0]]

    def test_an_empty_folder_in_its_place_is_none_either(self, stocked: Watched, log: Log) -> None:
        stocked.mark("secret")
        until(lambda: stocked.site.catalog.is_marked(TREE, "secret"))
        main = stocked.root / TREE
        main.rename(stocked.root / "aside")
        main.mkdir()
        until(lambda: told(log, "folder.empty"))
        stocked.stop()
        stocked.start()
        past_empty = make_wheel("beta", "1.0")
        stocked.copy("beta", past_empty)
        until(lambda: stocked.listed("beta"))
        assert stocked.graves("acme") == {}
        assert stocked.listed("acme") == [ONE[0]]
        assert stocked.site.catalog.is_marked(TREE, "secret")

    @pytest.mark.parametrize("error", [OSError(28, "OS file watch limit reached."), "rust"], ids=["os", "rust"])
    def test_where_the_system_can_not_tell_of_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log, error: Any
    ) -> None:
        raised = WatchfilesRustInternalError("limit") if error == "rust" else error
        real = watchfiles.watch

        def watch(*paths: Any, force_polling: bool | None = None, **more: Any) -> Any:
            if not force_polling:
                raise raised
            return real(*paths, force_polling=True, **more)

        monkeypatch.setattr(watchfiles, "watch", watch)
        with Watched(tmp_path / "root") as watched:
            watched.copy("acme", ONE)
            until(lambda: watched.listed("acme"))
            watched.remove("acme", ONE[0])
            until(lambda: watched.graves("acme"))
        assert len(told(log, "folder.polled")) == 1

    def test_a_root_that_is_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "root").symlink_to(tmp_path / "disk")
        with Watched(tmp_path / "root") as watched:
            watched.copy("acme", ONE)
            until(lambda: watched.listed("acme"))
            watched.remove("acme", ONE[0])
            until(lambda: watched.graves("acme"))

    def test_a_fault_in_one_project_is_none_of_others(
        self, stocked: Watched, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Tree.look

        def look(tree: Tree, project: str) -> dict[str, Seen]:
            if project == "acme":
                raise ZeroDivisionError
            return real(tree, project)

        monkeypatch.setattr(Tree, "look", look)
        stocked.copy("acme", TWO)
        until(lambda: told(log, "folder.failed"))
        past(stocked)
        assert len(told(log, "folder.failed")) == 1

    def test_a_fault_of_our_own_ends_nothing(self, stocked: Watched, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any, **__: Any) -> Sequence[str]:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr("caseus.watch.intake.check_found", fail)
            stocked.copy("acme", TWO)
            until(lambda: told(log, "folder.failed"))
        stocked.copy("acme", SDIST)
        until(lambda: SDIST[0] in stocked.listed("acme"))

    def test_a_file_that_may_not_be_read_is_told_once_and_tried_again(
        self, stocked: Watched, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries: list[str] = []

        def refuse(root: Path, key: str, **more: Any) -> Any:
            tries.append(key)
            if len(tries) < 3:
                raise Unavailable("the store can't open a file: Permission denied", kind="local")
            return InPlace(root, key, **more)

        monkeypatch.setattr("caseus.watch.intake.InPlace", refuse)
        monkeypatch.setattr("caseus.watch.reconciler._TROUBLED", 0.1)
        stocked.copy("acme", TWO)
        until(lambda: TWO[0] in stocked.listed("acme"))
        assert len(told(log, "folder.troubled")) == 1

    def test_a_file_that_changes_while_it_is_read(self, stocked: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is published is what was read, whatever somebody does meanwhile."""
        path = stocked.folder("acme") / TWO[0]
        swapped: list[bool] = []

        def check(project: Any, filename: str, reader: io.BufferedReader, **more: Any) -> Any:
            found = check_found(project, filename, reader, **more)
            if filename == TWO[0] and not swapped:
                swapped.append(True)
                path.write_bytes(TWO[1] + b"x")
                path.write_bytes(make_wheel("acme", "2.0", content=b"# swapped")[1])
            return found

        monkeypatch.setattr("caseus.watch.intake.check_found", check)
        stocked.copy("acme", TWO)
        until(lambda: TWO[0] in stocked.listed("acme"))
        assert swapped
        assert stocked.rows("acme")[TWO[0]].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert stocked.graves("acme") == {}
