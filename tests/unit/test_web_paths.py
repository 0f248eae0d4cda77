"""Paths: the routes there are, the redirects to them, and nothing else."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from caseus.web.paths import Redirect, Route, parse_path, prefix_of, strip_prefix

FOO = NormalizedName("foo-bar")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/", Route("home")),
        (b"/main/", Route("home", "main")),
        (b"/simple/", Route("list")),
        (b"/main/simple/", Route("list", "main")),
        (b"/simple/foo-bar/", Route("project", None, FOO)),
        (b"/simple/foo%2dbar/", Route("project", None, FOO)),
        (b"/main/simple/foo-bar/", Route("project", "main", FOO)),
        (b"/simple/foo-bar/foo_bar-1.0.tar.gz", Route("file", None, FOO, "foo_bar-1.0.tar.gz")),
        (
            b"/main/simple/foo-bar/foo_bar-1%212.0%2Bx-py3-none-any.whl.metadata",
            Route("file", "main", FOO, "foo_bar-1!2.0+x-py3-none-any.whl.metadata"),
        ),
        (b"/simple/foo-bar/foo_bar-1.0.zip.asc", Route("file", None, FOO, "foo_bar-1.0.zip.asc")),
        (b"/refresh/", Route("view", view="refresh")),
        (b"/norefresh/", Route("view", view="norefresh")),
        (b"/refresh/foo-bar/", Route("project", None, FOO, view="refresh")),
        (b"/main/norefresh/foo-bar/", Route("project", "main", FOO, view="norefresh")),
        (b"/refresh/foo-bar/foo_bar-1.0.tar.gz", Route("file", None, FOO, "foo_bar-1.0.tar.gz", "refresh")),
        (b"/norefresh/foo-bar/a-1.zip.asc", Route("file", None, FOO, "a-1.zip.asc", "norefresh")),
        (b"/gpgupdate/foo-bar/", Route("signatures", None, FOO)),
        (b"/main/gpgupdate/foo-bar/", Route("signatures", "main", FOO)),
        (b"/legacy/", Route("upload")),
        (b"/main/legacy/", Route("upload", "main")),
        (b"/livez", Route("livez")),
        (b"/readyz", Route("readyz")),
    ],
)
def test_routes(path: bytes, route: Route) -> None:
    assert parse_path(path) == route


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"/main", b"/main/"),
        (b"/simple", b"/simple/"),
        (b"/refresh", b"/refresh/"),
        (b"/main/norefresh", b"/main/norefresh/"),
        (b"/refresh/Foo_Bar", b"/refresh/foo-bar/"),
        (b"/norefresh/Foo_Bar/", b"/norefresh/foo-bar/"),
        (b"/refresh/Foo_Bar/foo_bar-1.0.zip", b"/refresh/foo-bar/foo_bar-1.0.zip"),
        (b"/gpgupdate/Foo_Bar", b"/gpgupdate/foo-bar/"),
        (b"/main/gpgupdate/Foo_Bar/", b"/main/gpgupdate/foo-bar/"),
        (b"/legacy", b"/legacy/"),
        (b"/main/simple", b"/main/simple/"),
        (b"/main/legacy", b"/main/legacy/"),
        (b"/simple/foo-bar", b"/simple/foo-bar/"),
        (b"/simple/Foo_Bar", b"/simple/foo-bar/"),
        (b"/simple/Foo_Bar/", b"/simple/foo-bar/"),
        (b"/simple/foo._-bar/", b"/simple/foo-bar/"),
        (b"/main/simple/Foo.Bar/", b"/main/simple/foo-bar/"),
        (b"/simple/Foo_Bar/foo_bar-1.0%2Bx.zip", b"/simple/foo-bar/foo_bar-1.0%2Bx.zip"),
        (b"/simple/Foo_Bar/foo_bar-1.0.zip.asc", b"/simple/foo-bar/foo_bar-1.0.zip.asc"),
    ],
)
def test_redirects_resolve_to_the_right_address(path: bytes, target: bytes) -> None:
    found = parse_path(path)
    assert isinstance(found, Redirect)
    for prefix in ("", "/team/pkgs"):  # a client resolves against what it asked for, also behind a proxy's prefix
        reached = urlsplit(urljoin(f"https://pkgs.example.com{prefix}{path.decode()}", found.location)).path
        assert reached == prefix + target.decode()
    route = parse_path(target)
    assert isinstance(route, Route)
    assert route.kind == found.kind


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"simple/",
        b"//simple/",
        b"/simple//",
        b"/simple//foo/",
        b"/./simple/",
        b"/simple/../",
        b"/simple/..",
        b"/simple/%2e%2e/",
        b"/simple/foo/..",
        b"/simple/foo/%2e%2e",
        b"/simple/foo/../../etc/passwd",
        b"/%2F%2F..%2F..%2Fetc%2Fpasswd",
        b"/simple/foo%2fbar/",
        b"/simple/foo/%2fetc%2fpasswd",
        b"/simple/foo/a%5cb.zip",
        b"/simple/foo/a\\b.zip",
        b"/simple/foo%00/",
        b"/simple/foo/a.zip%00.asc",
        b"/simple/foo%0d%0aSet-Cookie:x/",
        b"/simple/foo%250a/",
        b"/simple/%2566oo/",  # a second layer of escapes
        b"/simple/%zz/",
        b"/simple/foo%/",
        b"/simple/fo o/",
        b"/simple/foo/a..zip",
        b"/simple/foo/.metadata",
        b"/simple/foo/.hidden",
        b"/simple/foo/a-1.zip/",
        b"/refresh/foo/a-1.zip/",
        b"/refresh//",
        b"/gpgupdate/",
        b"/gpgupdate",
        b"/gpgupdate/foo/a-1.zip",
        b"/refresh/simple/foo/",
        b"/simple/foo/" + b"a" * 300 + b".zip",
        b"/simple/-foo/",
        b"/simple/f\xc3\xb6o/",
        b"/simple/f%C3%B6o/",
        b"/livez/",
        b"/requests/",
        b"/other/simple/",
        b"/pypi/foo/json",
        b"/main/main/",
        b"/main/livez",
        b"/simple/" + b"a/" * 2000,
    ],
)
def test_everything_else_is_nothing(path: bytes) -> None:
    assert parse_path(path) is None


def test_only_indexes_of_the_site_and_no_reserved_word() -> None:
    assert parse_path(b"/team/simple/", ("main", "team")) == Route("list", "team")
    assert parse_path(b"/simple/", ("simple",)) == Route("list")


@settings(deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: b"/simple/foo/" + tail))
def test_no_bytes_make_a_route_that_leaves_its_place(path: bytes) -> None:
    found = parse_path(path)
    if isinstance(found, Route):
        for word in (found.project, found.filename):
            assert word.isascii()
            assert word.isprintable()
            assert not set(word) & set("/\\%\0 ")
            assert ".." not in word
    if isinstance(found, Redirect):
        assert found.location.isascii()
        assert found.location.isprintable()
        assert not found.location.startswith("/")
        assert urlsplit(found.location).scheme == ""


@pytest.mark.parametrize(
    ("public_url", "path", "rest"),
    [
        (None, b"/simple/", b"/simple/"),
        ("https://pkgs.example.com/", b"/simple/", b"/simple/"),
        ("https://pkgs.example.com/team/", b"/team/simple/", b"/simple/"),
        ("https://pkgs.example.com/team/", b"/simple/", b"/simple/"),
        ("https://pkgs.example.com/team/", b"/team/", b"/"),
        ("https://pkgs.example.com/team/", b"/teams/", b"/teams/"),
        ("https://pkgs.example.com/team/", b"/team", None),
        ("https://pkgs.example.com/a/b/", b"/a/b/simple/", b"/simple/"),
    ],
)
def test_the_prefix_is_taken_off_where_it_is_carried(public_url: str | None, path: bytes, rest: bytes | None) -> None:
    assert strip_prefix(path, prefix_of(public_url)) == rest
