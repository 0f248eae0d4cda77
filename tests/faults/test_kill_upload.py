"""kill -9 while uploads run: nothing acknowledged is lost, nothing else is half there, no name is blocked."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.clients import Login, ask, listed, upload
from support.figures import Figures
from support.packages import make_wheel, sha256
from support.preloaded import PreloadedServer
from support.server import CaseusServer

PROJECTS = ("kill-one", "kill-two", "kill-three")
LONGEST = 0.3  # seconds into the uploads
SHORT = 0.02  # seconds after an answer
SERIES = 50  # kills of one index, before it is as large as slows its pages down


@dataclass
class Uploader:
    """Uploads file after file of one project until the server is gone."""

    project: str
    random: random.Random
    there: dict[str, str] = field(default_factory=dict)  # filename to sha256
    cut: dict[str, str] = field(default_factory=dict)  # what got no answer
    acknowledged: int = 0  # while it was to be killed
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
            self.there[filename] = self.cut.pop(filename)
            self.acknowledged += 1


@dataclass
class Counts:
    """The last three must stay zero: acknowledged and not there, or cut and something in between."""

    rounds: int = 0
    acknowledged: int = 0
    cut: int = 0
    cut_and_whole: int = 0
    lost: int = 0
    half: int = 0
    blocked: int = 0

    def told(self) -> dict[str, int]:
        return {
            "kills": self.rounds,
            "uploads acknowledged": self.acknowledged,
            "of them lost": self.lost,
            "uploads cut": self.cut,
            "of them wholly there": self.cut_and_whole,
            "of them half there": self.half,
            "names blocked": self.blocked,
        }


@pytest.mark.slow
def test_kill_during_upload(tmp_path: Path, rounds: Callable[[int, int], int], figures: Figures) -> None:
    chance, counts, left = random.Random(2), Counts(), rounds(25, 500)
    while left:
        kill_again_and_again(tmp_path / "root", min(SERIES, left), chance, counts)
        left -= min(SERIES, left)
    figures.add("kill -9 during uploads", counts.told())
    assert counts.cut > 0
    assert counts.lost == counts.half == counts.blocked == 0


def kill_again_and_again(root: Path, rounds: int, chance: random.Random, counts: Counts) -> None:
    """One index from its first start on."""
    uploaders = [Uploader(project, random.Random(project)) for project in PROJECTS]
    with PreloadedServer(root) as server:
        login = ("__token__", server.token("admin"))
        for number in range(rounds):
            least = chance.randrange(1, 7) if number % 2 else 0
            kill_within(server, uploaders, login, least, moment=chance.uniform(0, SHORT if least else LONGEST))
            counts.rounds += 1
            server.start()
            assert not list((root / ".incoming").iterdir())
            for uploader in uploaders:
                settle(server, uploader, login, counts)
        counts.acknowledged += answers(uploaders)
        for uploader in uploaders:
            assert page_digests(server, uploader.project) == uploader.there
            lines = (root / "files/main" / uploader.project / "packages.jsonl").read_text().splitlines()
            assert {json.loads(line)["filename"] for line in lines} == set(uploader.there)
        verified = server.cli("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        server.stop()
    shutil.rmtree(root)


def kill_within(server: CaseusServer, uploaders: list[Uploader], login: Login, least: int, moment: float) -> None:
    """Run all uploaders; kill the server `moment` seconds after the first began and `least` answers came."""
    began, before = threading.Event(), answers(uploaders)
    with ThreadPoolExecutor(len(uploaders)) as pool:
        running = [pool.submit(uploader.run, server.url, login, began) for uploader in uploaders]
        assert began.wait(30)
        while answers(uploaders) - before < least and not any(each.done() for each in running):
            time.sleep(0.001)  # between two looks
        time.sleep(moment)  # no condition: any moment is a good one to die
        server.kill()
        for each in running:
            each.result()


def answers(uploaders: list[Uploader]) -> int:
    return sum(uploader.acknowledged for uploader in uploaders)


def settle(server: CaseusServer, uploader: Uploader, login: Login, counts: Counts) -> None:
    """What was acknowledged is there; what was cut is wholly there or absent, and then its name is free at once."""
    page = page_digests(server, uploader.project)
    counts.lost += sum(page.get(name) != digest for name, digest in uploader.there.items())
    newest = list(uploader.there)[-3:]
    for filename, digest in uploader.cut.items():
        _, version, *_ = filename.split("-")
        _, other = uploader.build(version)
        url = f"{server.url}simple/{uploader.project}/{filename}"
        counts.cut += 1
        if filename in page:
            counts.cut_and_whole += 1
            counts.half += page[filename] != digest
            assert upload(server.url, filename, other, login=login).status == 409
            uploader.there[filename] = digest
        else:
            counts.half += ask(url).status != 404
            answer = upload(server.url, filename, other, login=login)
            counts.blocked += answer.status != 200
            uploader.there[filename] = sha256(other)
        newest.append(filename)
    uploader.cut.clear()
    for filename in newest:
        body = ask(f"{server.url}simple/{uploader.project}/{filename}").body
        assert sha256(body) == uploader.there[filename]
    assert counts.lost == counts.half == counts.blocked == 0, counts


def page_digests(server: CaseusServer, project: str) -> dict[str, str]:
    return {filename: entry["hashes"]["sha256"] for filename, entry in listed(server.url, project).items()}
