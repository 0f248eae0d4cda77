"""Of several workers one publishes: its connections come from the others, in the middle of what clients say."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from support.clients import Login, listed, upload, upload_form
from support.faulty import until
from support.packages import make_wheel, sha256
from support.raw import Answer, Raw, connected, request
from support.server import CaseusServer
from support.workers import lines_to_all, owner

Start = Callable[..., CaseusServer]
PAGE = request("GET", "/simple/acme/", "Accept: text/html")


@pytest.fixture
def two() -> Iterator[CaseusServer]:
    """One that reads and one that publishes."""
    with CaseusServer(flags=("--workers", "2")) as server:
        assert upload(server.url, *make_wheel("acme", "1.0"), login=server.admin).status == 200
        yield server


def form(version: str, login: Login, *, padding: int = 0) -> bytes:
    """A request that publishes acme of that version."""
    files = {"padding": os.urandom(padding)} if padding else {}
    body, content_type = upload_form(*make_wheel("acme", version, files=files, compress=False))
    credentials = base64.b64encode(":".join(login).encode()).decode()
    return request(
        "POST", "/legacy/", f"Authorization: Basic {credentials}", f"Content-Type: {content_type}", body=body
    )


def told(raw: Raw, data: bytes) -> Answer:
    raw.send(data)
    answer = raw.answer()
    assert answer is not None
    return answer


def who(server: CaseusServer, raw: Raw) -> int | None:
    """The worker that has its connection; None while that goes from one to another."""
    try:
        return owner(server, raw.socket.getsockname()[1])
    except AssertionError:
        return None


def test_a_connection_goes_to_who_publishes_and_ends_when_it_reads_again(two: CaseusServer) -> None:
    with connected(two.port) as raw:
        for _ in range(3):
            answer = told(raw, PAGE)
            assert answer.status == 200 and "connection" not in answer.headers
        assert who(two, raw) in set(two.workers) - {two.publisher}
        for version in ("1.1", "1.2"):
            answer = told(raw, form(version, two.admin))
            assert answer.status == 200 and "connection" not in answer.headers
            assert who(two, raw) == two.publisher
        answer = told(raw, PAGE)
        assert answer.status == 200 and answer.headers["connection"] == "close" and b"acme-1.2-" in answer.body
        assert raw.answer() is None
    lines = [json.loads(line) for line in two.log.splitlines() if '"event": "request"' in line]
    posts = [(line["client"], line["user"]) for line in lines if line["method"] == "POST"]
    assert posts == [("127.0.0.1", "admin")] * 3


def test_other_words_than_reads_go_there_too(two: CaseusServer) -> None:
    for method, status in (("OPTIONS", 405), ("DELETE", 405), ("PUT", 405)):
        with connected(two.port) as raw:
            assert told(raw, request(method, "/simple/acme/")).status == status
            assert who(two, raw) == two.publisher
    with connected(two.port) as raw:
        raw.send(request("HEAD", "/simple/acme/"))
        answer = raw.answer(head=True)
        assert answer is not None and answer.status == 200 and who(two, raw) != two.publisher
    with connected(two.port) as raw:
        assert told(raw, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").status == 400


@pytest.mark.parametrize("data", [PAGE, b"POST"], ids=["a read", "an upload"])
def test_byte_by_byte(two: CaseusServer, data: bytes) -> None:
    with connected(two.port) as raw:
        whole = data if data == PAGE else form("2.0", two.admin)
        for number in range(120):
            raw.send(whole[number : number + 1])
        assert told(raw, whole[120:]).status == 200
    assert ("acme-2.0-py3-none-any.whl" in listed(two.url, "acme")) == (data != PAGE)


def test_what_is_sent_ahead_is_answered_in_its_order(two: CaseusServer) -> None:
    """Until the answer to a read, which ends the connection."""
    uploads = [form(f"3.{number}", two.admin) for number in range(3)]
    with connected(two.port) as raw:
        assert told(raw, PAGE).status == 200
        raw.send(b"".join((*uploads, PAGE)))
        answers = list(raw.answers())
    assert [answer.status for answer in answers] == [200] * 4
    assert [answer.headers.get("connection") for answer in answers] == [None, None, None, "close"]
    assert all(f"acme-3.{number}-".encode() in answers[-1].body for number in range(3))


@pytest.mark.parametrize("padding", [100_000, 300_000, 20 << 20])
def test_large_files_arrive_whole(two: CaseusServer, padding: int) -> None:
    """Also where more comes at once than can be handed over."""
    filename, data = make_wheel("large", "1.0", files={"padding": os.urandom(padding)}, compress=False)
    assert upload(two.url, filename, data, login=two.admin).status == 200
    assert listed(two.url, "large")[filename]["hashes"]["sha256"] == sha256(data)


def test_who_waits_for_a_word_before_the_body_gets_it(two: CaseusServer) -> None:
    head, _, body = form("4.0", two.admin).partition(b"\r\n\r\n")
    with connected(two.port) as raw:
        raw.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        going = raw.answer()
        assert going is not None and going.status == 100
        assert told(raw, body).status == 200
        assert who(two, raw) == two.publisher


def test_a_reader_does_it_itself_where_the_publisher_takes_no_more(two: CaseusServer) -> None:
    publisher = two.publisher
    assert publisher is not None
    os.kill(publisher, signal.SIGSTOP)
    with ExitStack() as stack:
        stack.callback(os.kill, publisher, signal.SIGCONT)
        for _ in range(60):
            raw = stack.enter_context(connected(two.port))
            raw.send(request("POST", "/legacy/", "x: " + "x" * 12_000, body=b"y" * 30_000))
        assert upload(two.url, *make_wheel("acme", "5.0"), login=two.admin).status == 200
        assert "acme-5.0-py3-none-any.whl" in listed(two.url, "acme")


def test_what_is_under_way_ends_well_when_the_server_stops(two: CaseusServer) -> None:
    first, second = form("6.0", two.admin, padding=200_000), form("6.1", two.admin)
    with connected(two.port) as begun, connected(two.port) as new:
        begun.send(first[:100_000])
        until(lambda: who(two, begun) == two.publisher)
        assert two.process is not None
        publisher = two.publisher
        os.kill(two.pid, signal.SIGTERM)
        until(lambda: is_refused(two.port))
        new.send(second)  # on a connection of a reader that ends: it may still take it, or close it
        answer = told(begun, first[100_000:])
        assert answer.status == 200 and answer.headers["connection"] == "close" and publisher is not None
        late = new.answer()
        assert late is None or late.status == 200
    assert two.process.wait(60) == 0
    assert two.cli("verify").returncode == 0
    with CaseusServer(two.root) as again:
        files = set(listed(again.url, "acme"))
    assert "acme-6.0-py3-none-any.whl" in files and ("acme-6.1-py3-none-any.whl" in files) >= (late is not None)


def test_what_waits_for_a_publisher_that_died_waits_for_the_next(two: CaseusServer) -> None:
    publisher = two.publisher
    assert publisher is not None
    os.kill(publisher, signal.SIGSTOP)
    with connected(two.port) as raw, lines_to_all(two) as (line,):
        raw.send(form("7.0", two.admin))
        until(lambda: who(two, raw) is None)
        os.kill(publisher, signal.SIGKILL)
        answer = raw.answer()
        assert answer is not None and answer.status == 200
        assert who(two, raw) == two.publisher != publisher
        assert line.status("/livez") == 200


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionError:
        return True
    return False


def test_unix_sockets(start_caseus: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("u") / "s"
    server = start_caseus(flags=("--workers", "3", "--bind", f"unix:{path}", "--bind", "127.0.0.1:0"))
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(60)
        plain.connect(str(path))
        plain.sendall(form("8.0", server.admin))
        assert plain.recv(1000).startswith(b"HTTP/1.1 200 ")
    _, url = server.url.split()
    assert "acme-8.0-py3-none-any.whl" in listed(url, "acme")
