"""The fast lane of a real process: what it costs where clients are slow, how it ends, what it logs."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from caseus.catalog import Catalog
from support.clients import upload
from support.lanes import answer, get, many_files
from support.packages import make_wheel
from support.raw import LIVE, Raw, connected, request
from support.server import CaseusServer

HUGE, HUGE_DATA = make_wheel("huge", "1.0", content=bytes(range(256)) * 36_000, compress=False)
PAGE, FILE = "/simple/many/", f"/simple/huge/{HUGE}"
MIB = 1 << 20


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a page of megabytes, and a file of 9 MB."""
    root = tmp_path_factory.mktemp("stock") / "data"
    root.mkdir()
    with closing(Catalog.open(root)) as catalog:
        catalog.writer.write(many_files)
        catalog.listed = catalog.serial()
    with CaseusServer(root) as server:
        assert upload(server.url, HUGE, HUGE_DATA, login=server.admin).status == 200
    return root


@pytest.fixture
def start(stock: Path, tmp_path: Path) -> Iterator[Callable[..., CaseusServer]]:
    """Starts a server on a copy of it; what is asked for is ready."""
    with ExitStack() as stack:

        def started(*flags: str) -> CaseusServer:
            root = shutil.copytree(stock, tmp_path / "data")
            server = stack.enter_context(CaseusServer(root, flags=flags))
            warm(server, get(PAGE), get(FILE))
            return server

        yield started


def warm(server: CaseusServer, *requests: bytes) -> None:
    with connected(server.port) as raw:
        for data in requests:
            for _ in range(6):
                answer(raw, data)


def memory(server: CaseusServer) -> int:
    """Bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def slow_reader(server: CaseusServer) -> Raw:
    """One for which the system keeps little."""
    raw = Raw(server.port)
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    return raw


def log_lines(server: CaseusServer) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "request" and line["method"] != "POST"]


@pytest.mark.parametrize(("target", "each"), [(PAGE, 0.1 * MIB), (FILE, 0.4 * MIB)])
def test_slow_readers_cost_little(start: Callable[..., CaseusServer], target: str, each: float) -> None:
    """Who takes nothing holds a reference to the page, or a piece of the file: not megabytes of their own."""
    server = start()
    before = memory(server)
    count = 100
    with ExitStack() as stack:
        for _ in range(count):
            raw = slow_reader(server)
            stack.callback(raw.close)
            raw.send(get(target))
            assert raw.socket.recv(1, socket.MSG_PEEK)  # it goes out
        with connected(server.port) as good:
            for _ in range(50):
                assert good.is_open()
            assert len(answer(good, get(target)).body) > 2 * MIB
        grown = memory(server) - before
    print(f"{grown / count / MIB:.3f} MiB for each")
    assert grown < count * each


@pytest.mark.parametrize("target", [PAGE, FILE])
def test_a_stop_waits_until_slow_clients_have_all_of_it(start: Callable[..., CaseusServer], target: str) -> None:
    server = start("--grace", "60")
    with connected(server.port) as raw:
        whole = answer(raw, get(target)).body
    with ExitStack() as stack:
        readers = []
        for _ in range(5):
            readers.append(raw := slow_reader(server))
            stack.callback(raw.close)
            raw.send(get(target))
            assert raw.socket.recv(1, socket.MSG_PEEK)  # it goes out
        assert server.process is not None
        server.process.terminate()
        while is_listening(server):
            time.sleep(0)
        for raw in readers:
            got = raw.answer()
            assert got is not None and got.body == whole
            assert raw.answer() is None
    server.process.wait(60)
    assert server.process.returncode == 0
    lines = [line for line in log_lines(server) if line["path"] == target]
    assert [line["bytes"] for line in lines[-5:]] == [len(whole)] * 5


def is_listening(server: CaseusServer) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:  # closed while this connection waited to be accepted
        pass
    return True


def test_what_the_grace_time_ends_is_logged(start: Callable[..., CaseusServer]) -> None:
    server = start("--grace", "0.5")
    with ExitStack() as stack:
        raw = slow_reader(server)
        stack.callback(raw.close)
        raw.send(get(FILE))
        assert raw.socket.recv(1, socket.MSG_PEEK)
        server.stop()
    line = log_lines(server)[-1]
    assert (line["path"], line["status"], line["failure"]) == (FILE, 200, "the server stopped")
    assert 0 < line["bytes"] < len(HUGE_DATA)


def test_lines_are_as_others(tmp_path: Path) -> None:
    """Each request has one, of the same keys in the same order, whoever answered it."""
    with CaseusServer(tmp_path / "data") as server:
        name, data = make_wheel("acme", "1.0")
        assert upload(server.url, name, data, login=server.admin).status == 200
        wishes = [get("/simple/acme/?format=text/html&key=secret"), get(f"/simple/acme/{name}"), LIVE]
        wishes.append(request("HEAD", "/simple/acme/"))
        before = len(log_lines(server))
        with connected(server.port) as raw:
            answers = [answer(raw, wish) for _ in range(100) for wish in wishes]
        while len(log_lines(server)) < before + 400:
            time.sleep(0)
        lines = log_lines(server)[before:]
    lines.sort(key=lambda line: (line["method"], line["path"]))  # a file's line comes when the file is closed
    told = [(line["path"].partition("?")[0], line["status"], line["bytes"]) for line in lines]
    asked = [
        (wish.split()[1].decode().partition("?")[0], a.status, len(a.body))
        for wish, a in zip(wishes * 100, answers, strict=True)
    ]
    assert sorted(told) == sorted(asked)
    assert len({tuple(line) for line in lines}) == 1 and len({line["request_id"] for line in lines}) == 400
    for index in range(4):
        cold, *_, hot = lines[100 * index : 100 * index + 100]
        changing = ("duration_ms", "request_id", "timestamp", "cache")
        assert [cold[key] for key in cold if key not in changing] == [hot[key] for key in hot if key not in changing]
    assert "secret" not in server.log
    stamps = [line["timestamp"] for line in lines]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", stamp) for stamp in stamps)
    assert max(stamps) > min(stamps)
