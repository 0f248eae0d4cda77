"""An index of 200,000 projects and a million files: its list is right, and no request costs more than in a small one.

Larger ones (700,000 and 8,000,000) are measured by `bench.big`.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from caseus import site as site_module
from caseus.catalog import writer
from caseus.lists import HUGE
from caseus.render import list_html, list_json
from caseus.web import create_app
from support.big_index import counts, make_index, names
from support.clients import JSON, ask, upload
from support.live import LiveServer
from support.packages import make_wheel
from support.server import CaseusServer
from support.web import make_config

pytestmark = pytest.mark.slow

PROJECTS, FILES = 200_000, 1_000_000
SMALL = 500
LOGIN = ("alice", "a password for tests")
ACCEPT_JSON = {"Accept": JSON}
GZIP = {"Accept-Encoding": "gzip"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert PROJECTS > HUGE
    root = tmp_path_factory.mktemp("big") / "root"
    make_index(root, PROJECTS, FILES)
    return root


@pytest.fixture(scope="module")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseusServer]:
    root = shutil.copytree(template, tmp_path_factory.mktemp("served") / "root")
    with CaseusServer(root) as server:
        yield server


def memory(server: CaseusServer, field: str) -> int:
    """MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found
    return int(found[1]) >> 10


def listed(server: CaseusServer) -> list[str]:
    """By the page, which is the same in each form and coding."""
    url = f"{server.url}simple/"
    plain = ask(url, headers=ACCEPT_JSON)
    found = [project["name"] for project in plain.json()["projects"]]
    html = ask(url)
    for answer, wanted, accept in ((plain, list_json(found), ACCEPT_JSON), (html, list_html(found), {})):
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(wanted)))
        assert answer.body == wanted
        zipped = ask(url, headers=accept | GZIP)
        assert zipped.headers["Content-Encoding"] == "gzip" and len(zipped.body) < len(wanted) / 3
        assert gzip.decompress(zipped.body) == wanted
        etag = zipped.headers["ETag"]
        assert etag != answer.headers["ETag"] and not etag.startswith("W/")
        assert ask(url, headers=accept | GZIP | {"If-None-Match": etag}).status == 304
        assert ask(url, headers=accept | {"If-None-Match": etag}).status == 200
        head = ask(url, "HEAD", headers=accept | GZIP)
        told = ("Content-Type", "Content-Length", "Content-Encoding", "ETag", "Vary", "Cache-Control")
        assert [head.headers[name] for name in told] == [zipped.headers[name] for name in told]
        assert head.body == b"" and head.headers["Cache-Control"] == "no-cache"
    return found


def test_the_list_follows_what_comes_and_goes(server: CaseusServer) -> None:
    expected = names(PROJECTS)
    assert listed(server) == expected
    filename, data = make_wheel("mountain-cheese", "1.0")
    assert upload(server.url, filename, data, login=server.admin).status == 200
    assert listed(server) == sorted([*expected, "mountain-cheese"])
    assert server.cli("project", "delete", "mountain-cheese", "--yes", "--reason", "ripe").returncode == 0
    gone = expected[1000]
    assert server.cli("project", "delete", gone, "--yes", "--reason", "test").returncode == 0
    assert listed(server) == [name for name in expected if name != gone]
    assert ask(f"{server.url}simple/{gone}/", headers=ACCEPT_JSON).json()["files"] == []


def test_info_and_home_tell_what_there_is(server: CaseusServer) -> None:
    found = json.loads(server.cli("info", "--json").stdout)
    assert found["projects"] > PROJECTS - 10 and found["files"] > FILES - 1000 and found["bytes"] > 10**12
    told = f"{found['projects']:,} projects with {found['files']:,} files"
    assert told in ask(server.url).body.decode()


