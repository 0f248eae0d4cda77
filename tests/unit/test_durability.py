"""What is waited for on the disk, at once."""

from __future__ import annotations

import _thread
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from caseus import durability


def opened(folder: Path, number: int) -> list[int]:
    return [os.open(folder / str(each), os.O_RDWR | os.O_CREAT) for each in range(number)]


@pytest.mark.parametrize("number", [0, 1, 3, 20])
def test_all_are_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    descriptors = opened(tmp_path, number)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    durability.sync_all(descriptors)
    assert sorted(synced) == descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def test_they_wait_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = opened(tmp_path, 3)
    together = threading.Barrier(3, timeout=30)
    monkeypatch.setattr(os, "fsync", lambda _: together.wait())
    durability.sync_all(descriptors)
    assert not together.broken
    for descriptor in descriptors:
        os.close(descriptor)


def test_one_of_all_has_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who comes meanwhile does without, but does not wait for it."""
    all_of_them = opened(tmp_path, 6)
    first, second = all_of_them[:3], all_of_them[3:]
    goes_on, begun = threading.Event(), threading.Barrier(4, timeout=30)
    by: dict[int, int] = {}

    def sync(descriptor: int) -> None:
        by[descriptor] = threading.get_ident()
        if descriptor in first:
            begun.wait()
            assert goes_on.wait(30)

    monkeypatch.setattr(os, "fsync", sync)
    other = threading.Thread(target=durability.sync_all, args=(first,))
    other.start()
    begun.wait()
    durability.sync_all(second)
    assert {by[descriptor] for descriptor in second} == {threading.get_ident()}
    goes_on.set()
    other.join()
    assert len({by[descriptor] for descriptor in first}) == 3
    for descriptor in all_of_them:
        os.close(descriptor)


@pytest.mark.parametrize("place", [0, 1, 11])
def test_a_failure_of_one_is_told_when_all_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    descriptors = opened(tmp_path, 12)
    done: list[int] = []

    def sync(descriptor: int) -> None:
        if descriptor == descriptors[place]:
            raise OSError(5, "Input/output error")
        done.append(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="Input/output error"):
        durability.sync_all(descriptors)
    assert len(done) >= 10  # what stands behind it in its thread is not tried
    for descriptor in descriptors:
        os.close(descriptor)


def test_without_more_threads_they_wait_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise RuntimeError("can't start new thread")

    descriptors = opened(tmp_path, 3)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    durability.sync_all(descriptors)
    assert sorted(synced) == descriptors
    for descriptor in descriptors:
        os.close(descriptor)
