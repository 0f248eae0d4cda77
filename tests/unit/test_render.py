"""What is rendered says the same after parsing, whatever the upstream wrote; and the same bytes each time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import NormalizedName
from pypi_simple import IndexPage, ProjectPage

from caseus.model import File, Project
from caseus.render import HTML, PLAIN_HTML, list_html, list_json, make_page, project_html, project_json

SHA256 = "ab" * 32
NAME = NormalizedName("acme-tools")

# Control characters go out of HTML replaced: they are tested by themselves.
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\r\n\t<>&\"'"), min_size=1)
FILENAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+!~()@=,-]{0,40}", fullmatch=True)
DIGEST = st.sampled_from(["ab" * 32, "00" * 32, "9f" * 32])
FILES = st.builds(
    File,
    filename=FILENAMES,
    hashes=st.dictionaries(st.sampled_from(["sha256", "md5", "sha512", "blake2b"]), DIGEST),
    size=st.none() | st.integers(0, 2**40),
    upload_time=st.none()
    | st.datetimes(timezones=st.just(UTC), min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)),
    requires_python=st.none() | TEXTS,
    core_metadata=st.booleans() | st.dictionaries(st.just("sha256"), DIGEST, min_size=1),
    yanked=st.booleans() | TEXTS,
    gpg_sig=st.none() | st.booleans(),
    provenance=st.none() | st.just("https://pkgs.example.com/p?a=1&b=<2>"),
)
PROJECTS = st.builds(
    Project,
    name=st.just(NAME),
    files=st.lists(FILES, max_size=4).map(tuple),
    versions=st.lists(TEXTS, max_size=3).map(tuple),
    status=st.sampled_from(["active", "archived", "deprecated"]),
    status_reason=st.none() | TEXTS,
)


class Anchors(HTMLParser):
    """Anchors with attributes and text, and the metas, as the standard library reads them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.anchors: list[tuple[dict[str, str | None], str]] = []
        self.metas: dict[str | None, str | None] = {}
        self.tags: set[str] = set()
        self._inside = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "a":
            self.anchors.append((dict(attrs), ""))
            self._inside = True
        elif tag == "meta" and "name" in dict(attrs):
            self.metas[dict(attrs)["name"]] = dict(attrs)["content"]

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "a"

    def handle_data(self, data: str) -> None:
        if self._inside:
            attributes, text = self.anchors[-1]
            self.anchors[-1] = (attributes, text + data)


@settings(deadline=None, max_examples=50)
@given(PROJECTS)
def test_html_says_what_the_project_is(project: Project) -> None:
    page = Anchors(project_html(project))
    assert page.metas["pypi:repository-version"] == "1.4"
    assert page.metas["pypi:project-status"] == project.status
    assert page.metas.get("pypi:project-status-reason") == project.status_reason
    assert page.tags == {"html", "head", "meta", "title", "body", "h1"} | ({"a", "br"} if project.files else set())
    assert [text for _, text in page.anchors] == [file.filename for file in project.files]
    for (attributes, _), file in zip(page.anchors, project.files, strict=True):
        assert unquote(urlsplit(attributes["href"] or "").path) == file.filename
        assert urlsplit(attributes["href"] or "").scheme == ""
        assert attributes.get("data-requires-python") == file.requires_python
        assert ("data-yanked" in attributes) == bool(file.yanked)
        if isinstance(file.yanked, str):
            assert attributes["data-yanked"] == file.yanked
        assert attributes.get("data-gpg-sig") == {None: None, True: "true", False: "false"}[file.gpg_sig]
        assert attributes.get("data-provenance") == file.provenance
        assert attributes.get("data-core-metadata") == attributes.get("data-dist-info-metadata")
        assert ("data-core-metadata" in attributes) == bool(file.core_metadata)


