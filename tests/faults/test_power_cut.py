"""A power cut at the moment of an answer: what was acknowledged is on the disk, and nothing else is half there.

The index is on ext4 in a file, mounted with commit=300. At an acknowledgement the server is stopped and that file is
copied: what nobody synced is not in the copy. The copy is what a machine finds when it starts again: its journal is
replayed, it is mounted, and a server starts on it. That the method can tell is shown by probes which nobody syncs. What
it can't show is a disk that loses what it said it has written.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from caseus.catalog import Catalog
from caseus.storage.filesystem import FilesystemStorage
from caseus.verify import verify
from support.clients import Login, ask, listed, upload
from support.disks import Disk, loop_disk, make_image, repair_image
from support.faulty import until
from support.figures import Figures
from support.packages import make_wheel, sha256
from support.preloaded import PreloadedServer
from support.upstream import FakeUpstream

pytestmark = pytest.mark.root

SERIES = 10  # cuts of one index
PROJECTS = ("cut-one", "cut-two", "cut-three")
PROBE = 100_000  # bytes


@dataclass
class Counts:
    cuts: int = 0
    acknowledged: int = 0
    lost: int = 0
    under_way: int = 0
    whole: int = 0
    half: int = 0
    blocked: int = 0
    probes_lost: int = 0

    def told(self) -> dict[str, int]:
        return {
            "power cuts": self.cuts,
            "acknowledged files looked for": self.acknowledged,
            "of them lost": self.lost,
            "uploads under way": self.under_way,
            "of them wholly there": self.whole,
            "of them half there": self.half,
            "names blocked": self.blocked,
            "unsynced probes lost (as they should be)": self.probes_lost,
        }


@dataclass
class Index:
    """A running server, and what it said about files: names to digests."""

    server: PreloadedServer
    disk: Disk
    image: Path
    login: Login
    random: random.Random
    there: dict[str, str] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)
    made: int = 0

    def file(self, project: str) -> tuple[str, bytes]:
        """A new name; from some hundred bytes, which go through at once, to a few hundred thousand."""
        with self.guard:
            self.made += 1
            padding = self.random.randbytes(self.random.choice((0, 10_000, 300_000)))
            return make_wheel(project, f"1.{self.made}", files={"padding": padding}, compress=False)


@dataclass
class Cut:
    """What was so at the moment of the cut."""

    there: dict[str, str]
    under_way: dict[str, str]
    fetched: tuple[str, bytes]
    probe: str


def test_power_cut_at_the_acknowledgement(memory: Path, rounds: Callable[[int, int], int], figures: Figures) -> None:
    chance, counts, left = random.Random(4), Counts(), rounds(8, 100)
    while left:
        cut_again_and_again(memory / "disks", min(SERIES, left), chance, counts)
        left -= min(SERIES, left)
    figures.add("power cuts at the acknowledgement", counts.told())
    assert counts.lost == counts.half == counts.blocked == 0
    assert counts.under_way > 0
    assert counts.probes_lost > counts.cuts / 2


def cut_again_and_again(folder: Path, rounds: int, chance: random.Random, counts: Counts) -> None:
    """One index from its first upload on; it goes on after each cut, of which its copy is the witness."""
    image, copy = folder / "image", folder / "copy"
    folder.mkdir()
    make_image(image, megabytes=64)
    with (
        FakeUpstream() as upstream,
        loop_disk(image, folder / "disk") as disk,
        PreloadedServer(disk.path, upstream=upstream.url) as server,
        PreloadedServer(folder / "mended", upstream=upstream.url) as witness,
    ):
        witness.stop()
        index = Index(server, disk, image, ("__token__", server.token("admin")), chance)
        for number in range(rounds):
            cut = cut_power(index, upstream, copy, uploaders=1 + number % len(PROJECTS))
            repair_image(copy)
            with loop_disk(copy, witness.root) as found, running(witness):
                counts.cuts += 1
                check(witness, found, cut, index.login, counts)
    shutil.rmtree(folder)


@contextmanager
def running(server: PreloadedServer) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


def cut_power(index: Index, upstream: FakeUpstream, copy: Path, uploaders: int) -> Cut:
    """Uploads run until one is acknowledged, which may be the second or third; then nothing more reaches the disk."""
    fetched = make_wheel(f"cold{index.made}", "1.0", files={"padding": os.urandom(100_000)}, compress=False)
    name = fetched[0].partition("-")[0]
    upstream.projects[name] = [fetched]
    assert ask(f"{index.server.url}simple/{name}/{fetched[0]}").body == fetched[1]
    probe = f"probe{index.made}"
    (index.disk.path / probe).write_bytes(os.urandom(PROBE))
    over, under_way = threading.Event(), dict[str, str]()
    cuts: list[Cut] = []

    def acknowledged(filename: str) -> None:
        with index.guard:
            index.there[filename] = under_way.pop(filename)
            if not over.is_set() and index.random.random() < 0.5:
                over.set()
                with stopped(index.server):
                    shutil.copyfile(index.image, copy)
                    cuts.append(Cut(dict(index.there), dict(under_way), fetched, probe))

    def run(project: str) -> None:
        while not over.is_set():
            filename, data = index.file(project)
            with index.guard:
                under_way[filename] = sha256(data)
            answer = upload(index.server.url, filename, data, login=index.login)
            assert answer.status == 200, f"{answer.status} {answer.reason}"
            acknowledged(filename)

    with ThreadPoolExecutor(uploaders) as pool:
        for each in [pool.submit(run, project) for project in PROJECTS[:uploaders]]:
            each.result()
    (index.disk.path / probe).unlink()
    (cut,) = cuts
    return cut


@contextmanager
def stopped(server: PreloadedServer) -> Iterator[None]:
    """None of its threads runs, and none is within a call of the system that could still write."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        until(lambda: all(state(task) == "T" for task in Path(f"/proc/{server.pid}/task").iterdir()))
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def check(witness: PreloadedServer, disk: Disk, cut: Cut, login: Login, counts: Counts) -> None:
    page = {
        filename: entry["hashes"]["sha256"]
        for project in PROJECTS
        for filename, entry in listed(witness.url, project).items()
    }
    counts.acknowledged += len(cut.there)
    for filename, digest in cut.there.items():
        counts.lost += page.pop(filename, None) != digest or sha256(body(witness, filename)) != digest
    for filename, digest in cut.under_way.items():
        counts.under_way += 1
        if filename in page:
            counts.whole += 1
            counts.half += page.pop(filename) != digest or sha256(body(witness, filename)) != digest
        else:
            project, version, *_ = filename.split("-")
            other = make_wheel(project.replace("_", "-"), version, content=b"# another build\n")
            counts.blocked += upload(witness.url, *other, login=login).status != 200
    assert not page, f"nobody uploaded {page}"
    assert body(witness, cut.fetched[0]) == cut.fetched[1]
    assert not list((disk.path / ".incoming").iterdir())
    probe = disk.path / cut.probe
    counts.probes_lost += not probe.exists() or probe.stat().st_size < PROBE
    assert counts.lost == counts.half == counts.blocked == 0, counts
    catalog = Catalog.open(disk.path)
    try:
        assert list(verify(catalog, FilesystemStorage(disk.path), settle=lambda: None)) == []
    finally:
        catalog.close()


def body(server: PreloadedServer, filename: str) -> bytes:
    project = filename.partition("-")[0].replace("_", "-")
    return ask(f"{server.url}simple/{project}/{filename}").body
