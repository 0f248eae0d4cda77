"""What `/metrics` tells, of one process and of several."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from caseus import __version__
from caseus.web.metrics import CONTENT_TYPE, Metrics
from support.live import Reply
from support.served import logged, world_of

SEVERAL = """
import os, sys
from pathlib import Path
from caseus.web.metrics import Metrics

metrics = Metrics(Path(sys.argv[1]))
pids = []
for worker in range(3):
    pid = os.fork()
    if not pid:
        metrics.begin()
        for _ in range(worker + 1):
            metrics.requested(200)
        metrics.reloaded(worker != 1)
        os._exit(0)
    os.waitpid(pid, 0)
    pids.append(pid)
print(metrics.text().decode())
print("====")
metrics.bury(pids[1])
print(metrics.text().decode())
"""


def figures(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^([a-z][^\s]*) ([^\s]+)$", text, re.MULTILINE)}


def test_one_process() -> None:
    metrics = Metrics()
    for status in (200, 200, 404):
        metrics.requested(status)
    told = figures(metrics.text().decode())
    assert told['caseus_requests_total{status="200"}'] == 2 and told['caseus_requests_total{status="404"}'] == 1
    assert told[f'caseus_build_info{{python="{platform.python_version()}",version="{__version__}"}}'] == 1
    assert (told["caseus_reload_success"], told["caseus_worker_deaths_total"]) == (1, 0)
    first = told["caseus_reload_timestamp_seconds"]
    metrics.reloaded(False)
    told = figures(metrics.text().decode())
    assert (told["caseus_reload_success"], told["caseus_reload_timestamp_seconds"]) == (0, first)


def test_several_processes_count_together(tmp_path: Path) -> None:
    """In a process of its own: the library looks once whether there are several."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    before, after = map(figures, done.stdout.split("===="))
    assert before['caseus_requests_total{status="200"}'] == 6 == after['caseus_requests_total{status="200"}']
    assert (before["caseus_reload_success"], after["caseus_reload_success"]) == (0, 1)
    assert (before["caseus_worker_deaths_total"], after["caseus_worker_deaths_total"]) == (0, 1)
    assert "pid" not in done.stdout


def test_the_route(tmp_path: Path) -> None:
    """Without a login, also where reading needs one; it names nothing."""
    with contextmanager(world_of)(tmp_path, read="users") as world:
        assert world.get("/simple/secret-name/").status == 401
        logged(world.log)
        answer: Reply = world.get("/metrics")
        assert (answer.status, answer["Content-Type"], answer["Cache-Control"]) == (200, CONTENT_TYPE, "no-store")
        assert figures(answer.body.decode())['caseus_requests_total{status="401"}'] == 1
        assert b"secret-name" not in answer.body
        assert world.server.request("POST", "/metrics", body=b"").status == 405