@settings(deadline=None, max_examples=50)
@given(PROJECTS)
def test_json_says_what_the_project_is(project: Project) -> None:
    page = json.loads(project_json(project))
    assert page["meta"] == {"api-version": "1.4"}
    assert page["name"] == project.name
    assert page["versions"] == list(project.versions)
    assert page["project-status"]["status"] == project.status
    assert page["project-status"].get("reason") == project.status_reason
    for entry, file in zip(page["files"], project.files, strict=True):
        assert entry["filename"] == file.filename
        assert unquote(entry["url"]) == file.filename
        assert entry["hashes"] == file.hashes
        assert entry["yanked"] == file.yanked
        assert entry.get("core-metadata", False) == file.core_metadata
        assert "dist-info-metadata" not in entry  # pip 22.3 to 23.0 dies of it
        for key, value in (
            ("size", file.size),
            ("requires-python", file.requires_python),
            ("gpg-sig", file.gpg_sig),
            ("provenance", file.provenance),
        ):
            assert (key in entry) == (value is not None)
            assert entry.get(key) == value
        told = entry.get("upload-time")
        assert (datetime.fromisoformat(told) if told else None) == file.upload_time


@settings(deadline=None, max_examples=25)
@given(PROJECTS)
def test_both_forms_mean_the_same_to_pypi_simple(project: Project) -> None:
    base = "https://pkgs.example.com/simple/acme-tools/"
    html = ProjectPage.from_html("acme-tools", project_html(project), base_url=base)
    data = ProjectPage.from_json_data(json.loads(project_json(project)), base_url=base)
    assert html.repository_version == data.repository_version == "1.4"
    for ours, theirs in zip(html.packages, data.packages, strict=True):
        assert ours.filename == theirs.filename
        assert ours.url == theirs.url
        assert ours.is_yanked == theirs.is_yanked
        assert (ours.requires_python or None) == (theirs.requires_python or None)
        assert bool(ours.has_metadata) == bool(theirs.has_metadata)
        assert ours.has_sig == theirs.has_sig


def test_a_page_byte_for_byte() -> None:
    file = File(
        filename="acme_tools-1!2.0+local-py3-none-any.whl",
        hashes={"sha256": SHA256, "md5": "cd" * 16},
        size=7,
        upload_time=datetime(2024, 1, 1, tzinfo=UTC),
        requires_python=">=3.8,<4",
        core_metadata={"sha256": SHA256},
        yanked='say "why" & <how>',
    )
    project = Project(name=NAME, files=(file,), versions=("1!2.0+local",))
    assert project_html(project) == project_html(project)
    assert project_html(project).decode() == (
        '<!DOCTYPE html>\n<html lang="en">\n  <head>\n    <meta charset="utf-8">\n'
        '    <meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '    <meta name="color-scheme" content="light dark">\n'
        '    <meta name="pypi:repository-version" content="1.4">\n'
        '    <meta name="pypi:project-status" content="active">\n'
        "    <title>Links for acme-tools</title>\n  </head>\n  <body>\n    <h1>Links for acme-tools</h1>\n"
        f'    <a href="acme_tools-1%212.0%2Blocal-py3-none-any.whl#sha256={SHA256}" '
        'data-requires-python="&gt;=3.8,&lt;4" '
        f'data-core-metadata="sha256={SHA256}" data-dist-info-metadata="sha256={SHA256}" '
        'data-yanked="say &quot;why&quot; &amp; &lt;how&gt;">acme_tools-1!2.0+local-py3-none-any.whl</a><br>\n'
        "  </body>\n</html>\n"
    )
    assert project_json(project).decode() == (
        '{"meta":{"api-version":"1.4"},"name":"acme-tools","project-status":{"status":"active"},'
        '"versions":["1!2.0+local"],"files":[{"filename":"acme_tools-1!2.0+local-py3-none-any.whl",'
        '"url":"acme_tools-1%212.0%2Blocal-py3-none-any.whl",'
        f'"hashes":{{"md5":"{"cd" * 16}","sha256":"{SHA256}"}},"size":7,"upload-time":"2024-01-01T00:00:00Z",'
        f'"requires-python":">=3.8,<4","core-metadata":{{"sha256":"{SHA256}"}},'
        '"yanked":"say \\"why\\" & <how>"}]}'
    )


