"""The page at `/`: lines that work from where it is read, and a policy that lets its style in."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from caseus.render import HOME_POLICY, home_html


def text(**arguments: object) -> str:
    return home_html(**{"base_url": "https://pkgs.example.com/team/", **arguments}).decode()  # type: ignore[arg-type]


def test_lines_are_relative_to_the_base_url() -> None:
    page = text()
    for line in (
        "pip install --index-url https://pkgs.example.com/team/simple/ PACKAGE",
        "uv pip install --default-index https://pkgs.example.com/team/simple/ PACKAGE",
        "twine upload --repository-url https://pkgs.example.com/team/legacy/ dist/*",
        "uv publish --publish-url https://pkgs.example.com/team/legacy/ dist/*",
    ):
        assert f"<pre>{line}</pre>" in page
    assert 'href="simple/"' in page


def test_the_policy_lets_exactly_this_style_in() -> None:
    style = re.search(r"<style>(.*?)</style>", text(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in HOME_POLICY
    assert "default-src 'none'" in HOME_POLICY


def test_nothing_is_scripted_or_fetched() -> None:
    page = text()
    assert not re.search(r"<script|<link|<img|style=|src=|@import|url\(", page)


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("http://pkgs.example.com:8080/", "pkgs.example.com"),
        ("http://10.0.0.5/", "10.0.0.5"),
        ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
        ("http://127.0.0.1:8080/", None),
        ("http://localhost:8080/", None),
        ("https://pkgs.example.com/", None),
    ],
)
def test_pip_is_told_to_trust_a_host_without_tls(base_url: str, host: str | None) -> None:
    page = text(base_url=base_url)
    assert ("--trusted-host" in page) == (host is not None)
    assert host is None or f"--trusted-host {host} PACKAGE" in page


def test_it_says_who_may_do_what() -> None:
    assert "Anybody may install" in text()
    assert "Reading and publishing need a login" in text(closed=True)
    assert "verified cache" in text(proxied=True)
    assert "verified cache" not in text()


def test_what_comes_in_is_escaped() -> None:
    page = text(base_url='https://x/"><script>/', index="<b>")
    assert "<script" not in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("projects", "files", "told"),
    [
        (0, 0, "Nothing is published here yet."),
        (1, 1, "Published here: 1 project with 1 file."),
        (2, 3000, "Published here: 2 projects with 3,000 files."),
    ],
)
def test_the_page_tells_how_much_there_is(projects: int, files: int, told: str) -> None:
    assert f"<p>{told}</p>" in text(projects=projects, files=files)
