"""Open files: served only while their inode is untouched, closed when nobody may get them any more."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from caseus.model import Project, Validity
from caseus.storage.blobs import FileBlob
from caseus.web import ready_files as module
from caseus.web.judge import Judge
from caseus.web.ready_files import FileKey, Known, ReadyFile, ReadyFiles, files_for, open_ready
from support.web import NOW, ScriptedCatalog, ScriptedIndex

TREE = "files/main"
ACME = NormalizedName("acme")
DATA = bytes(range(256)) * 1000


class World:
    """Ready files over a folder and an index that the test changes."""

    def __init__(self, folder: Path, limit: int = 4) -> None:
        self.folder = folder
        self.catalog, self.index = ScriptedCatalog(), ScriptedIndex()
        self.ready = ReadyFiles(Judge(self.catalog, self.catalog.clock), self.catalog.clock, limit=limit)
        self.index.known["acme"] = Project(name=ACME, validity=Validity(serials=((TREE, "acme", 0),)))

    def add(self, name: str) -> FileKey:
        path = self.folder / name
        path.write_bytes(DATA)
        self.index.files[name] = lambda start, stop: self.blob(path)
        return FileKey("main", ACME, name)

    def blob(self, path: Path) -> FileBlob:
        return FileBlob(os.open(path, os.O_RDONLY)).with_sha256("0" * 64)

    def open(self, key: FileKey, validity: Validity | None = None) -> ReadyFile:
        known = Known(self.catalog.number, validity)
        ready = open_ready(self.index, key, known, self.catalog.now, private=False)
        assert ready is not None
        return ready

    def keep(self, name: str, validity: Validity | None = None) -> FileKey:
        key = self.add(name)
        self.ready.keep(key, self.open(key, validity))
        return key


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Nothing that was opened in it stays open."""
    yield tmp_path
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert not [path for path in open_files if path.startswith(str(tmp_path))]


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def run(folder: Path, scenario: Callable[[World], None], limit: int = 4) -> None:
    async def running() -> None:
        world = World(folder, limit)
        try:
            scenario(world)
        finally:
            world.ready.close()

    asyncio.run(running())


def test_a_file_and_what_is_told_of_it(folder: Path) -> None:
    def scenario(world: World) -> None:
        key = world.keep("acme-1.zip")
        ready = world.ready.at_once(key)
        assert ready is not None and key in world.ready
        assert (ready.size, ready.etag) == (len(DATA), f'"{"0" * 64}"')
        assert b"content-type: application/zip\r\n" in ready.told.full_lines
        assert ready.read(5, 10) == DATA[5:15] and ready.read(len(DATA) - 3, 10) == DATA[-3:]
        assert ready.read_at_once(5, 10) in (DATA[5:15], None)
        assert ready.read_at_once(len(DATA) - 3, 10) is None  # fewer than there should be

    run(folder, scenario)


@pytest.mark.parametrize("change", ["unlink", "replace", "write", "rename", "link", "chmod"])
def test_whatever_happens_to_the_inode_ends_it(folder: Path, change: str) -> None:
    def scenario(world: World) -> None:
        key = world.keep("acme-1.zip")
        path = folder / "acme-1.zip"
        assert world.ready.at_once(key) is not None
        if change == "unlink":
            path.unlink()
        elif change == "replace":
            (folder / "other").write_bytes(DATA)
            (folder / "other").replace(path)
        elif change == "write":
            path.write_bytes(b"x")
        elif change == "rename":
            path.rename(folder / "elsewhere")
        elif change == "link":
            os.link(path, folder / "elsewhere")
        else:
            path.chmod(0o400)
        assert world.ready.at_once(key) is None and key not in world.ready

    run(folder, scenario)


def test_a_change_of_its_project_ends_it_and_another_s_does_not(folder: Path) -> None:
    def scenario(world: World) -> None:
        key = world.keep("acme-1.zip")
        world.catalog.change(TREE, "brie")
        assert world.ready.at_once(key) is not None
        world.catalog.change(TREE, "acme")
        assert world.ready.at_once(key) is None

    run(folder, scenario)


def test_it_is_asked_for_anew_each_minute_and_sooner_where_its_page_is(folder: Path) -> None:
    def scenario(world: World) -> None:
        long = world.keep("acme-1.zip")
        short = world.keep("acme-2.zip", Validity(until=NOW + 10))
        world.catalog.now = NOW + 9
        assert world.ready.at_once(long) and world.ready.at_once(short)
        world.catalog.now = NOW + 11
        assert world.ready.at_once(long) and world.ready.at_once(short) is None
        world.catalog.now = NOW + module.LIFETIME
        assert world.ready.at_once(long) is None

    run(folder, scenario)


