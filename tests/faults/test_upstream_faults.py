"""What clients of a real server see while its upstream fails.

Cached: served, and marked as stale. Not cached: 502 or 504, never 404, from which pip would conclude that the project
does not exist; and never a wrong or short file that ends as if it were whole.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import pytest

from support.clients import JSON, Answer, ask
from support.packages import make_wheel, metadata, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream, Fault, Listed, Options

SMALL, LARGE = 20_000, 400_000  # below and above what is held back until the digest is right

ANY_FAULTS = {
    "500": Fault("status", status=500),
    "503": Fault("status", status=503, retry_after=7),
    "html": Fault("html"),
    "cut": Fault("cut"),
    "cut-at-once": Fault("cut", after=0),
    "cut-chunked": Fault("cut-chunked"),
    "elsewhere": Fault("redirect", url="http://127.0.0.1:9/"),
}
PAGE_FAULTS = ANY_FAULTS | {
    "no-json": Fault("raw", body=b'{"meta": {', content_type=JSON),
    "other-json": Fault("raw", body=b'{"message": "try later"}', content_type="application/json"),
    "empty": Fault("raw", body=b"", content_type=JSON),
    "other-version": Fault("raw", body=b'{"meta":{"api-version":"2.0"},"name":"x","files":[]}', content_type=JSON),
    "bomb": Fault("bomb"),
    "unplugged": None,
}
FILE_FAULTS = ANY_FAULTS | {
    "other-bytes": Fault("other"),
    "short": Fault("raw", body=b"PK", content_type="application/zip"),
    "empty": Fault("raw", body=b"", content_type="application/zip"),
    "unplugged": None,
}


@dataclass
class Proxied:
    """A server whose upstream fails on command; pages are asked for anew each time."""

    server: CaseusServer
    upstream: FakeUpstream

    def add(self, size: int = SMALL, told: Options | None = None) -> Package:
        """One more project, with one wheel."""
        name = f"pkg{next(NUMBERS)}"
        padding = random.Random(size).randbytes(size)
        filename, data = make_wheel(name, "1.0", files={f"{name}/padding": padding})
        listed: Listed = (filename, data, told or Options(metadata=metadata(name, "1.0")))
        self.upstream.projects[name] = [listed]
        return Package(self, name, filename, data)

    def break_(self, fault: Fault | None, path: str) -> None:
        if fault is None:
            self.upstream.down()
        else:
            self.upstream.fail(fault, path)


@dataclass
class Package:
    proxied: Proxied
    name: str
    filename: str
    data: bytes

    @property
    def page_path(self) -> str:
        return f"/simple/{self.name}/"

    @property
    def file_path(self) -> str:
        return self.proxied.upstream.file_path(self.name, self.filename)

    def page(self) -> Answer:
        return ask(f"{self.proxied.server.url}simple/{self.name}/", headers={"Accept": JSON})

    def file(self, ending: str = "") -> Answer:
        return ask(f"{self.proxied.server.url}simple/{self.name}/{self.filename}{ending}")


NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    root = tmp_path_factory.mktemp("faults") / "root"
    with FakeUpstream() as upstream, CaseusServer(root, upstream=upstream.url, flags=("--upstream-ttl", "0")) as server:
        yield Proxied(server, upstream)


@pytest.fixture
def proxied(started: Proxied) -> Iterator[Proxied]:
    started.upstream.style, started.upstream.etags = "json", True
    yield started
    started.upstream.heal()
    started.upstream.down()
    started.upstream.up()


def assert_upstream_failed(answer: Answer) -> None:
    assert answer.status in (502, 504), f"{answer.status} {answer.reason}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "upstream" in answer.headers["X-Error-Message"]
    assert answer.reason == answer.headers["X-Error-Message"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("fault", PAGE_FAULTS.values(), ids=PAGE_FAULTS)
def test_page_not_cached(proxied: Proxied, fault: Fault | None, style: Literal["json", "html"]) -> None:
    proxied.upstream.style = style
    package = proxied.add()
    proxied.break_(fault, package.page_path)
    assert_upstream_failed(package.page())
    for ending in ("", ".metadata"):  # it can't be said which files there are
        assert_upstream_failed(package.file(ending))


@pytest.mark.parametrize("fault", PAGE_FAULTS.values(), ids=PAGE_FAULTS)
def test_page_cached(proxied: Proxied, fault: Fault | None) -> None:
    proxied.upstream.etags = False  # else its answer could be 304, which has no body to be wrong
    package = proxied.add()
    fresh = package.page()
    assert fresh.status == 200 and "X-Caseus-Stale" not in fresh.headers
    proxied.break_(fault, package.page_path)
    stale = package.page()
    assert stale.status == 200
    assert stale.body == fresh.body
    assert stale.headers["X-Caseus-Stale"] == "1"
    assert int(stale.headers["Age"]) >= 0
    assert stale.headers["Cache-Control"] == "max-age=0"
    if fault is not None:
        assert proxied.upstream.count(package.page_path) >= 2


@pytest.mark.slow
def test_recovery(proxied: Proxied) -> None:
    """What was missing is there as soon as the upstream is; what was stale is fresh after a while."""
    cached, missing = proxied.add(), proxied.add()
    assert cached.page().status == 200
    proxied.upstream.down()
    assert cached.page().headers["X-Caseus-Stale"] == "1"
    assert_upstream_failed(missing.page())
    proxied.upstream.up()
    assert missing.page().status == 200
    deadline = time.monotonic() + 60
    while "X-Caseus-Stale" in cached.page().headers:
        assert time.monotonic() < deadline, "still stale"
        time.sleep(0.05)
    for package in (cached, missing):
        assert package.file().body == package.data


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", FILE_FAULTS.values(), ids=FILE_FAULTS)
def test_file_not_cached(proxied: Proxied, fault: Fault | None, size: int) -> None:
    """A status that says so, or a connection that breaks off; then, healed, the right file."""
    package = proxied.add(size)
    assert package.page().status == 200
    proxied.break_(fault, package.file_path)
    answer = package.file()
    if answer.status == 200:
        assert not answer.whole, "a wrong file ended as if it were whole"
        assert len(answer.body) <= len(package.data) - 65_536
    else:
        assert_upstream_failed(answer)
    assert not list(proxied.server.root.glob(f"fetched/*/{package.name}/{package.filename}"))
    if fault is None:
        proxied.upstream.up()
    proxied.upstream.heal()
    answer = package.file()
    assert answer.status == 200 and answer.whole and answer.body == package.data


@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("fault", ["cut", "cut-chunked", "html", "empty", "500"])
def test_file_without_digest(proxied: Proxied, fault: str, style: Literal["json", "html"]) -> None:
    """Its length is all that can be checked, and is; where only the answer tells it, no file has none."""
    proxied.upstream.style = style
    package = proxied.add(LARGE, Options(hashes=False))
    assert package.page().json()["files"][0]["hashes"] == {}
    proxied.break_(FILE_FAULTS[fault], package.file_path)
    answer = package.file()
    assert answer.status in (502, 504) or (answer.status == 200 and not answer.whole)
    proxied.upstream.heal()
    assert package.file().body == package.data
    assert package.page().json()["files"][0]["hashes"] == {"sha256": sha256(package.data)}


@pytest.mark.parametrize("fault", FILE_FAULTS.values(), ids=FILE_FAULTS)
def test_file_cached(proxied: Proxied, fault: Fault | None) -> None:
    """What is here is served, whatever became of the upstream."""
    package = proxied.add(LARGE)
    for ending, expected in (("", package.data), (".metadata", metadata(package.name, "1.0"))):
        assert package.file(ending).body == expected
    for path in (package.page_path, package.file_path, f"{package.file_path}.metadata"):
        proxied.break_(fault, path)
    for ending, expected in (("", package.data), (".metadata", metadata(package.name, "1.0"))):
        answer = package.file(ending)
        assert answer.status == 200 and answer.whole and answer.body == expected


@pytest.mark.parametrize("sidecar", [True, False], ids=["sidecar", "no-sidecar"])
@pytest.mark.parametrize("fault", FILE_FAULTS.values(), ids=FILE_FAULTS)
def test_metadata_not_cached(proxied: Proxied, fault: Fault | None, sidecar: bool) -> None:
    """A 404 for METADATA that the page advertises would end pip and uv: it is never one."""
    package = proxied.add(LARGE, None if sidecar else Options())
    (listed,) = package.page().json()["files"]
    assert listed["core-metadata"]
    proxied.break_(fault, package.file_path)
    proxied.break_(fault, f"{package.file_path}.metadata")
    assert_upstream_failed(package.file(".metadata"))
    if fault is None:
        proxied.upstream.up()
    proxied.upstream.heal()
    assert package.file(".metadata").body == metadata(package.name, "1.0")


def test_404_only_where_the_upstream_says_so(proxied: Proxied) -> None:
    package = proxied.add()
    assert ask(f"{proxied.server.url}simple/nobody-has-this/").status == 404
    assert ask(f"{proxied.server.url}simple/{package.name}/{package.name}-9.9-py3-none-any.whl").status == 404


def test_slow_file_arrives(proxied: Proxied) -> None:
    gate = threading.Event()
    package = proxied.add(LARGE)
    proxied.break_(Fault("slow", gate=gate), package.file_path)
    with ThreadPoolExecutor(2) as pool:
        downloads = [pool.submit(package.file) for _ in range(2)]
        proxied.upstream.wait_for(package.file_path)
        gate.set()
        for download in downloads:
            answer = download.result()
            assert answer.status == 200 and answer.body == package.data
    assert proxied.upstream.count(package.file_path) == 1


@pytest.mark.slow
def test_upstream_that_hangs(proxied: Proxied) -> None:
    """504 after a while for what is not cached; what is cached is served, and nothing else waits."""
    proxied.upstream.etags = False
    page, file, cached = proxied.add(), proxied.add(), proxied.add()
    assert file.page().status == cached.page().status == 200
    for path in (page.page_path, file.file_path, cached.page_path):
        proxied.break_(Fault("hang"), path)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(ask) for ask in (page.page, file.file, cached.page)]
        for package, path in ((page, page.page_path), (file, file.file_path), (cached, cached.page_path)):
            package.proxied.upstream.wait_for(path)
        assert ask(f"{proxied.server.url}livez").status == 200
        assert proxied.add().page().status == 200
        answers = [each.result() for each in waiting]
    assert answers[0].status == 504
    assert answers[1].status == 504 or not answers[1].whole
    assert answers[2].status == 200 and answers[2].headers["X-Caseus-Stale"] == "1"
