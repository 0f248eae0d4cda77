"""The parts of `caseus doctor` that no index in order shows: hostile answers, odd pages, whose login goes where."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caseus.doctor import Report, as_json_text, show
from caseus.doctor.client import Client, Login, Timeouts, Unreachable
from caseus.doctor.exchange import PAGE_LIMIT, Exchange
from caseus.doctor.page import JSON, Unreadable, read_list, read_page
from caseus.doctor.verdicts import Finding, gathered, ok, quoted, some, warn

BASE = "https://pkgs.example.com/simple/acme/"


def answer(body: bytes, *, cut: bool = False, coding: str = "") -> Exchange:
    return Exchange("GET", BASE, 200, "OK", {"Content-Encoding": coding}, body, cut, 0.0)


# Pages


def test_a_gzip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(PAGE_LIMIT + 1))
    with pytest.raises(Unreadable, match="grows beyond reason"):
        read_page(answer(bomb, coding="gzip"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is empty"),
        (b'{"files": 7}', "no list `files`"),
        (b'{"files": [', "can't be read"),
        (b"<form><input type=password></form>", "a login page"),
    ],
)
def test_what_is_no_page(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_page(answer(body))


def test_entries_of_json_that_can_not_be_used_are_left_out() -> None:
    good = {"filename": "acme-1.0.tar.gz", "url": "../f/acme-1.0.tar.gz#x", "hashes": {"SHA256": "AB"}, "size": True}
    body = json.dumps({"files": [good, 7, {"filename": "x"}, {"url": "y"}], "meta": {"api-version": 1}}).encode()
    page = read_page(answer(body))
    (entry,) = page.entries
    assert entry.url == "https://pkgs.example.com/simple/f/acme-1.0.tar.gz"
    assert (entry.hashes, entry.size, entry.metadata, page.version) == ({"sha256": "AB"}, None, False, None)


@pytest.mark.parametrize(
    ("told", "metadata"),
    [
        ({"core-metadata": {"sha256": "ab"}}, {"sha256": "ab"}),
        ({"core-metadata": {}}, True),
        ({"core-metadata": False, "dist-info-metadata": True}, False),
        ({"data-dist-info-metadata": True}, True),
        ({}, False),
    ],
)
def test_metadata_in_json(told: dict[str, object], metadata: object) -> None:
    body = json.dumps({"files": [{"filename": "a-1-py3-none-any.whl", "url": "a", **told}]}).encode()
    assert read_page(answer(body)).entries[0].metadata == metadata


def test_html_with_base_attributes_and_odd_links() -> None:
    page = read_page(
        answer(
            b'<meta name="pypi:repository-version" content="1.1"><base href="/files/">'
            b'<a href="acme-1.0-py3-none-any.whl#sha256=ab" data-core-metadata="sha256=cd" data-yanked>acme</a>'
            b'<a href="get?id=7" data-dist-info-metadata="TRUE">acme-1.0.tar.gz</a>'
            b'<a href="http://[bad/acme-1.0.zip">acme-1.0.zip</a><a href="../">up</a>'
        )
    )
    wheel, sdist, dead = page.entries
    assert page.version == "1.1"
    assert (wheel.url, wheel.text) == ("https://pkgs.example.com/files/acme-1.0-py3-none-any.whl", "acme")
    assert (wheel.hashes, wheel.metadata, "yanked" in wheel.told) == ({"sha256": "ab"}, {"sha256": "cd"}, True)
    assert wheel.beside(".metadata") == "https://pkgs.example.com/files/acme-1.0-py3-none-any.whl.metadata"
    assert (sdist.filename, sdist.metadata) == ("acme-1.0.tar.gz", True)
    assert sdist.beside(".asc") == "https://pkgs.example.com/files/get.asc?id=7"
    assert dead.url == ""


def test_lists() -> None:
    assert read_list(answer(b'{"projects": [{"name": "a"}, {}, 7, {"name": "b"}]}')) == ("a", "b")
    autoindex = (
        b'<a href="../">../</a><a href="/simple/acme%2Dapp/">x</a><a href="b/">b</a><a href="x-1.0.tar.gz">x</a>'
    )
    assert read_list(answer(autoindex)) == ("acme-app", "b")
    assert read_list(answer(b'{"projects": [', cut=True)) is None
    with pytest.raises(Unreadable):
        read_list(answer(b'{"name": "acme"}'))


# The client


@contextmanager
def served(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """The URL of a server that does with each connection what `talk` says, until it is stopped."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def each(line: socket.socket) -> None:
        with line:
            try:
                talk(line, stop)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=each, args=(line,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(10)
        for thread in threads:
            thread.join(10)


def head(line: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (more := line.recv(65536)):
        data += more
    return data


def dripping(start: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def talk(line: socket.socket, stop: threading.Event) -> None:
        head(line)
        line.sendall(start)
        while not stop.wait(0.01):
            line.sendall(b"x")

    return talk


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\nX-Drip: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"],
    ids=["head", "body"],
)
def test_what_drips_is_ended(start: bytes) -> None:
    """Each read gets something in time, so only the limit of the whole exchange ends it."""
    with (
        served(dripping(start)) as url,
        Client(url, timeouts=Timeouts(whole=0.3)) as client,
        pytest.raises(Unreachable, match=r"broken off|took too long"),
    ):
        client.get(url)


def test_no_more_is_read_than_the_limit() -> None:
    def endless(line: socket.socket, stop: threading.Event) -> None:
        head(line)
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not stop.is_set():
            line.sendall(bytes(65536))

    with served(endless) as url, Client(url) as client:
        page = client.get(url, limit=100_000)
        assert (len(page.raw), page.cut) == (100_000, True)


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    def once(line: socket.socket, stop: threading.Event) -> None:
        head(line)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with served(once) as url, Client(url) as client:
        for _ in range(3):
            assert client.get(url).raw == b"ok"
        assert client.connections == 3


def test_circles_end() -> None:
    def circle(line: socket.socket, stop: threading.Event) -> None:
        while head(line):
            line.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    with served(circle) as url, Client(url) as client:
        with pytest.raises(Unreachable, match="redirects in circles"):
            client.get(url)
        assert client.get(url, follow=False).status == 302


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(path))
    return path


def test_whose_login_goes_where(netrc: Path) -> None:
    netrc.write_text(
        "machine pkgs.example.com login nora password n\nmachine files.example.com login fred password f\n"
    )
    with Client("https://mia:p%40ss@pkgs.example.com/simple/") as client:
        assert client.login_for("https://pkgs.example.com/x") == Login("mia", "p@ss")
        assert client.login_for("https://files.example.com/x") == Login("fred", "f")
        assert client.login_for("https://elsewhere.example.com/") is None
        assert client.login_for("http://pkgs.example.com/x") == Login(
            "nora", "n"
        )  # as pip and uv: netrc knows no scheme
        client.trust("https://uploads.example.com/legacy/")
        assert client.login_for("https://uploads.example.com/legacy/") == Login("mia", "p@ss")
    with Client("https://pkgs.example.com/", Login("given", "g")) as client:
        assert client.login_for("https://pkgs.example.com/x") == Login("given", "g")


def test_a_netrc_that_can_not_be_read_is_none(netrc: Path) -> None:
    netrc.write_text("machine\n")
    with Client("https://pkgs.example.com/") as client:
        assert client.login_for("https://pkgs.example.com/") is None


# What is shown


def test_the_same_of_several_is_one_row() -> None:
    verdicts = [warn("none", "mend", "a"), ok("fine"), warn("none", "mend", "b"), warn("other", "mend", "c")]
    verdicts += [warn("none", "mend", name) for name in "de"]
    assert [verdict.detail for verdict in gathered(verdicts)] == ["a, b and 2 more: none", "fine", "c: other"]


def test_words_of_strangers() -> None:
    assert quoted("a\x1b[2J\r\nb\x9b\u202e") == "a [2J b"
    assert quoted("x" * 1000) == "x" * 160 + "…"
    assert some(["a\n", "b", "c"]) == "a, b and 1 more"


REPORT = Report(
    BASE, ("acme",), (Finding("304", "warn", "no ETag", "send one"), Finding("links", "ok", "1 of 1 relative", ""))
)


def test_json() -> None:
    assert json.loads(as_json_text(REPORT)) == {
        "url": BASE,
        "projects": ["acme"],
        "summary": {"ok": 1, "warn": 1, "fail": 0, "skip": 0},
        "findings": [
            {"check": "304", "result": "warn", "detail": "no ETag", "mend": "send one"},
            {"check": "links", "result": "ok", "detail": "1 of 1 relative", "mend": ""},
        ],
    }


def test_lines() -> None:
    stream = io.StringIO()
    show(REPORT, stream)
    assert stream.getvalue() == (
        "warn  304    no ETag\n"
        "             -> send one\n"
        "ok    links  1 of 1 relative\n"
        f"{BASE} (projects: acme): 1 ok, 1 warn, 0 fail, 0 skip\n"
    )


def test_the_type_of_json_is_that_of_the_standard() -> None:
    assert JSON == "application/vnd.pypi.simple.v1+json"
