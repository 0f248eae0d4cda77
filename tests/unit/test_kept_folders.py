"""Folders of a store that a thread keeps open for what it does next."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from caseus import durability
from caseus.storage.filesystem import FilesystemStorage
from caseus.storage.testing import read_all

PROJECT = "files/main/acme"


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path / "root")


@pytest.fixture(autouse=True)
def _every_descriptor_is_closed() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of folders, as they are opened."""
    names: list[str] = []
    real = os.open

    def recorded(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_DIRECTORY:
            names.append(Path(path).name)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", recorded)
    return names


def link(store: FilesystemStorage, key: str) -> None:
    with closing(store.stage()) as staged:
        staged.write(key.encode())
        staged.link(key)


def read(store: FilesystemStorage, key: str) -> bytes:
    return read_all(store.open(key))


def test_each_is_opened_once_for_any_number_of_files(store: FilesystemStorage, opened: list[str]) -> None:
    link(store, f"{PROJECT}/0.whl")  # makes them all
    opened.clear()
    keys = [f"{PROJECT}/{number}.whl" for number in range(1, 4)]
    with store.keeping_folders():
        for key in keys:
            link(store, key)
        store.sync(keys)
        store.replace(f"{PROJECT}/packages.jsonl", io.BytesIO(b"1\n"))
        assert store.append(f"{PROJECT}/packages.jsonl", b"2\n", behind=b"\n")
    assert sorted(opened) == sorted(["root", ".incoming", "files", "main", "acme"])
    opened.clear()
    link(store, f"{PROJECT}/4.whl")
    assert "acme" in opened, "afterwards they are opened anew"


def test_files_that_got_their_names_are_synced_by_what_wrote_them(
    store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{PROJECT}/{number}.whl" for number in range(3)]
    read_again: list[str] = []
    real, synced = os.open, set[int]()

    def recorded(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        read_again.extend([path] if str(path).endswith(".whl") else [])
        return real(path, flags, *args, **kwargs)

    def sync_all(descriptors: Sequence[int], *_: Any) -> None:
        synced.update(os.fstat(descriptor).st_ino for descriptor in descriptors)

    with store.keeping_folders():
        link(store, keys[0])
        store.set_aside(keys[0], "")
        monkeypatch.setattr(os, "open", recorded)
        monkeypatch.setattr(durability, "sync_all", sync_all)
        for key in keys:
            link(store, key)
        store.sync(keys)
    assert not read_again
    assert {store.path(key).stat().st_ino for key in keys} <= synced
    assert [read(store, key) for key in keys] == [key.encode() for key in keys]


def test_one_that_is_gone_is_made_anew(store: FilesystemStorage) -> None:
    with store.keeping_folders():
        link(store, f"{PROJECT}/1.whl")
        link(store, "files/main/other/1.whl")
        shutil.rmtree(store.root / "files")
        link(store, f"{PROJECT}/2.whl")
        store.delete(f"{PROJECT}/2.whl")
        link(store, f"{PROJECT}/3.whl")
        link(store, "files/main/other/2.whl")
        store.sync([f"{PROJECT}/3.whl", "files/main/other/2.whl"])
    assert sorted(store.keys()) == [f"{PROJECT}/3.whl", "files/main/other/2.whl"]


def test_a_link_in_the_place_of_one_is_not_followed(store: FilesystemStorage, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    link(store, "files/main/other/1.whl")
    (store.root / PROJECT).symlink_to(tmp_path / "outside")
    with store.keeping_folders(), pytest.raises(Exception, match="the store can't"):
        link(store, f"{PROJECT}/1.whl")
    assert list((tmp_path / "outside").iterdir()) == []


def test_of_very_many_some_are_kept(store: FilesystemStorage) -> None:
    keys = [f"files/main/p{number}/1.whl" for number in range(200)]
    with store.keeping_folders():
        before = len(os.listdir("/proc/self/fd"))
        for key in keys:
            link(store, key)
        store.sync(keys)
        assert len(os.listdir("/proc/self/fd")) <= before + 90
    assert [read(store, key) for key in keys] == [key.encode() for key in keys]


def test_what_one_thread_keeps_no_other_uses(store: FilesystemStorage, opened: list[str]) -> None:
    with ThreadPoolExecutor(1) as pool, store.keeping_folders():
        link(store, f"{PROJECT}/1.whl")
        opened.clear()
        pool.submit(link, store, f"{PROJECT}/2.whl").result()
        assert opened.count("acme") == 1