def test_the_least_used_goes_first(folder: Path) -> None:
    def scenario(world: World) -> None:
        first, second = world.keep("acme-1.zip"), world.keep("acme-2.zip")
        assert world.ready.at_once(first) is not None
        third = world.keep("acme-3.zip")
        assert [key in world.ready for key in (first, second, third)] == [True, False, True]
        assert len(world.ready) == 2

    run(folder, scenario, limit=2)


def test_what_is_asked_for_twice_is_wanted(folder: Path) -> None:
    def scenario(world: World) -> None:
        key = world.add("acme-1.zip")
        assert [world.ready.is_wanted(key) for _ in range(3)] == [False, True, True]
        world.ready.keep(key, world.open(key))
        assert not world.ready.is_wanted(key)

    run(folder, scenario)
    run(folder, metadata_is_wanted_at_once)
    run(folder, lambda world: asserts_nothing_is_wanted(world), limit=0)


def metadata_is_wanted_at_once(world: World) -> None:
    key = world.add("acme-1-py3-none-any.whl.metadata")
    assert world.ready.is_wanted(key)
    world.ready.keep(key, world.open(key))
    assert not world.ready.is_wanted(key)


def asserts_nothing_is_wanted(world: World) -> None:
    key = world.add("acme-1.zip")
    assert not any(world.ready.is_wanted(key) for _ in range(3))


def test_only_while_it_is_read_it_is_kept_from_eviction(folder: Path) -> None:
    def is_locked() -> bool:
        with open(folder / "acme-1.zip", "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def scenario(world: World) -> None:
        key = world.add("acme-1.zip")
        fcntl_held = world.blob(folder / "acme-1.zip")
        fcntl.flock(fcntl_held.fileno(), fcntl.LOCK_SH)  # as a cached file is opened
        world.index.files["acme-1.zip"] = lambda start, stop: fcntl_held
        world.ready.keep(key, world.open(key))
        assert not is_locked()
        ready = world.ready.at_once(key)
        assert ready is not None
        ready.hold()
        ready.hold()
        ready.release()
        assert is_locked()
        ready.release()
        assert not is_locked()

    run(folder, scenario)


def test_who_reads_it_when_it_is_dropped_reads_on(folder: Path) -> None:
    def scenario(world: World) -> None:
        key = world.keep("acme-1.zip")
        ready = world.ready.at_once(key)
        assert ready is not None
        ready.hold()
        (folder / "acme-1.zip").unlink()
        assert world.ready.at_once(key) is None
        assert ready.read(0, 10) == DATA[:10]
        ready.release()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(ready.fd)

    run(folder, scenario)


def test_the_sweep_closes_what_nobody_may_get(folder: Path) -> None:
    def scenario(world: World) -> None:
        gone, old, good = (world.keep(f"acme-{number}.zip") for number in range(3))
        (folder / "acme-0.zip").unlink()
        world.ready.keep(old, world.open(old, Validity(until=NOW + 1)))
        world.catalog.now = NOW + 2
        world.ready._sweep()
        assert [key in world.ready for key in (gone, old, good)] == [False, False, True]

    run(folder, scenario)


def test_what_is_no_plain_stored_file_is_not_made_ready(folder: Path) -> None:
    def scenario(world: World) -> None:
        world.index.files["acme-1.zip"] = DATA  # bytes in memory
        known = Known(1, None)
        for name in ("acme-1.zip", "none.zip"):
            assert open_ready(world.index, FileKey("main", ACME, name), known, NOW, private=False) is None
        world.index.files["acme-2.zip"] = lambda start, stop: FileBlob(os.open(__file__, os.O_RDONLY))  # no digest
        assert open_ready(world.index, FileKey("main", ACME, "acme-2.zip"), known, NOW, private=False) is None

    run(folder, scenario)


def test_no_descriptors_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scenario(world: World) -> None:
        key = world.add("acme-1.zip")
        for name in ("dup", "fstat"):
            with monkeypatch.context() as patched:
                patched.setattr(os, name, full)
                assert open_ready(world.index, key, Known(1, None), NOW, private=False) is None
        assert world.keep("acme-1.zip") in world.ready

    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    run(folder, scenario)


def test_a_file_system_that_can_not_tell_whether_a_read_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    def scenario(world: World) -> None:
        ready = world.ready.at_once(world.keep("acme-1.zip"))
        assert ready is not None
        monkeypatch.setattr(os, "preadv", refuse)
        assert ready.read_at_once(0, 10) is None and ready.waits
        monkeypatch.undo()
        assert ready.read_at_once(0, 10) is None and ready.read(0, 10) == DATA[:10]

    run(folder, scenario)


def test_few_open_files_are_few_ready_ones() -> None:
    assert [files_for(count) for count in (64, 1024, 20_000, 10**6)] == [4, 64, 1024, 1024]
