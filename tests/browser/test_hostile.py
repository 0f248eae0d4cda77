"""Nothing that a stranger wrote runs in a reader's browser: uploads, reasons of yanks, pages of an upstream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser

from support.browser import HACK, Window, attributes, schemes, tags
from support.clients import upload
from support.packages import make_sdist, make_wheel, metadata
from support.server import CaseusServer
from support.static import by_python
from support.upstream import FakeUpstream, Fault, Listed, Options

JSON_PAGE = "application/vnd.pypi.simple.v1+json"
MARKUP = f"""</a>"'><script>{HACK}</script><img src=x onerror={HACK}><a href="javascript:{HACK}">x</a>&quot;<!--"""
HEADERS = f"""\
Author: {MARKUP}
Keywords: {MARKUP}
License: {MARKUP}
Home-page: javascript:{HACK}
Download-URL: javascript:{HACK}
Project-URL: {MARKUP}, javascript:{HACK}
Classifier: {MARKUP}
Description-Content-Type: text/html
Requires-Dist: other @ javascript:{HACK}
"""
POLICY = 'http-equiv="Content-Security-Policy"'
TAGS = {"html", "head", "meta", "title", "body", "h1", "a", "br"}
LINKS = {
    "href", "data-requires-python", "data-core-metadata", "data-dist-info-metadata", "data-yanked", "data-gpg-sig",
}  # fmt: skip
Open = Callable[..., Window]

# With its policy a page runs no script at all; without it, all depends on what is escaped.
each_policy = pytest.mark.parametrize("without_policy", [False, True], ids=["policy", "no policy"])


class Evil(NamedTuple):
    url: str
    wheel: str
    """The name of what was uploaded."""


def hostile(headers: str = HEADERS, **options: str) -> bytes:
    head = metadata("evil", "1.0", extra=headers, description=f"<h1>evil</h1>{MARKUP}", **options)
    return head.replace(b"Summary: The package evil", f"Summary: {MARKUP}".encode())


def page_of_an_upstream(name: str, filename: str) -> bytes:
    """As JSON; the status and its reason are hostile."""
    status = {"status": "deprecated", "reason": MARKUP}
    file = {"filename": filename, "url": f"../../files/{name}/{filename}", "hashes": {"sha256": f'"{MARKUP}'}}
    return json.dumps(
        {"meta": {"api-version": "1.4"}, "name": name, "project-status": status, "versions": [MARKUP], "files": [file]}
    ).encode()


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evil]:
    """An index whose users and whose upstream are hostile."""
    wheel = make_wheel("evil", "1.0", metadata_bytes=hostile())
    script = make_wheel("far-evil", "1.0")
    listed: dict[str, Sequence[Listed]] = {
        "far-evil": [
            (*script, Options(yanked=MARKUP, requires_python=MARKUP, signature=MARKUP.encode())),
            (*make_wheel("far-evil", "2.0"), Options(url=f"javascript:{HACK}")),
            (f"far_evil-3.0{MARKUP}.tar.gz", b"x"),
        ],
        "odd-evil": [make_sdist("odd-evil", "1.0")],
        MARKUP: [],
    }
    root = tmp_path_factory.mktemp("evil") / "root"
    with FakeUpstream(listed) as upstream, CaseusServer(root, upstream=upstream.url) as server:
        told = Fault("raw", body=page_of_an_upstream("odd-evil", "odd_evil-1.0.tar.gz"), content_type=JSON_PAGE)
        upstream.fail(told, "/simple/odd-evil/")
        assert upload(server.url, *wheel, login=server.admin).status == 200
        sdist = make_sdist("evil", "1.0", pkg_info=hostile())
        assert upload(server.url, *sdist, login=server.admin).status == 200
        yanked = server.cli("project", "yank", wheel[0], "--reason", MARKUP)
        assert yanked.returncode == 0, yanked.stderr
        yield Evil(server.url, wheel[0])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"<script>{HACK}</script>", "ran: 1"),
        (f"<img src=x onerror={HACK}>", "ran: 1"),
        ("<script>alert('evil')</script>", "asked by alert: evil"),
        ("<script>evil()</script>", "failed: evil is not defined"),
        (f"""<meta {POLICY} content="script-src x:"><script>{HACK}</script>""", "violated script-src-elem: inline"),
    ],
)  # fmt: skip
def test_what_a_page_does_is_noticed(browser: Browser, tmp_path: Path, text: str, told: str) -> None:
    """Else the tests below could not fail."""
    (tmp_path / "index.html").write_text(f"<title>evil</title>{text}")
    window = Window(browser)
    with by_python(tmp_path) as url:
        window.go(url)
        with pytest.raises(AssertionError):
            window.judge()
    assert any(told in each for each in window.told)
    window.close()


@each_policy
@pytest.mark.parametrize(
    ("project", "files", "texts"),
    [
        ("evil", 2, {"data-yanked": MARKUP}),
        ("far-evil", 1, {"data-yanked": MARKUP, "data-requires-python": MARKUP}),
        ("odd-evil", 1, {}),
    ],
    ids=["uploaded", "fetched", "odd"],
)
def test_a_projects_page(
    evil: Evil, open_window: Open, project: str, files: int, texts: dict[str, str], without_policy: bool
) -> None:
    """Hostile text is there, whole, and as nothing but text."""
    window = open_window(bypass_csp=without_policy)
    assert window.go(f"{evil.url}simple/{project}/").status == 200
    assert tags(window.page) == TAGS
    assert attributes(window.page, "body, body *") <= LINKS
    assert schemes(window.page) == {"http:"}
    links = window.page.get_by_role("link")
    assert links.count() == files
    for name, text in texts.items():
        assert links.first.get_attribute(name) == text
    if project == "odd-evil":
        assert window.page.locator("meta[name='pypi:project-status-reason']").get_attribute("content") == MARKUP
    for link in links.all():
        with window.page.expect_download():
            link.click()


@each_policy
def test_lists_of_hostile_projects(evil: Evil, open_window: Open, without_policy: bool) -> None:
    window = open_window(bypass_csp=without_policy)
    for path in ("simple/", "gpgupdate/far-evil/"):
        assert window.go(evil.url + path).status == 200
        assert tags(window.page) <= TAGS | {"p", "table", "tbody", "tr", "td"}
        assert attributes(window.page, "body, body *") <= {"href"}
        assert schemes(window.page) <= {"http:"}


@each_policy
def test_what_programs_read_is_text(evil: Evil, open_window: Open, without_policy: bool) -> None:
    """A browser shows metadata and JSON as they are, and takes them for nothing else."""
    window = open_window(bypass_csp=without_policy)
    for path in ("simple/evil/?format=application/vnd.pypi.simple.v1%2Bjson", "simple/?format=text/html"):
        assert window.go(evil.url + path).status == 200
        assert not {"script", "img"} & tags(window.page)
    with window.page.expect_download() as download:
        window.page.evaluate("url => { location = url }", f"{evil.url}simple/evil/{evil.wheel}.metadata")
    assert download.value.path().read_bytes() == hostile()