def test_memory_stays_within_bounds_under_load(server: CaseusServer) -> None:
    for name in names(PROJECTS)[:: PROJECTS // 3000]:
        assert ask(f"{server.url}simple/{name}/", headers=GZIP).status == 200
    for accept in (ACCEPT_JSON, {}):
        assert ask(f"{server.url}simple/", headers=accept).status == 200
    assert memory(server, "VmHWM") < 400


def test_slow_readers_of_the_list_cost_no_memory(server: CaseusServer) -> None:
    whole = len(ask(f"{server.url}simple/").body)
    before = memory(server, "VmRSS")
    with ExitStack() as stack:
        readers = [stack.enter_context(slow_reader(server.port)) for _ in range(20)]
        for reader in readers:
            assert reader.recv(1000, socket.MSG_WAITALL).startswith(b"HTTP/1.1 200")
        assert ask(f"{server.url}simple/{names(PROJECTS)[0]}/").status == 200
        assert memory(server, "VmRSS") < before + 60  # each would cost 10 MB
        rest = iter(lambda: readers[0].recv(1 << 20), b"")
        assert 1000 + sum(map(len, rest)) > whole


@contextmanager
def slow_reader(port: int) -> Iterator[socket.socket]:
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(60)
        reader.connect(("127.0.0.1", port))
        reader.sendall(b"GET /simple/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        yield reader


# What SQLite does for a request, in steps of its own machine: a large index takes as many as a small one.


class Steps:
    """Counts them, on every connection that is made while it lasts, without what is done from time to time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(writer, "_SETTLE", 3600)
        monkeypatch.setattr(writer, "_IDLE", 3600)
        connect = sqlite3.connect

        def watched(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **kwargs)
            connection.set_progress_handler(self.step, 1)
            return connection

        monkeypatch.setattr(sqlite3, "connect", watched)

    def step(self) -> int:
        self.count += threading.current_thread().name != "caseus-serial"  # looks ten times a second, whoever asks
        return 0

    def of(self, action: Callable[[], object]) -> int:
        before = self.count
        action()
        seen = -1
        while seen != self.count:  # what was answered may still be made ready for the next
            seen = self.count
            time.sleep(0.02)
        return seen - before


def costs(root: Path, name: str, steps: Steps) -> dict[str, int]:
    """Steps of everything that a server does, on an index where `name` has ten files."""
    found: dict[str, int] = {}
    opened: list[site_module.Site] = []
    found["start"] = steps.of(lambda: opened.append(site_module.build(make_config(root))))
    (site,) = opened
    try:
        site.catalog.add_user(LOGIN[0], password_hash=site.access.passwords.hash(LOGIN[1]), admin=True, actor="test")
        filename, data = make_wheel(name, "7.0")
        live = LiveServer(create_app(site))
        try:
            page = f"{live.base}simple/{name}/"
            first = make_wheel("another", "1.0")
            found["first upload"] = steps.of(lambda: expect(200, upload(live.base, *first, login=LOGIN).status))
            found["page"] = steps.of(lambda: expect(200, ask(page).status))
            found["no such project"] = steps.of(lambda: expect(404, ask(f"{live.base}simple/nobodys/").status))
            found["upload"] = steps.of(lambda: expect(200, upload(live.base, filename, data, login=LOGIN).status))
            found["again"] = steps.of(lambda: expect(200, upload(live.base, filename, data, login=LOGIN).status))
            found["changed page"] = steps.of(lambda: expect(200, ask(page).status))
            found["another's change"] = steps.of(
                lambda: expect(200, upload(live.base, *make_wheel("another", "2.0"), login=LOGIN).status)
            )
            found["page after it"] = steps.of(lambda: expect(200, ask(page).status))
            found["file"] = steps.of(lambda: expect(200, ask(page + filename).status))
            found["metadata"] = steps.of(lambda: expect(200, ask(f"{page}{filename}.metadata").status))
            found["home"] = steps.of(lambda: expect(200, ask(live.base).status))
            found["readyz"] = steps.of(lambda: expect(200, ask(f"{live.base}readyz").status))
        finally:
            live.close()
        found["info"] = steps.of(site.catalog.totals)
        files = site.catalog.hosted_files("files/main", name)[:1]
        found["yank"] = steps.of(lambda: site.indexes["main"].publisher.yank(files, "", "me"))
    finally:
        found["stop"] = steps.of(site.close)
    return found


def expect(wanted: int, found: int) -> None:
    assert found == wanted


def test_no_request_takes_more_steps_in_a_large_index(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_index(tmp_path / "small", SMALL, SMALL * 5)
    shutil.copytree(template, tmp_path / "large")
    steps = Steps(monkeypatch)
    small = costs(tmp_path / "small", project_of(10, SMALL, SMALL * 5), steps)
    large = costs(tmp_path / "large", project_of(10, PROJECTS, FILES), steps)
    assert small.keys() == large.keys() and all(small[what] > 0 for what in small.keys() - {"stop"})
    grown = {what: (small[what], large[what]) for what in small if large[what] > 1.1 * small[what] + 20}
    assert grown == {}


def project_of(files: int, projects: int, all_files: int) -> str:
    """A project with so many files."""
    return next(name for name, n in zip(names(projects), counts(projects, all_files), strict=True) if n == files)
