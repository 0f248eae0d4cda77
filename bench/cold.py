"""`python -m bench.cold`: the first request after a change, and from a start to its ready line."""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.stock import TREE, make_stock, wheel
from caseus.catalog import Catalog
from support.server import CaseusServer

CHANGES = 100
STARTS = 7
JSON = "application/vnd.pypi.simple.v1+json"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="caseus-cold-") as folder:
        starts(Path(folder))
        root = Path(folder) / "data"
        make_stock(root, projects=0)
        with CaseusServer(root) as server:
            for project in ("ten", "many"):
                for accept in ("text/html", JSON):
                    times = changes(root, server.port, project, accept)
                    print(f"first request after a change, {project}, {accept}: {told(times)}")
    return 0


def starts(folder: Path) -> None:
    """On an empty folder."""
    times = []
    for number in range(STARTS):
        server = CaseusServer(folder / f"empty{number}")
        begin = time.perf_counter()
        server.start()
        times.append(time.perf_counter() - begin)
        server.stop()
    print(f"start to ready, empty folder: {told(times)}")


def changes(root: Path, port: int, project: str, accept: str) -> list[float]:
    """Seconds of each."""
    filename = wheel(project, "1.0" if project == "ten" else "1.0.0")
    catalog = Catalog.open(root)
    file = catalog.find_file(TREE, filename)
    assert file is not None
    connection = http.client.HTTPConnection("127.0.0.1", port)
    times = []
    try:
        for number in range(CHANGES):
            catalog.yank([file], f"reason {number}", actor="bench")
            begin = time.perf_counter()
            connection.request("GET", f"/simple/{project}/", headers={"Accept": accept, "Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - begin)
            assert answer.status == 200
    finally:
        connection.close()
        catalog.close()
    return times


def told(times: list[float]) -> str:
    return f"p50 {1000 * statistics.median(times):.1f} ms, least {1000 * min(times):.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
