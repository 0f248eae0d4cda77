"""Content types and codings, by the headers that clients really send."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.render import HTML, JSON, PLAIN_HTML, ContentType
from caseus.web.negotiate import choose_coding, choose_type, format_of, parse_weighted

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
    ("header", "coding"),
    [
        (None, ""),
        ("", ""),
        ("gzip", "gzip"),
        ("GZIP, deflate, br", "gzip"),
        ("zstd, gzip, deflate, br", "zstd"),
        ("gzip, ZSTD", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("identity, zstd;q=0.9, gzip;q=0.5", ""),
        ("identity;q=0.7, zstd;q=0.9, gzip;q=0.5", "zstd"),
        ("x-gzip", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=0, *", ""),
        ("identity", ""),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip"),
        ("deflate, br", ""),
        ("gzip;q=oops", ""),
    ],
)
def test_accept_encoding(header: str | None, coding: str) -> None:
    assert choose_coding(header) == coding


def test_format_of_a_query() -> None:
    assert format_of(b"") == format_of(b"formats=x&a=b") == ""
    assert format_of(b"a=b&format=text/html&format=nothing") == "text/html"
    assert format_of(b"format=nothing") is None


@settings(deadline=None)
@given(st.text())
def test_no_header_breaks_it(header: str) -> None:
    choose_type(header, header.encode("utf-8", "replace"))
    choose_coding(header)
    assert all(0 <= item.q <= 1 for item in parse_weighted(header))
