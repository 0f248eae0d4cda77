"""Full disks: 507 for what needs space, reads go on, and all is well again as soon as there is some."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.clients import Answer, Login, ask, listed, upload
from support.disks import Disk, memory_disk
from support.figures import Figures
from support.packages import make_wheel, sha256
from support.server import CaseusServer, run_cli
from support.upstream import FakeUpstream

pytestmark = pytest.mark.root

SIZE = 600_000
HERE = make_wheel("here", "1.0", files={"padding": os.urandom(SIZE)}, compress=False)
KNOWN = make_wheel("known", "1.0", files={"padding": os.urandom(SIZE)}, compress=False)
COLD = make_wheel("cold", "1.0", files={"padding": os.urandom(SIZE)}, compress=False)
ROOM = (0, 4096, 20_000, 60_000, 120_000, 300_000, SIZE, SIZE + 20_000, SIZE + 60_000)
"""Bytes that are left, so that they end in the middle of the body, beside it, in the catalog, in the lists."""


class Filled:
    """A server with a file that was published and one that was fetched; `disk` is the one to be filled."""

    def __init__(self, server: CaseusServer, upstream: FakeUpstream, disk: Disk) -> None:
        self.server, self.upstream, self.disk = server, upstream, disk
        self.login: Login = ("__token__", server.token("admin"))
        self.counts = dict.fromkeys(("uploads", "told 507", "half there"), 0)
        assert self.upload(HERE).status == 200
        assert self.file(KNOWN).status == self.file((f"{KNOWN[0]}.metadata", b"")).status == 200

    def upload(self, file: tuple[str, bytes]) -> Answer:
        return upload(self.server.url, *file, login=self.login)

    def file(self, file: tuple[str, bytes]) -> Answer:
        return ask(f"{self.server.url}simple/{file[0].partition('-')[0]}/{file[0]}")

    def try_new(self) -> None:
        """One upload of a new name: a success that lasts, or 507 and nothing of it is left."""
        self.counts["uploads"] += 1
        file = make_wheel("try", f"1.{self.counts['uploads']}", files={"padding": os.urandom(SIZE)}, compress=False)
        answer = self.upload(file)
        there = file[0] in listed(self.server.url, "try")
        assert answer.status in (200, 507), f"{answer.status} {answer.reason}, {self.disk.free} bytes free"
        self.counts["told 507"] += answer.status == 507
        self.counts["half there"] += there != (answer.status == 200)
        assert self.counts["half there"] == 0
        if answer.status == 507:
            assert "space" in answer.reason
            assert self.file(file).status == 404
        else:
            assert self.file(file).body == file[1]
        assert not list((self.server.root / ".incoming").iterdir())

    def assert_reads_go_on(self) -> None:
        for name, data in (("here", HERE), ("known", KNOWN)):
            assert listed(self.server.url, name)[data[0]]["hashes"]["sha256"] == sha256(data[1])
            assert self.file(data).body == data[1]
            assert ask(f"{self.server.url}simple/{name}/{data[0]}.metadata").status == 200
        assert ask(f"{self.server.url}livez").status == 200
        assert ask(f"{self.server.url}simple/").status == 200

    def assert_recovered(self) -> None:
        """With space again: uploads, fetches, and a catalog that took no harm, also after a start."""
        self.disk.clear()
        new = make_wheel("new", "1.0", files={"padding": os.urandom(SIZE)}, compress=False)
        assert self.upload(new).status == 200
        assert self.file(COLD).body == COLD[1]
        assert ask(f"{self.server.url}readyz").status == 200
        self.assert_sound()
        self.server.kill()
        self.server.start()
        self.assert_reads_go_on()
        assert self.file(new).body == new[1]
        self.assert_sound()

    def assert_sound(self) -> None:
        """Bytes of refused uploads may be left for `gc`, where the catalog had no space to know them."""
        told = json.loads(self.server.cli("verify", "--json").stdout)
        assert [each for each in told["damages"] if each["kind"] != "extra" or "/try/" not in each["key"]] == []
        assert told["files"] >= 3


@contextmanager
def filled(root: Path, disk: Disk) -> Iterator[Filled]:
    projects = {file[0].partition("-")[0]: [file] for file in (KNOWN, COLD)}
    with FakeUpstream(projects) as upstream, CaseusServer(root, upstream=upstream.url) as server:
        yield Filled(server, upstream, disk)
        assert "Traceback" not in server.log, server.log[-5000:]


def test_store_without_bytes(tmp_path: Path, figures: Figures) -> None:
    with memory_disk(tmp_path / "disk", size="16m") as disk, filled(disk.path / "root", disk) as here:
        for room in ROOM:
            disk.fill(leave=room)
            here.try_new()
            here.assert_reads_go_on()
            disk.fill(leave=min(room, 500_000))
            assert here.file(COLD).status == 507
            assert ask(f"{here.server.url}simple/nobody/").status in (404, 507)
        here.assert_recovered()
        figures.add("full disks", here.counts)


def test_store_without_names(tmp_path: Path, figures: Figures) -> None:
    with memory_disk(tmp_path / "disk", size="16m", inodes=200) as disk, filled(disk.path / "root", disk) as here:
        for room in range(10):
            disk.fill_inodes(leave=room)
            here.try_new()
            here.assert_reads_go_on()
            disk.clear()
        here.assert_recovered()
        figures.add("full disks", here.counts)


def test_catalog(tmp_path: Path, figures: Figures) -> None:
    """On a disk of its own: bytes find space, facts don't."""
    root = tmp_path / "root"
    root.mkdir()
    with memory_disk(tmp_path / "disk", size="2m") as disk:
        (root / "catalog.sqlite").symlink_to(disk.path / "catalog.sqlite")
        with filled(root, disk) as here:
            for room in (0, 4096, 8192, 16_384, 40_000):
                disk.fill(leave=room)
                for _ in range(3):
                    here.try_new()
                here.assert_reads_go_on()
            here.assert_recovered()
            figures.add("full disks", here.counts)


def test_temporary_folder(tmp_path: Path) -> None:
    """Nothing goes there: a full one is not even noticed."""
    with memory_disk(tmp_path / "disk", size="1m") as disk:
        disk.fill()
        environ = {name: str(disk.path) for name in ("TMPDIR", "SQLITE_TMPDIR", "TEMP", "TMP")}
        with (
            FakeUpstream({"cold": [COLD]}) as upstream,
            CaseusServer(tmp_path / "root", upstream=upstream.url, environ=environ) as server,
        ):
            login = ("__token__", server.token("admin"))
            for number in range(20):
                assert upload(server.url, *make_wheel("many", f"1.{number}"), login=login).status == 200
            assert upload(server.url, *HERE, login=login).status == 200
            assert ask(f"{server.url}simple/cold/{COLD[0]}").body == COLD[1]
            assert len(listed(server.url, "many")) == 20
            assert server.cli("verify").returncode == 0


def test_start_on_a_full_disk(tmp_path: Path) -> None:
    """SQLite needs some space to begin. That is told in a line, and is all that is missing."""
    with memory_disk(tmp_path / "disk", size="8m") as disk:
        root = disk.path / "root"
        with CaseusServer(root) as server:
            assert upload(server.url, *HERE, login=("__token__", server.token("admin"))).status == 200
        disk.fill()
        refused = run_cli("serve", root, "--port", "0", "--upstream", "none")
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
        assert "no space left" in refused.stderr.splitlines()[-1]
        disk.clear()
        with CaseusServer(root) as server:
            assert ask(f"{server.url}simple/here/{HERE[0]}").body == HERE[1]
