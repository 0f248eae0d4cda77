"""Lists of projects, as other indexes write them and as they should not be."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseus.errors import NotFound, Unavailable
from caseus.upstream import Timeouts, Upstream
from caseus.upstream import client as client_module
from caseus.upstream.lists import parse_list
from support.upstream import LOGIN_PAGE, FakeUpstream, Fault

URL = "https://pkgs.example.com/team/simple/"
NAMES = ("acme", "acme-tools")


def page(body: str, head: str = "<title>Simple index</title>") -> bytes:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>".encode()


def listing(*projects: object, **more: object) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "projects": projects, **more}).encode()


def test_json() -> None:
    body = listing(
        {"name": "Acme_Tools"}, {"name": "acme", "_last-serial": 3}, {"name": "-no-"}, {"x": 1}, 7, {"name": 7}
    )
    assert parse_list(body, URL) == NAMES
    assert parse_list(b"\xef\xbb\xbf \n" + listing(), URL) == ()


@pytest.mark.parametrize(
    "body",
    [
        page('<a href="acme/">acme</a><br><a href="acme-tools/">Acme_Tools</a>'),
        page('<a href="/team/simple/acme/">acme</a><a href="/team/simple/Acme.Tools">x</a>', head=""),
        page('<a href="https://cdn.example.com/team/simple/acme">1</a><a href="acme-tools/#x">2</a>', head=""),
        page(
            '<a href="../">../</a><a href="acme/">acme/</a><a href="acme-tools/">acme-tools/</a>',
            "<title>Index of /</title>",
        ),
        page('<a href="/login/">Log in</a><a href="acme/">acme</a><a href="./acme-tools/">b</a><form></form>', head=""),
        page('<a href="/acme/">acme</a><a href="/help/">Get help</a><a href="/pypi/acme_tools/">Acme-Tools</a>'),
        page('<a href="acme/">acme</a><a href="acme-tools/">b</a>', '<base href="/team/simple/">'),
    ],
    ids=["plain", "absolute", "other host", "autoindex", "with a form", "elsewhere", "base"],
)
def test_html(body: bytes) -> None:
    assert parse_list(body, URL) == NAMES


def test_an_empty_list_is_one() -> None:
    assert parse_list(page(""), URL) == ()
    assert parse_list(page("", '<meta name="pypi:repository-version" content="1.0">'), URL) == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (LOGIN_PAGE, "a login or error page?"),
        (page('<a href="/about/">about</a><p>Welcome</p>', "<title>Acme</title>"), "a login or error page?"),
        (b'{"message": "not found"}', "not that of the Simple API"),
        (b"{", "not that of the Simple API"),
        (b'{"projects": 7}', "not that of the Simple API"),
    ],
)
def test_what_is_no_list_says_which_url_to_give(body: bytes, reason: str) -> None:
    with pytest.raises(Unavailable, match="mostly one that ends in /simple/") as caught:
        parse_list(body, URL)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "body", [listing(meta={"api-version": "2.0"}), page("", '<meta name="pypi:repository-version" content="2.0">')]
)
def test_a_later_major_version_is_refused(body: bytes) -> None:
    with pytest.raises(Unavailable, match=r"speaks version 2\.0"):
        parse_list(body, URL)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"<a href='{text}'>{text}</a>".encode()))
def test_any_bytes_are_a_list_or_none(body: bytes) -> None:
    try:
        names = parse_list(body, URL)
    except Unavailable:
        return
    assert list(names) == sorted(set(names))


@pytest.fixture
def server() -> Iterator[FakeUpstream]:
    with FakeUpstream({"acme": [], "acme-tools": []}) as upstream:
        yield upstream


def test_over_the_wire(server: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Upstream(server.url, timeouts=Timeouts(connect=5, read=5, page=5), proxies={})
    try:
        assert client.projects() == NAMES
        server.style = "html"
        assert client.projects() == NAMES
        monkeypatch.setattr(client_module, "LIST_LIMIT", 50)
        with pytest.raises(Unavailable, match="longer than 50 bytes"):
            client.projects()
        server.fail(Fault("status", status=404), "/simple/")
        with pytest.raises(NotFound, match="no list of projects"):
            client.projects()
    finally:
        client.close()
