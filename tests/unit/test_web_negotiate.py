"""Content types and codings, by the headers that clients really send."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.render import HTML, JSON, PLAIN_HTML, ContentType
from caseus.web.negotiate import accepts_gzip, choose_type, parse_weighted

UV = f"{JSON}, {HTML};q=0.2, text/html;q=0.01"
PIP = f"{JSON}, {HTML}; q=0.1, text/html; q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, PLAIN_HTML),
        ("", PLAIN_HTML),
        ("*/*", PLAIN_HTML),
        (UV, JSON),
        (PIP, JSON),
        (BROWSER, PLAIN_HTML),
        ("text/html", PLAIN_HTML),
        ("TEXT/HTML; charset=utf-8", PLAIN_HTML),
        ("text/*", PLAIN_HTML),
        ("application/*", JSON),
        (JSON, JSON),
        (HTML, HTML),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("application/vnd.pypi.simple.latest+html", HTML),
        (f"{HTML}, {JSON}", JSON),
        (f"{HTML};q=0.9, {JSON};q=0.8", HTML),
        (f"{JSON};q=0, */*", PLAIN_HTML),
        (f"text/html;q=0, {HTML};q=0, */*;q=0.1", JSON),
        (f"application/json, {HTML};q=0.001", HTML),
        ("text/html;q=0", None),
        (f"{JSON};q=0", None),
        ("*/*;q=0", None),
        ("application/json", None),
        ("application/vnd.pypi.simple.v2+json", None),
        ("image/png, text/plain", None),
        (f"{JSON};q=high, text/html;q=0.5", PLAIN_HTML),
        (",;q=1,", PLAIN_HTML),
    ],
)
def test_accept(accept: str | None, chosen: ContentType | None) -> None:
    assert choose_type(accept) == chosen


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        (b"format=application/vnd.pypi.simple.v1+json", JSON),  # a bare + is a space in a query
        (b"format=application/vnd.pypi.simple.v1%2Bjson", JSON),
        (b"x=1&format=application%2Fvnd.pypi.simple.latest%2Bhtml", HTML),
        (b"format=text/html", PLAIN_HTML),
        (b"format=json", None),
        (b"format=*/*", None),
        (b"format=", JSON),
        (b"other=text/html", JSON),
    ],
)
def test_format_wins_over_accept(query: bytes, chosen: ContentType | None) -> None:
    assert choose_type(JSON, query) == chosen


@pytest.mark.parametrize(
    ("header", "welcome"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP, deflate, br, zstd", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("deflate, br", False),
        ("gzip;q=oops", False),
    ],
)
def test_accept_encoding(header: str | None, welcome: bool) -> None:
    assert accepts_gzip(header) is welcome


@settings(deadline=None)
@given(st.text())
def test_no_header_breaks_it(header: str) -> None:
    choose_type(header, header.encode("utf-8", "replace"))
    accepts_gzip(header)
    assert all(0 <= item.q <= 1 for item in parse_weighted(header))
