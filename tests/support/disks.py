"""Small disks that can be filled, broken and unplugged. They need root: mark their tests with `root`."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def system(*command: str | Path, codes: tuple[int, ...] = (0,)) -> str:
    """Run a system program; its standard output. The test fails where it is missing or ends with another code."""
    assert shutil.which(str(command[0])), f"{command[0]} is missing: run `make test-deps`"
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode in codes, f"{' '.join(map(str, command))}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout


class Disk:
    """Mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"
        self._inodes = path / "inodes"

    @property
    def free(self) -> int:
        """Bytes."""
        told = os.statvfs(self.path)
        return told.f_bavail * told.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Takes all bytes but the last `leave`, and those of them back that it took too many before."""
        page = os.statvfs(self.path).f_frsize
        self._ballast.touch()
        size = self._ballast.stat().st_size + self.free - leave
        with self._ballast.open("r+b") as file:
            if size > 0:
                os.posix_fallocate(file.fileno(), 0, size // page * page)
            file.truncate(max(0, size // page * page))

    def fill_inodes(self, leave: int = 0) -> None:
        """Takes all names but `leave`."""
        self._inodes.mkdir(exist_ok=True)
        while os.statvfs(self.path).f_ffree > leave:
            (self._inodes / f"{len(os.listdir(self._inodes))}").touch()

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)
        shutil.rmtree(self._inodes, ignore_errors=True)


@contextmanager
def memory_disk(path: Path, *, size: str, inodes: int = 10_000) -> Iterator[Disk]:
    """tmpfs of a fixed size."""
    path.mkdir(parents=True, exist_ok=True)
    system("mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes},mode=0755", "tmpfs", path)
    try:
        yield Disk(path)
    finally:
        unmount(path)


@contextmanager
def loop_disk(image: Path, path: Path, *, options: str = "commit=300") -> Iterator[Disk]:
    """The file system in the file `image`, which `make_image` made or a copy of it."""
    path.mkdir(parents=True, exist_ok=True)
    system("mount", "-o", f"loop,{options}", image, path)
    try:
        yield Disk(path)
    finally:
        unmount(path)


def make_image(image: Path, *, megabytes: int, journal: bool = True) -> None:
    """ext4, which writes nothing on its own for minutes where it is mounted with commit=300."""
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    features = () if journal else ("-O", "^has_journal")
    system("mkfs.ext4", "-q", "-F", *features, "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image)


def repair_image(image: Path) -> None:
    """What a machine does after a power cut: the journal is replayed, and damage mended."""
    system("e2fsck", "-f", "-y", image, codes=(0, 1))


def unmount(path: Path) -> None:
    """Waits for whoever is just closing a file there."""
    deadline = time.monotonic() + 30
    while subprocess.run(["umount", str(path)], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, f"{path} is still used: {system('mount')}"
        time.sleep(0.05)  # between two tries
