"""Several workers: what one is told all know, who dies is replaced, and they end in as good order as one process."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from support.clients import Shell, installed, listed, upload, write
from support.faulty import until
from support.packages import make_wheel, sha256
from support.publishers import publish
from support.raw import Raw
from support.server import COMMAND, CaseusServer, clean_environment
from support.workers import hang_up, lines_to_all, metric

Start = Callable[..., CaseusServer]

SLOW = make_wheel("slow", "1.0", files={"padding": random.Random(7).randbytes(50 << 20)}, compress=False)


@pytest.fixture
def four() -> Iterator[CaseusServer]:
    with CaseusServer(flags=("--workers", "4")) as server:
        yield server


def is_alive(pid: int) -> bool:
    """And no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def mapped(server: CaseusServer) -> int:
    return int.from_bytes((server.root / "serial").read_bytes()[:8], "little")


def committed(server: CaseusServer) -> int:
    with closing(sqlite3.connect(server.root / "catalog.sqlite")) as connection:
        return int(connection.execute("SELECT value FROM counters WHERE name = 'serial'").fetchone()[0])


# One index


def test_a_release_is_seen_by_every_worker_at_the_next_request(four: CaseusServer) -> None:
    with lines_to_all(four) as lines:
        assert len(lines) == 3 and four.publisher not in {line.worker for line in lines}
        for number in range(25):
            filename, data = make_wheel("acme", f"1.{number}")
            assert upload(four.url, filename, data, login=four.admin).status == 200
            for line in lines:
                files = json.loads(line.begin("/simple/acme/").read())["files"]
                assert filename in {file["filename"] for file in files}
        assert four.cli("project", "delete", "acme", "--yes").returncode == 0
        for line in lines:
            assert json.loads(line.begin("/simple/acme/").read())["files"] == []


def test_tokens_are_revoked_in_every_worker(start_caseus: Start) -> None:
    server = start_caseus(flags=("--workers", "3", "--read", "users"))
    token = ("__token__", server.token("admin", "read"))
    with lines_to_all(server) as lines:
        assert [line.status("/simple/", token) for line in lines] == [200] * 2
        assert upload(server.url, *make_wheel("acme", "1.0"), login=token).status == 403
        assert server.cli("token", "revoke", token[1]).returncode == 0
        assert [line.status("/simple/", token) for line in lines] == [401] * 2
        assert upload(server.url, *make_wheel("acme", "1.0"), login=token).status == 401


