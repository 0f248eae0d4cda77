"""What an upstream is called, and how its URL is taken apart."""

from __future__ import annotations

import re

import pytest
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from caseus.errors import Invalid
from caseus.model import File
from caseus.storage import fetched_tree, file_key
from caseus.upstream import Origin, linked_origins, resolve_upstream, upstream_name
from caseus.upstream.urls import basic_auth, origin_of, request_target, shown


def test_the_public_index_is_called_pypi() -> None:
    assert resolve_upstream("pypi") == PYPI_SIMPLE_ENDPOINT
    assert upstream_name(PYPI_SIMPLE_ENDPOINT) == upstream_name(PYPI_SIMPLE_ENDPOINT.rstrip("/")) == "pypi"


@pytest.mark.parametrize(
    ("url", "beginning"),
    [
        ("https://pkgs.example.com/simple/", "pkgs.example.com-"),
        ("https://PKGS.example.com:443/simple/", "pkgs.example.com-"),
        ("http://pkgs.example.com:8080/simple/", "pkgs.example.com-8080-"),
        ("http://[::1]:8080/simple/", "1-8080-"),
    ],
)
def test_other_names(url: str, beginning: str) -> None:
    name = upstream_name(url)
    assert re.fullmatch(re.escape(beginning) + "[0-9a-f]{8}", name)
    file_key(fetched_tree(name), "alpha", "alpha-1.0.zip")


def test_user_and_password_are_no_part_of_the_name() -> None:
    assert upstream_name("https://u:p@pkgs.example.com/simple/") == upstream_name("https://pkgs.example.com/simple/")
    assert upstream_name("https://pkgs.example.com/a/") != upstream_name("https://pkgs.example.com/b/")


def test_settings() -> None:
    assert resolve_upstream("none") is None
    assert resolve_upstream("https://pkgs.example.com/simple") == "https://pkgs.example.com/simple/"
    assert resolve_upstream("https://u:p@pkgs.example.com/") == "https://u:p@pkgs.example.com/"


@pytest.mark.parametrize(
    "value",
    ["", "pkgs.example.com", "ftp://pkgs.example.com/", "file:///etc", "https:///simple", "https://h:x/", "https://h:0/",
     "https://h/\\@other/", "https://h /", "https://h/?a=b", "https://h/#a", "https://[::1/", "https://u:secret@/x"],
)  # fmt: skip
def test_bad_settings(value: str) -> None:
    with pytest.raises(Invalid) as caught:
        resolve_upstream(value)
    assert "secret" not in str(caught.value)


def test_origins() -> None:
    assert origin_of("https://Pkgs.Example.com./a") == Origin("https", "pkgs.example.com", 443)
    assert origin_of("http://u:p@h:81/") == Origin("http", "h", 81)
    assert origin_of("https://bücher.example.com/") == Origin("https", "xn--bcher-kva.example.com", 443)
    files = [
        File(filename="a", url="https://a.example.com/a"),
        File(filename="b", url="http://b.example.com/b", metadata_url="https://c.example.com:444/b"),
    ]
    assert linked_origins(files) == {Origin("https", "a.example.com", 443), Origin("https", "c.example.com", 444)}


def test_secrets_are_not_shown() -> None:
    assert shown("https://u:p@h/a?X-Signature=s#f") == "https://h/a"
    assert basic_auth("https://u%40x:p%3Aq@h/") == "Basic dUB4OnA6cQ=="
    assert basic_auth("https://h/") is None


def test_request_targets() -> None:
    assert request_target("https://h") == "/"
    assert request_target("https://h/a%2Fb é?q=1&r=[é]") == "/a%2Fb%20%C3%A9?q=1&r=[%C3%A9]"
