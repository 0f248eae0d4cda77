"""Four processes publish the same names and are killed at every step: what DESIGN's upload protocol promises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from caseus.errors import Busy, Conflict
from caseus.verify import verify
from faults.upload_worker import LEASE, PROJECTS, build, open_publisher
from support.forms import form_for
from support.packages import sha256

KILLS = 12
LIMIT = 300.0  # seconds: only a machine that does nothing else for us needs so many


def test_processes_killed_at_each_step_lose_nothing_and_block_nothing(tmp_path: Path) -> None:
    run_workers(tmp_path)
    time.sleep(LEASE)  # the leases of the dead end by the clock alone
    catalog, store, publisher = open_publisher(tmp_path)
    try:
        acknowledged: dict[str, set[str]] = defaultdict(set)
        for line in (tmp_path / "acknowledged").read_text().splitlines():
            filename, digest = line.split()
            acknowledged[filename].add(digest)
        rows = {file.filename: file.sha256 for file in catalog.all_hosted()}
        assert len(acknowledged) > PROJECTS // 2
        assert all(len(digests) == 1 for digests in acknowledged.values())
        assert {name: {rows[name]} for name in acknowledged} == acknowledged
        # Bytes that no row knows are all that a kill may leave, and lists that the next start writes.
        assert {damage.kind for damage in verify(catalog, store, settle=lambda: None)} <= {"extra", "outdated"}
        for project in range(PROJECTS):
            filename, data = build(project, 9)
            staged = publisher.stage()
            staged.write(data)
            form = form_for(f"p{project}", "1.0", filename, data)
            try:
                outcome = publisher.publish(staged, form, filename=filename, signature=None, actor="after")
                assert outcome == "published" and filename not in acknowledged
            except Conflict:
                assert filename in rows and rows[filename] != sha256(data)
            except Busy as error:
                raise AssertionError(f"{filename} is blocked") from error
            finally:
                staged.close()
        assert catalog.check_journal() == []
    finally:
        catalog.close()


def run_workers(root: Path) -> None:
    """Keep four workers alive until KILLS of them were killed, then let the others finish."""
    worker = Path(__file__).with_name("upload_worker.py")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    end, kills, seed = time.monotonic() + LIMIT, 0, 0
    workers: list[subprocess.Popen[bytes]] = []
    while workers or kills < KILLS:
        assert time.monotonic() < end, f"{kills} kills"
        for process in [process for process in workers if process.poll() is not None]:
            assert process.returncode in (0, -signal.SIGKILL), process.returncode
            kills += process.returncode == -signal.SIGKILL
            workers.remove(process)
        while len(workers) < 4 and kills < KILLS:
            seed += 1
            command = [sys.executable, str(worker), str(root), "5", str(seed)]
            workers.append(subprocess.Popen(command, env=environment))
        time.sleep(0.01)
