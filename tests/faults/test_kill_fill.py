"""kill -9 while files are fetched from an upstream: no partial file is served, then or later, and none is left."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from support.clients import Answer, ask
from support.figures import Figures
from support.packages import make_wheel
from support.preloaded import PreloadedServer
from support.server import CaseusServer
from support.upstream import FakeUpstream, Fault

CLIENTS = 3
LONGEST = 0.1  # seconds into the fill


@pytest.mark.slow
def test_kill_during_fill(tmp_path: Path, rounds: Callable[[int, int], int], figures: Figures) -> None:
    root, chance, outcomes, kills = tmp_path / "root", random.Random(3), Counter[str](), rounds(25, 200)
    with FakeUpstream() as upstream, PreloadedServer(root, upstream=upstream.url) as server:
        for number in range(kills):
            name = f"cold{number}"
            padding = chance.randbytes(chance.randint(100_000, 2_000_000))
            filename, data = make_wheel(name, "1.0", files={"padding": padding}, compress=False)
            upstream.projects[name] = [(filename, data)]
            url = f"simple/{name}/{filename}"
            gate = threading.Event()
            if number % 2:  # the upstream stops somewhere; else it goes on, and the file may be whole
                after = chance.randrange(len(data))
                upstream.fail(Fault("slow", after=after, gate=gate), upstream.file_path(name, filename))
            for answer in downloads(server, upstream, name, filename, moment=chance.uniform(0, LONGEST)):
                outcomes[judge(answer, data)] += 1
            gate.set()
            upstream.heal()
            for stored in root.glob(f"fetched/*/{name}/{filename}"):
                assert stored.read_bytes() == data
            server.start()
            assert leftovers(root) == []
            again = ask(server.url + url)
            assert again.status == 200 and again.whole and again.body == data
            wait_until_empty(root)
        verified = server.cli("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        server.stop()
    told = ("whole", "cut, and seen to be cut", "without an answer", "wrong, or short as if whole")
    figures.add("kill -9 during fills", {"kills": kills} | {f"downloads {word}": outcomes[word] for word in told})
    assert outcomes[told[1]] + outcomes[told[2]] > 0
    assert outcomes[told[3]] == 0
    shutil.rmtree(root)


def downloads(
    server: CaseusServer, upstream: FakeUpstream, name: str, filename: str, moment: float
) -> list[Answer | None]:
    """What the clients got of the file while the server was killed `moment` seconds after the fill began."""

    def download() -> Answer | None:
        try:
            return ask(f"{server.url}simple/{name}/{filename}")
        except OSError:
            return None

    with ThreadPoolExecutor(CLIENTS) as pool:
        running: list[Future[Answer | None]] = [pool.submit(download) for _ in range(CLIENTS)]
        upstream.wait_for(upstream.file_path(name, filename))
        time.sleep(moment)  # no condition: any moment is a good one to die
        server.kill()
        return [each.result() for each in running]


def judge(answer: Answer | None, data: bytes) -> str:
    if answer is None:
        return "without an answer"
    assert answer.status == 200, f"{answer.status} {answer.reason}"
    if answer.body == data and answer.whole:
        return "whole"
    if data.startswith(answer.body) and not answer.whole:
        return "cut, and seen to be cut"
    return "wrong, or short as if whole"


def leftovers(root: Path) -> list[str]:
    """What lies where fills are under way."""
    fill = root / ".fill"
    return [str(path.relative_to(fill)) for path in fill.rglob("*") if path.is_file()] if fill.exists() else []


def wait_until_empty(root: Path) -> None:
    deadline = time.monotonic() + 10
    while left := leftovers(root):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.01)