def test_real_clients(four: CaseusServer, tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    files = write(tmp_path / "dist", *(make_wheel("acme-app", f"1.{number}") for number in range(8)))
    publish(shell, "twine", f"{four.url}legacy/", four.admin, files).ok()
    for client in ("pip", "uv"):
        shell.install(client, f"{four.url}simple/", "acme-app", into=tmp_path / client).ok()
        assert installed(tmp_path / client) == {"acme-app": "1.7"}


def test_commands_and_logs_are_those_of_one_server(four: CaseusServer) -> None:
    with lines_to_all(four) as lines:
        for number, line in enumerate(lines):
            assert line.status(f"/simple/project-{number}/") == 404
        info = json.loads(four.cli("info", "--json").stdout)
        assert info["in_use"] is True
        assert four.cli("verify").returncode == 0
        assert metric(four, 'caseus_requests_total{status="404"}') == 3
    four.stop()
    entries = [json.loads(line) for line in four.log.splitlines() if line.startswith("{")]
    paths = {entry["path"] for entry in entries if entry["event"] == "request"}
    assert {f"/simple/project-{number}/" for number in range(3)} <= paths
    assert four.log.count("user `admin` was made") == 1
    assert json.loads(four.cli("info", "--json").stdout)["in_use"] is False


def test_the_most_connections_are_shared_out(start_caseus: Start) -> None:
    server = start_caseus(flags=("--workers", "3", "--max-clients", "6"))
    connections = [Raw(server.port) for _ in range(20)]
    statuses = []
    for connection in connections:
        connection.send(b"GET /simple/ HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.answer()
        statuses.append(answer.status if answer is not None else None)
    assert statuses.count(200) == 4 and set(statuses) <= {200, 503, None}
    for connection in connections:
        connection.close()


# Deaths


def test_a_kill_between_commit_and_the_mapped_serial(four: CaseusServer, tmp_path: Path) -> None:
    """Nobody answered for the change; whoever asks later sees it in all workers all the same, and no page is torn."""
    (path,) = write(tmp_path, make_wheel("acme", "2.0"))
    assert upload(four.url, *make_wheel("acme", "1.0"), login=four.admin).status == 200
    for number in range(3):
        with lines_to_all(four) as lines:
            for line in lines:
                assert line.status("/simple/acme/") == 200  # they have the page ready
            before = committed(four)
            assert mapped(four) == before
            (path,) = write(tmp_path, make_wheel("acme", f"2.{number}"))
            environ = clean_environment({"PYTHONPATH": str(Path(__file__).parents[1])})
            script = Path(__file__).with_name("dying_publisher.py")
            told = [sys.executable, str(script), str(four.root), "acme", f"2.{number}", str(path)]
            done = subprocess.run(told, env=environ, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == -signal.SIGKILL, done.stderr
            assert committed(four) == before + 1
            until(lambda expected=before + 1: mapped(four) == expected)  # type: ignore[misc]
            for line in lines:
                assert path.name in line.begin("/simple/acme/").read().decode()
    assert upload(four.url, *make_wheel("acme", "3.0"), login=four.admin).status == 200
    assert four.cli("verify").returncode == 0  # the lists beside the files were made good, too


def test_kill_9_under_load(four: CaseusServer) -> None:
    """No acknowledged upload is lost, and no connection of another worker notices."""
    assert upload(four.url, *SLOW, login=four.admin).status == 200
    over = threading.Event()
    acked: dict[str, str] = {}
    failed: list[str] = []

    def publish_many(who: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            filename, data = make_wheel(f"acme-{who}", f"1.{number}")
            try:
                status = upload(four.url, filename, data, login=four.admin).status
            except OSError:
                failed.append(filename)
                continue
            if status == 200:
                acked[filename] = sha256(data)

    with lines_to_all(four) as lines:
        spared = {line.worker: (line, line.begin(f"/simple/slow/{SLOW[0]}")) for line in lines}
        digests = {worker: hashlib.sha256(answer.read(1 << 20)) for worker, (_, answer) in spared.items()}
        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(publish_many, who) for who in range(3)]
            try:
                reader: int | None = lines[0].worker
                for number in range(4):
                    so_far = len(acked)
                    until(lambda so_far=so_far: len(acked) >= so_far + 5)  # type: ignore[misc]
                    publisher = four.publisher
                    victim = publisher if number % 2 else reader
                    assert victim is not None
                    os.kill(victim, signal.SIGKILL)
                    until(lambda gone=victim: gone not in four.workers and len(four.workers) == 4)  # type: ignore[misc]
                    if victim == reader:
                        (reader,) = set(four.workers) - set(spared) - {publisher}
            finally:
                over.set()
            for each in running:
                each.result()
        for worker, (line, answer) in spared.items():
            if worker == lines[0].worker:
                continue
            while chunk := answer.read(1 << 20):
                digests[worker].update(chunk)
            assert digests[worker].hexdigest() == sha256(SLOW[1])
            assert line.status("/livez") == 200
    for who in range(3):
        page = {name: entry["hashes"]["sha256"] for name, entry in listed(four.url, f"acme-{who}").items()}
        mine = {name: digest for name, digest in acked.items() if name.startswith(f"acme_{who}-")}
        assert mine.items() <= page.items()
    for filename in failed[:5]:  # nobody is in the way of who tries again
        name, version = filename.split("-")[:2]
        again = make_wheel(name.replace("_", "-"), version)
        assert upload(four.url, *again, login=four.admin).status in (200, 503)
    assert metric(four, "caseus_worker_deaths_total") == 4
    assert four.log.count("a worker died, and is replaced") == 4
    four.stop()
    damages = json.loads(four.cli("verify", "--json").stdout)["damages"]
    assert {damage["kind"] for damage in damages} <= {"extra"}  # bytes of uploads that died and were never answered


def test_workers_that_die_at_once_end_the_server(tmp_path: Path) -> None:
    server = CaseusServer(tmp_path / "root", flags=("--workers", "2")).start()
    assert server.process is not None
    with lines_to_all(server) as lines:
        assert upload(server.url, *make_wheel("acme", "1.0"), login=server.admin).status == 200
        (server.root / "catalog.sqlite").rename(server.root / "moved.sqlite")
        os.kill(lines[0].worker, signal.SIGKILL)
        assert server.process.wait(60) == 1
    server.kill()
    *_, last = server.log.splitlines()
    assert last.startswith("caseus: error: workers die as soon as they are started (exit code 1)")
    reasons = [json.loads(line)["reason"] for line in server.log.splitlines() if "could not start" in line]
    assert len(reasons) == 5 and all("the catalog of" in reason for reason in reasons)
    pauses = [json.loads(line)["pause"] for line in server.log.splitlines() if "is replaced" in line]
    assert pauses == sorted(pauses) and len(pauses) == 5 and pauses[0] == 0
    assert "Traceback" not in server.log


def test_workers_end_when_the_supervisor_is_gone(tmp_path: Path) -> None:
    """They finish what runs first."""
    server = CaseusServer(tmp_path / "root", flags=("--workers", "2")).start()
    assert server.process is not None
    assert upload(server.url, *SLOW, login=server.admin).status == 200
    workers = server.workers
    with lines_to_all(server) as lines:
        answers = [line.begin(f"/simple/slow/{SLOW[0]}") for line in lines]
        server.process.kill()
        server.process.wait(60)
        for answer in answers:
            assert sha256(answer.read()) == sha256(SLOW[1])
    until(lambda: not any(map(is_alive, workers)))
    assert server.process.stdout is not None
    server.process.stdout.close()


def test_a_worker_that_is_ended_by_hand_is_replaced(four: CaseusServer) -> None:
    first = four.workers[0]
    os.kill(first, signal.SIGTERM)
    until(lambda: first not in four.workers and len(four.workers) == 4)
    with lines_to_all(four) as lines:
        assert [line.status("/livez") for line in lines] == [200] * 3


# Ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_lets_what_runs_finish(tmp_path: Path, number: signal.Signals) -> None:
    """As systemd and terminals send it: to the supervisor and to each worker, who gets another one from the former."""
    command = ("setsid", *COMMAND)
    with CaseusServer(tmp_path / "root", flags=("--workers", "3"), command=command) as server:
        assert server.process is not None
        assert upload(server.url, *SLOW, login=server.admin).status == 200
        children = server.workers
        assert len(children) == 3
        connections = []
        for _ in range(12):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            connection.sendall(f"GET /simple/slow/{SLOW[0]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(100_000, socket.MSG_PEEK)
            connections.append(connection)
        os.killpg(server.pid, number)
        until_refused(server.port)
        for worker in children:  # and again, when they have begun to stop
            os.kill(worker, number)
        for connection in connections:
            with connection, connection.makefile("rb") as answer:
                head = b"".join(iter(answer.readline, b"\r\n"))
                assert head.startswith(b"HTTP/1.1 200 ")
                assert sha256(answer.read(len(SLOW[1]))) == sha256(SLOW[1])
        assert server.process.wait(60) == 0
        assert not any(map(is_alive, children))


def test_the_grace_time_is_the_limit_for_workers_too(start_caseus: Start) -> None:
    server = start_caseus(flags=("--workers", "2", "--grace", "1"))
    assert server.process is not None
    assert upload(server.url, *SLOW, login=server.admin).status == 200
    with lines_to_all(server) as lines:
        for line in lines:
            line.begin(f"/simple/slow/{SLOW[0]}").read(1)  # and no more
        workers = server.workers
        os.kill(server.pid, signal.SIGTERM)
        assert server.process.wait(30) == 0
    assert not any(map(is_alive, workers)) and "Traceback" not in server.log


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_all_at_once(start_caseus: Start, second: signal.Signals) -> None:
    server = start_caseus(flags=("--workers", "2", "--grace", "1h"))
    assert server.process is not None
    assert upload(server.url, *SLOW, login=server.admin).status == 200
    with lines_to_all(server) as lines:
        for line in lines:
            line.begin(f"/simple/slow/{SLOW[0]}").read(1)
        workers = server.workers
        os.kill(server.pid, signal.SIGTERM)
        until_refused(server.port)
        os.kill(server.pid, second)
        assert server.process.wait(30) == 128 + second
    until(lambda: not any(map(is_alive, workers)))


def test_a_worker_that_hangs_holds_up_no_reload_and_no_end(start_caseus: Start) -> None:
    server = start_caseus(flags=("--workers", "2", "--grace", "1"))
    assert server.process is not None
    stopped, other = server.workers
    os.kill(stopped, signal.SIGSTOP)
    before = server.log.count('"event": "reloaded"')
    for _ in range(3):
        os.kill(server.pid, signal.SIGHUP)
        until(lambda before=before: server.log.count('"event": "reloaded"') > before)  # type: ignore[misc]
        before = server.log.count('"event": "reloaded"')
    os.kill(server.pid, signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert not is_alive(stopped) and not is_alive(other)
    assert "killed workers that did not end within the grace time" in server.log


def test_memory_and_start_of_workers(four: CaseusServer) -> None:
    """A worker is forked: what it has beyond the supervisor is its own."""
    hang_up(four)
    for pid in four.workers:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        proportional = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        assert proportional < 80 << 10  # KiB


def until_refused(port: int) -> None:
    """Until it listens no more."""

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        except ConnectionError:
            return True
        return False

    until(refused)