@pytest.mark.parametrize(
    ("hashes", "fragment"),
    [
        ({"md5": "aa", "sha256": "bb", "sha512": "cc"}, "sha256=bb"),
        ({"md5": "aa", "sha512": "cc"}, "sha512=cc"),
        ({"md5": "aa", "sha1": "bb"}, "sha1=bb"),
        ({"md5": "aa", "blake2b_256": "bb"}, "md5=aa"),
        ({}, ""),
        ({"sha256": 'x" onload="'}, ""),
        ({"sha256": "AB"}, ""),
        ({'"><script>': "ab"}, ""),
    ],
)
def test_the_fragment_is_the_best_sound_hash(hashes: dict[str, str], fragment: str) -> None:
    project = Project(name=NAME, files=(File(filename="a-1.zip", hashes=hashes),))
    href = Anchors(project_html(project)).anchors[0][0]["href"]
    assert href == "a-1.zip" + (f"#{fragment}" if fragment else "")


def test_a_quarantined_project_offers_no_file() -> None:
    project = Project(
        name=NAME, files=(File(filename="a-1.zip"),), status="quarantined", status_reason="malware", versions=("1",)
    )
    assert Anchors(project_html(project)).anchors == []
    page = json.loads(project_json(project))
    assert page["files"] == []
    assert page["project-status"] == {"status": "quarantined", "reason": "malware"}


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00Z"),
        (datetime(2024, 1, 1, 0, 0, 0, 5, tzinfo=UTC), "2024-01-01T00:00:00.000005Z"),
        (datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2024-01-01T00:00:00Z"),
    ],
)
def test_upload_time_is_utc_in_pep_700s_form(moment: datetime, text: str) -> None:
    project = Project(name=NAME, files=(File(filename="a-1.zip", upload_time=moment),))
    assert json.loads(project_json(project))["files"][0]["upload-time"] == text


@pytest.mark.parametrize("url", ["http://pkgs.example.com/p", "javascript:alert(1)", "p", ""])
def test_provenance_is_told_only_if_https(url: str) -> None:
    project = Project(name=NAME, files=(File(filename="a-1.zip", provenance=url),))
    assert "provenance" not in json.loads(project_json(project))["files"][0]
    assert b"provenance" not in project_html(project)


def test_text_that_no_encoding_carries_breaks_no_page() -> None:
    file = File(filename="a-1.zip", requires_python="\ud800>3\x00\x1b", yanked="\udfff")
    project = Project(name=NAME, files=(file,), status_reason="\ud800", versions=("\ud800",))
    attributes = Anchors(project_html(project)).anchors[0][0]
    assert attributes["data-requires-python"] == "\ufffd>3\ufffd\ufffd"
    reason = Project(name=NAME, files=(File(filename="a-1.zip", yanked="a\r\nb"),))
    assert b'data-yanked="a&#13;&#10;b"' in project_html(reason)  # a bare CR would be read as LF
    assert json.loads(project_json(project))["files"][0]["yanked"] == "\ufffd"


def test_the_list_of_projects() -> None:
    names = ["acme-tools", "zope"]
    html: Any = IndexPage.from_html(list_html(names))
    assert html.projects == IndexPage.from_json_data(json.loads(list_json(names))).projects == names
    assert [attributes["href"] for attributes, _ in Anchors(list_html(iter(names))).anchors] == ["acme-tools/", "zope/"]


def test_the_etag_differs_between_types_and_codings() -> None:
    pages = [make_page(b"x", HTML), make_page(b"x", PLAIN_HTML), make_page(b"x", HTML, "gzip"), make_page(b"y", HTML)]
    assert len({page.etag for page in pages}) == 4
    assert make_page(b"x", HTML) == pages[0]
    assert all(page.etag.startswith('"') and page.etag.endswith('"') for page in pages)
