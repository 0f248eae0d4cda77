"""The client against a real server on loopback, good and bad."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
from collections.abc import Iterator
from functools import partial

import pytest

from caseus.checks.archive import read_wheel_metadata
from caseus.errors import NotFound, Unavailable
from caseus.names import normalize
from caseus.upstream import NotModified, Page, Timeouts, Upstream, deadline
from caseus.upstream import client as client_module
from caseus.upstream.ranges import RangesRefused, open_ranged
from support.packages import make_sdist, make_wheel
from support.upstream import FakeUpstream, Fault, Options

ALPHA = normalize("alpha")
WHEEL = make_wheel("alpha", "1.0", files={"alpha/data.bin": hashlib.shake_256(b"x").digest(400_000)})
PAGE = "/simple/alpha/"


@pytest.fixture
def server() -> Iterator[FakeUpstream]:
    sdist = (*make_sdist("alpha", "2.0"), Options(hashes=False, size=False, yanked="bad", requires_python=">=3"))
    with FakeUpstream({"alpha": [(*WHEEL, Options(metadata=b"M")), sdist]}) as upstream:
        yield upstream


@pytest.fixture
def client(server: FakeUpstream) -> Iterator[Upstream]:
    upstream = Upstream(server.url, timeouts=Timeouts(connect=5, read=0.5, page=5), proxies={})
    yield upstream
    upstream.close()


def page_of(client: Upstream) -> Page:
    page = client.page(ALPHA)
    assert isinstance(page, Page)
    return page


@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("links", ["relative", "absolute"])
@pytest.mark.parametrize("types", [True, False])
def test_pages(server: FakeUpstream, client: Upstream, style: str, links: str, types: bool) -> None:
    server.style = "json" if style == "json" else "html"
    server.links = "relative" if links == "relative" else "absolute"
    server.content_types = types
    wheel, sdist = page_of(client).files
    assert wheel.url == server.origin + server.file_path("alpha", WHEEL[0])
    assert wheel.hashes == {"sha256": hashlib.sha256(WHEEL[1]).hexdigest()}
    assert wheel.core_metadata == {"sha256": hashlib.sha256(b"M").hexdigest()}
    assert (sdist.hashes, sdist.size, sdist.yanked, sdist.requires_python) == ({}, None, "bad", ">=3")
    headers = server.requests[0].headers
    assert headers["accept"].startswith("application/vnd.pypi.simple.v1+json, ")
    assert headers["accept-encoding"] == "gzip"
    assert headers["user-agent"].startswith("caseus/")


def test_etags(server: FakeUpstream, client: Upstream) -> None:
    etag = page_of(client).etag
    assert client.page(ALPHA, etag) == NotModified()
    assert isinstance(client.page(ALPHA, '"other"'), Page)
    server.fail(Fault("status", status=304))
    with pytest.raises(Unavailable):
        client.page(ALPHA)


def test_connections_are_kept(server: FakeUpstream, client: Upstream) -> None:
    page_of(client)
    with pytest.raises(NotFound):
        client.page(normalize("beta"))
    page_of(client)
    assert len(server.connections) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_not_found(server: FakeUpstream, client: Upstream, status: int) -> None:
    server.fail(Fault("status", status=status))
    with pytest.raises(NotFound):
        client.page(ALPHA)


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 502, 503])
def test_other_statuses(server: FakeUpstream, client: Upstream, status: int) -> None:
    server.fail(Fault("status", status=status, retry_after=7))
    with pytest.raises(Unavailable, match=str(status)) as caught:
        client.page(ALPHA)
    assert (caught.value.kind, caught.value.retry_after) == ("upstream", 7)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("html"),
        Fault("cut"),
        Fault("cut-chunked"),
        Fault("raw", body=b""),
        Fault("raw", body=b'{"files": [', content_type="application/json"),
        Fault("redirect", url="http://[/"),
    ],
)
def test_what_is_no_page(server: FakeUpstream, client: Upstream, fault: Fault) -> None:
    server.fail(fault)
    with pytest.raises(Unavailable) as caught:
        client.page(ALPHA)
    assert caught.value.kind == "upstream"


def test_hanging(server: FakeUpstream, client: Upstream) -> None:
    server.fail(Fault("hang"))
    with pytest.raises(Unavailable) as caught:
        client.page(ALPHA)
    assert caught.value.kind == "timeout"


def test_unplugged_and_back(server: FakeUpstream, client: Upstream) -> None:
    page_of(client)
    server.down()
    with pytest.raises(Unavailable) as caught:
        client.page(ALPHA)
    assert caught.value.kind == "upstream"
    server.up()
    page_of(client)


def test_gzip(server: FakeUpstream, client: Upstream) -> None:
    body = json.dumps({"files": [], "versions": ["1.0"]}).encode()
    half = len(body) // 2
    good = gzip.compress(body[:half]) + gzip.compress(body[half:])
    server.fail(Fault("raw", body=good, content_encoding="gzip"))
    assert page_of(client).versions == ("1.0",)
    for bad in (good[:-9], b"nonsense", good[:30] + b"\0" * 30):
        server.fail(Fault("raw", body=bad, content_encoding="gzip"))
        with pytest.raises(Unavailable):
            client.page(ALPHA)
    server.fail(Fault("raw", body=body, content_encoding="br"))
    with pytest.raises(Unavailable, match="encoding"):
        client.page(ALPHA)


def test_a_gzip_bomb(server: FakeUpstream, client: Upstream) -> None:
    server.fail(Fault("bomb"))
    with pytest.raises(Unavailable, match="longer than"):
        client.page(ALPHA)


def test_a_page_that_is_too_long(server: FakeUpstream, client: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE_LIMIT", 100)
    with pytest.raises(Unavailable, match="longer than 100"):
        client.page(ALPHA)


def test_a_page_that_takes_too_long(server: FakeUpstream) -> None:
    client = Upstream(server.url, timeouts=Timeouts(page=0), proxies={})
    with pytest.raises(Unavailable) as caught:
        client.page(ALPHA)
    assert caught.value.kind == "timeout"
    client.close()


def test_who_has_no_descriptor_left_does_not_blame_the_upstream(
    client: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(deadline, "connect", connect)
        for _ in range(10):  # nor is it left alone after some
            with pytest.raises(Unavailable, match="Too many open files") as caught:
                client.page(ALPHA)
            assert caught.value.kind == "local"
    assert page_of(client).files


def test_retry_after_as_a_date(server: FakeUpstream) -> None:
    client = Upstream(server.url, clock=lambda: 1_704_067_140.0, proxies={})
    server.fail(Fault("status", status=503, retry_after="Mon, 01 Jan 2024 00:00:00 GMT"))
    with pytest.raises(Unavailable) as caught:
        client.page(ALPHA)
    assert caught.value.retry_after == 60
    client.close()


class TestRanges:
    def url(self, server: FakeUpstream) -> str:
        return server.origin + server.file_path("alpha", WHEEL[0])

    def test_parts_of_a_file(self, server: FakeUpstream, client: Upstream) -> None:
        for start, stop, expected in ((0, 5, WHEEL[1][:5]), (100, None, WHEEL[1][100:]), (-7, None, WHEEL[1][-7:])):
            with client.fetch(self.url(server), start=start, stop=stop) as response:
                assert (response.status, response.size) == (206, len(WHEEL[1]))
                assert response.body(1 << 20) == expected
        with client.fetch(self.url(server), start=5, etag='"changed"') as response:
            assert (response.status, response.start) == (200, 0)

    def test_metadata_takes_less_than_the_wheel(self, server: FakeUpstream, client: Upstream) -> None:
        with open_ranged(partial(client.fetch, self.url(server)), limit=1 << 20) as reader:
            metadata = read_wheel_metadata(reader, WHEEL[0])
        assert b"Name: alpha" in metadata
        assert 0 < server.sent < len(WHEEL[1]) / 2

    def test_any_part_can_be_read(self, server: FakeUpstream, client: Upstream) -> None:
        with open_ranged(partial(client.fetch, self.url(server)), limit=1 << 20) as reader:
            assert reader.read() == WHEEL[1]
            assert reader.seek(-5, 2) == len(WHEEL[1]) - 5
            assert reader.read() == WHEEL[1][-5:]
        with open_ranged(partial(client.fetch, self.url(server)), limit=100_000) as reader, pytest.raises(Unavailable):
            reader.read()

    def test_refused(self, server: FakeUpstream, client: Upstream) -> None:
        server.ranges = False
        with pytest.raises(RangesRefused):
            open_ranged(partial(client.fetch, self.url(server)), limit=1 << 20)

    def test_a_file_that_changes_meanwhile(self, server: FakeUpstream, client: Upstream) -> None:
        with open_ranged(partial(client.fetch, self.url(server)), limit=1 << 20) as reader:
            server.projects["alpha"] = [(WHEEL[0], bytes(len(WHEEL[1])))]
            with pytest.raises(Unavailable, match="changed"):
                reader.read()
