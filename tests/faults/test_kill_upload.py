"""kill -9 while uploads run: nothing acknowledged is lost, nothing else is half there, no name is blocked."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.clients import Login, ask, listed, upload
from support.packages import make_wheel, sha256
from support.preloaded import PreloadedServer
from support.server import CaseusServer

PROJECTS = ("kill-one", "kill-two", "kill-three")
LONGEST = 0.3  # seconds into the uploads


@dataclass
class Uploader:
    """Uploads file after file of one project until the server is gone."""

    project: str
    random: random.Random
    acked: dict[str, str] = field(default_factory=dict)  # filename to sha256
    cut: dict[str, str] = field(default_factory=dict)  # what got no answer
    made: int = 0

    def file(self) -> tuple[str, bytes]:
        """A wheel of 1 to 3 MB whose name was never used before."""
        self.made += 1
        return self.build(f"1.{self.made}")

    def build(self, version: str) -> tuple[str, bytes]:
        padding = self.random.randbytes(self.random.randint(1_000_000, 3_000_000))
        return make_wheel(self.project, version, files={"padding": padding}, compress=False)

    def run(self, url: str, login: Login, began: threading.Event) -> None:
        while True:
            filename, data = self.file()
            self.cut[filename] = sha256(data)
            began.set()
            try:
                answer = upload(url, filename, data, login=login)
            except OSError:
                return
            assert answer.status == 200, f"{filename}: {answer.status} {answer.reason}"
            self.acked[filename] = self.cut.pop(filename)


@dataclass
class Counts:
    acked: int = 0
    there: int = 0
    absent: int = 0


@pytest.mark.slow
def test_kill_during_upload(tmp_path: Path, rounds: int) -> None:
    root = tmp_path / "root"
    chance = random.Random(2)
    uploaders = [Uploader(project, random.Random(project)) for project in PROJECTS]
    counts = Counts()
    with PreloadedServer(root) as server:
        login = ("__token__", server.token("admin"))
        for _ in range(rounds):
            kill_within(server, uploaders, login, moment=chance.uniform(0, LONGEST))
            server.start()
            assert not list((root / ".incoming").iterdir())
            for uploader in uploaders:
                settle(server, uploader, login, counts)
        for uploader in uploaders:
            counts.acked += len(uploader.acked)
            assert page_digests(server, uploader.project) == uploader.acked
            lines = (root / "files/main" / uploader.project / "packages.jsonl").read_text().splitlines()
            assert {json.loads(line)["filename"] for line in lines} == set(uploader.acked)
        verified = server.cli("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        server.stop()
    print(f"{rounds} kills: {counts}")
    assert counts.there + counts.absent > 0  # some uploads were cut
    shutil.rmtree(root)


def kill_within(server: CaseusServer, uploaders: list[Uploader], login: Login, moment: float) -> None:
    """Run all uploaders and kill the server `moment` seconds after the first began."""
    began = threading.Event()
    with ThreadPoolExecutor(len(uploaders)) as pool:
        running = [pool.submit(uploader.run, server.url, login, began) for uploader in uploaders]
        assert began.wait(30)
        time.sleep(moment)  # no condition: any moment is a good one to die
        server.kill()
        for each in running:
            each.result()


def settle(server: CaseusServer, uploader: Uploader, login: Login, counts: Counts) -> None:
    """What was acknowledged is there; what was cut is wholly there or absent, and then its name is free at once."""
    page = page_digests(server, uploader.project)
    assert {name: page.get(name) for name in uploader.acked} == uploader.acked
    newest = list(uploader.acked)[-3:]
    for filename, digest in uploader.cut.items():
        _, version, *_ = filename.split("-")
        _, other = uploader.build(version)
        url = f"{server.url}simple/{uploader.project}/{filename}"
        if filename in page:
            counts.there += 1
            assert page[filename] == digest
            assert upload(server.url, filename, other, login=login).status == 409
            uploader.acked[filename] = digest
        else:
            counts.absent += 1
            assert ask(url).status == 404
            answer = upload(server.url, filename, other, login=login)
            assert answer.status == 200, f"{filename} is blocked: {answer.status} {answer.reason}"
            uploader.acked[filename] = sha256(other)
        newest.append(filename)
    uploader.cut.clear()
    for filename in newest:
        body = ask(f"{server.url}simple/{uploader.project}/{filename}").body
        assert sha256(body) == uploader.acked[filename]


def page_digests(server: CaseusServer, project: str) -> dict[str, str]:
    return {filename: entry["hashes"]["sha256"] for filename, entry in listed(server.url, project).items()}
