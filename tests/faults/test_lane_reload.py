"""The fast lane when the settings change: it answers by the new ones, and what it has begun is finished."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import upload
from support.faulty import until
from support.lanes import answer, get
from support.packages import make_wheel
from support.passwords import SHA256
from support.raw import Raw, connected
from support.server import CaseusServer
from support.workers import Line, hang_up, lines_to_all, metric

OFTEN = 8
"""Asked so many times, a request is the lane's."""
FOO = ("foo", "bar")
PAGE = "/simple/acme/"
WHEEL, DATA = make_wheel("acme", "1.0", content=bytes(range(256)) * 36_000, compress=False)
FILE = f"{PAGE}{WHEEL}"


@pytest.fixture(params=[1, 2], ids=["alone", "two"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CaseusServer]:
    """With so many workers, a password file that has `foo`, and a file of 9 MB."""
    (tmp_path / "passwd").write_text(f"foo:{SHA256}\n")
    settings = tmp_path / "root/caseus.toml"
    settings.parent.mkdir()
    settings.write_text('passwd = "../passwd"\n')
    with CaseusServer(tmp_path / "root", flags=("--workers", str(request.param))) as server:
        assert upload(server.url, WHEEL, DATA, login=server.admin).status == 200
        yield server


def test_an_index_that_is_closed_is_closed_at_once(server: CaseusServer, tmp_path: Path) -> None:
    settings = tmp_path / "root/caseus.toml"
    with lines_to_all(server) as lines:
        for line in lines:
            assert statuses(line) == {200}
        settings.write_text('passwd = "../passwd"\nread = "users"\n')
        hang_up(server)
        for line in lines:
            assert (line.status(PAGE), line.status(FILE)) == (401, 401)
            assert statuses(line, FOO) == {200}
        (tmp_path / "passwd").write_text(f"other:{SHA256}\n")
        hang_up(server)
        for line in lines:  # credentials that were verified a moment ago
            assert (line.status(PAGE, FOO), line.status(FILE, FOO)) == (401, 401)
        settings.write_text('passwd = "../passwd"\n')
        hang_up(server)
        for line in lines:
            assert statuses(line) == {200}


def statuses(line: Line, login: tuple[str, str] | None = None) -> set[int]:
    return {line.status(path, login) for _ in range(OFTEN) for path in (PAGE, FILE)}


def test_what_goes_out_is_finished_by_whom_it_was_begun(server: CaseusServer) -> None:
    """While others take the place of who began it, two after each other."""
    with connected(server.port) as raw:
        for _ in range(OFTEN):
            assert answer(raw, get(FILE)).body == DATA
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        raw.send(get(FILE))
        assert raw.socket.recv(1, socket.MSG_PEEK)  # it goes out
        raw.send(get(PAGE))
        hang_up(server)
        hang_up(server)
        forget(server.root / "files/main/acme" / WHEEL)
        got, page = raw.answer(), raw.answer()
        assert got is not None and got.body == DATA
        assert page is not None and WHEEL.encode() in page.body
        assert answer(raw, get(FILE)).body == DATA


def forget(path: Path) -> None:
    """The system shall have to read it from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_no_answer_is_another_s_while_settings_change(server: CaseusServer) -> None:
    """Clients ask on and on, files and pages, over ten changes."""
    ended = threading.Event()
    faults: list[object] = []

    def ask() -> None:
        raw = Raw(server.port)
        try:
            while not ended.is_set():
                for wish, right in ((get(FILE), DATA), (get(PAGE), WHEEL.encode())):
                    body = answer(raw, wish).body
                    if body != right and right not in body:
                        faults.append(body[:200])
        except (AssertionError, OSError) as error:
            faults.append(error)
        finally:
            raw.close()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(10):
            hang_up(server)
    finally:
        ended.set()
        for client in clients:
            client.join()
    assert faults == []


def test_answers_are_counted(server: CaseusServer) -> None:
    """Together with their lines in the log: a moment later."""
    name = 'caseus_requests_total{status="200"}'
    with connected(server.port) as raw:
        for _ in range(OFTEN):
            answer(raw, get(PAGE))
        until(lambda: metric(server, name) + 1 == metric(server, name))  # nothing is left but the looks
        before = metric(server, name)
        for _ in range(50):
            answer(raw, get(PAGE))
        until(lambda: metric(server, name) >= before + 51)
    assert metric(server, name) - before < 60  # each look at /metrics is one, too
