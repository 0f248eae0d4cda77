"""What is waited for on the disk, at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from caseus import durability, kernel_aio
from caseus.kernel_aio import MOST, KernelAio
from support.disks import loop_disk, make_image, memory_disk
from support.syncs import one_by_one


def opened(folder: Path, number: int) -> list[int]:
    return [os.open(folder / str(each), os.O_RDWR | os.O_CREAT) for each in range(number)]


def close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.parametrize("number", [0, 1, 3, 20])
def test_one_by_one_all_are_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    one_by_one(monkeypatch)
    descriptors = opened(tmp_path, number)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    durability.sync_all(descriptors)
    assert synced == descriptors
    close(descriptors)


@pytest.mark.parametrize("number", [2, 3, MOST, 2 * MOST, 2 * MOST + 2])
def test_the_kernel_syncs_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    descriptors = [*opened(tmp_path, number - 1), os.open(tmp_path, os.O_RDONLY)]
    taken: list[int] = []

    def counted(self: KernelAio, wanted: list[int], meanwhile: Callable[[], bool]) -> int:
        taken.append(real(self, wanted, meanwhile))
        return taken[-1]

    real = KernelAio.fsync
    monkeypatch.setattr(KernelAio, "fsync", counted)
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("not by the kernel"))
    durability.sync_all(descriptors)
    assert sum(taken) == number
    close(descriptors)


def test_what_the_kernel_does_not_take_is_told_as_ever(tmp_path: Path) -> None:
    descriptors = opened(tmp_path, 3)
    read, write = os.pipe()
    for wrong in (read, 10_000):
        with pytest.raises(OSError, match="Errno") as single:
            os.fsync(wrong)
        with pytest.raises(OSError, match=os.strerror(single.value.errno or 0)):
            durability.sync_all([*descriptors, wrong])
    close([*descriptors, read, write])


@pytest.mark.root
@pytest.mark.parametrize("place", [0, 1, 4])
def test_a_disk_that_fails_is_told(tmp_path: Path, place: int) -> None:
    """The image has room for more than the disk has on which it lies."""
    with memory_disk(tmp_path / "small", size="16m"):
        image = tmp_path / "small" / "image"
        make_image(image, megabytes=64, journal=False)
        with loop_disk(image, tmp_path / "large", options="rw") as disk:
            descriptors = opened(disk.path, 5)
            try:
                durability.sync_all(descriptors)
                os.write(descriptors[place], os.urandom(20 << 20))
                with pytest.raises(OSError, match=r"No space left|Input/output error"):
                    durability.sync_all(descriptors)
            finally:
                close(descriptors)
                os.unlink(disk.path / str(place))


def test_other_work_is_done_while_the_disk_is_busy(tmp_path: Path) -> None:
    descriptors = opened(tmp_path, 3)
    left, done = [3], []

    def meanwhile() -> bool:
        if left[0]:
            left[0] -= 1
            done.append(left[0])
            return True
        return False

    durability.sync_all(descriptors, meanwhile)
    assert 0 < len(done) <= 3, "as long as there is some, and the disk is busy"
    close(descriptors)


def test_who_comes_meanwhile_does_without_and_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = opened(tmp_path, 6)
    first, second = descriptors[:3], descriptors[3:]
    begun, goes_on = threading.Event(), threading.Event()

    def held(self: KernelAio, wanted: list[int], meanwhile: Callable[[], bool]) -> int:
        begun.set()
        assert goes_on.wait(30)
        return real(self, wanted, meanwhile)

    real = KernelAio.fsync
    monkeypatch.setattr(KernelAio, "fsync", held)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    other = threading.Thread(target=durability.sync_all, args=(first,))
    other.start()
    assert begun.wait(30)
    durability.sync_all(second)
    assert synced == second
    goes_on.set()
    other.join()
    assert synced == second
    close(descriptors)


def test_in_a_fork_it_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = opened(tmp_path, 3)
    durability.sync_all(descriptors)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            monkeypatch.setattr(os, "fsync", lambda _: os._exit(2))
            durability.sync_all(descriptors)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    close(descriptors)


def test_on_a_machine_that_is_not_known_each_waits_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_aio, "_NUMBERS", {})
    monkeypatch.setattr(durability, "_kernel", durability._Kernel())
    descriptors = opened(tmp_path, 3)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    durability.sync_all(descriptors)
    assert synced == descriptors
    close(descriptors)
