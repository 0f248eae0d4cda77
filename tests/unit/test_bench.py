"""The benchmark's own logic: what it reads of wrk, how it judges, what it writes, and that it leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import bench.__main__
import pytest
from bench import page, reads, uploads
from bench.load import Load, read, wrk
from bench.parts import PARTS
from bench.peers import Peer, PeerError, free_port, processes, running
from bench.results import Goal, Part, Row, Run, at_least, at_most, within

from support.faulty import until

WRK = """\
Running 2s test @ http://127.0.0.1:1/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   188.08us  290.10us  11.33ms   97.93%
  Latency Distribution
     50%  151.00us
     99%    1.04ms
  8000 requests in 2.00s, 1.50MB read
Requests/sec:   4000.00
"""


def test_what_wrk_says() -> None:
    assert read("x", WRK, 0.4) == pytest.approx(Load(rate=4000, cpu=0.00005, p99=0.00104))


@pytest.mark.parametrize(
    "output", ["unable to connect", WRK + "  Non-2xx or 3xx responses: 8\n", WRK.replace("8000 requests", "0 requests")]
)
def test_without_answers_there_is_no_figure(output: str) -> None:
    with pytest.raises(PeerError, match="proxpi, /simple/: wrk says"):
        read("proxpi, /simple/", output, 0.1)


def test_goals() -> None:
    assert at_least(1.2, 1.2, "that") == Goal("≥ 1.2 × that", "1.2", True)
    assert not at_least(1.2, 1.19, "that").met
    assert at_most(2, 2, "that").met and not at_most(2, 2.01, "that").met
    assert within(25, 31.44, "ms") == Goal("≤ 25 ms", "31.4 ms", False)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours = [Load(rate, 1e-5, 1e-3) for rate in (100.0, 900.0, 120.0)]
    theirs = [Load(rate, 2e-5, 1e-3) for rate in (50.0, 300.0, 100.0)]
    case = reads.TEN._replace(of_peers=1.5)
    told = reads.row(case, {"caseus": ours, "nginx": theirs, "proxpi": theirs[:1], "devpi": [Load(80.0, 1e-4, 1.0)]})
    assert told.figures["caseus"] == "120/s, 10 µs, 1 ms"
    assert [(goal.found, goal.met) for goal in told.goals] == [("2", True), ("0.5", True), ("1", True), ("1.25", False)]
    assert "devpi" in told.goals[-1].wanted  # the best of them


def test_how_the_rate_of_uploads_changes_in_a_round() -> None:
    ends = [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    assert uploads.Round(8.0, [], ends, 0.0).quarters == (4.0, 2 / 3)


def test_a_client_of_its_own_begins_when_it_is_told() -> None:
    begin = time.perf_counter()
    clients = [uploads._Client(lambda: [time.perf_counter()]) for _ in range(2)]
    told = time.perf_counter()
    for client in clients:
        client.begin()
    for client in clients:
        result = client.result()
        assert begin < told < result.latencies[0] < result.end < time.perf_counter()
    failing = uploads._Client(lambda: [][1])
    failing.begin()
    with pytest.raises(PeerError):
        failing.result()


def test_the_page_has_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PARTS", {"first": Part("First part", "How.", lambda run: iter(()))})
    rows = [
        Row("a | b", {"caseus": "1 s", "nginx": "2 s"}, (Goal("≤ 1 s", "1 s", True), Goal("≤ 2 × x", "3", False))),
        Row("c", {"proxpi": "9 s"}),
    ]
    text = page.page({"first": rows})
    assert "1 of 2 goals" in text
    assert "| First part | a / b | ≤ 1 s | 1 s | reached |\n| First part | a / b | ≤ 2 × x | 3 | **missed** |" in text
    assert "## First part\n\nHow.\n\n|  | caseus | nginx | proxpi |" in text
    assert "| a / b | 1 s | 2 s | – |\n| c | – | – | 9 s |" in text
    for name in ("nginx", "wrk", "uv", "proxpi", "processor", "Python"):
        assert f"\n| {name} | " in text
    assert "$" not in text


def test_a_server_that_does_not_start_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such flag'); raise SystemExit(3)"]
    with (
        pytest.raises(PeerError, match=r"broken ended with 3; its last lines:\nno such flag"),
        running("broken", command, free_port(), tmp_path),
    ):
        pass


def test_a_server_is_ended_with_its_children(tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import os, signal, subprocess, sys\nfrom http.server import HTTPServer, SimpleHTTPRequestHandler\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"  # leaves its child behind
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "HTTPServer(('127.0.0.1', int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()\n"
    )
    found: list[int] = []

    def use() -> None:
        with running("parent", [sys.executable, "-c", code, str(port)], port, tmp_path) as server:
            found.extend(processes(server.pid))
            assert server.memory() > 5
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert len(found) == 2
    until(lambda: not any(map(_runs, found)))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


class _Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Accept"] == "text/html" else 406)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_wrk_itself(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
            with process:
                peer = Peer("hello", server.server_port, process.pid)
                load = wrk(peer, "/", {"Accept": "text/html"}, seconds=1, connections=2)
                assert load.rate > 1 and 0 < load.p99 < 10
                with pytest.raises(PeerError, match="Non-2xx"):
                    wrk(peer, "/", {"Accept": "text/plain"}, seconds=1, connections=2)
                process.communicate(b"\n")
        finally:
            server.shutdown()


def test_some_parts_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    seen: list[Run] = []

    def rows(run: Run) -> Iterator[Row]:
        assert run.folder.is_dir()
        seen.append(run)
        run.tell("now")
        yield Row("it", {"caseus": "3 ms"}, (within(2, 3, "ms"),))

    monkeypatch.setitem(PARTS, "cold", Part("Cold", "How.", rows))
    target = tmp_path / "page.md"
    assert bench.__main__.main(["--quick", "--only", "cold", "--output", str(target)]) == 0
    assert "missed" in capsys.readouterr().out and "**missed**" in target.read_text()
    (run,) = seen
    assert run.quick and not run.folder.exists()
    monkeypatch.setattr(bench.__main__, "PAGE", tmp_path / "whole.md")
    assert bench.__main__.main(["--only", "cold"]) == 0
    assert not seen[-1].quick and not (tmp_path / "whole.md").exists()  # only a whole run writes it
    with pytest.raises(SystemExit):
        bench.__main__.main(["--only", "cold,hot"])
    assert "no part hot: there are reads, " in capsys.readouterr().err
