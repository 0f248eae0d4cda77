"""Pages of other indexes, as they are and as they should not be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.errors import Unavailable
from caseus.names import normalize
from caseus.upstream.formats import parse_page

URL = "https://pkgs.example.com/simple/alpha/"
SHA = "a" * 64
ALPHA = normalize("alpha")


def json_page(*files: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"meta": {"api-version": "1.4"}, "name": "alpha", "files": files, **more}).encode()


def html_page(body: str, head: str = "") -> bytes:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>".encode()


class TestJson:
    def test_every_field(self) -> None:
        page = parse_page(
            ALPHA,
            json_page(
                {
                    "filename": "alpha-1.0-py3-none-any.whl",
                    "url": "../../files/alpha-1.0-py3-none-any.whl",
                    "hashes": {"SHA256": "A" * 64, "crc32": "00000000", "md5": "beef"},
                    "size": 12,
                    "upload-time": "2024-05-06T07:08:09.123456Z",
                    "requires-python": ">=3.8",
                    "core-metadata": {"sha256": SHA},
                    "yanked": "broken",
                    "gpg-sig": True,
                    "provenance": "https://pkgs.example.com/provenance",
                    "_private": 1,
                },
                **{"versions": ["1.0", "0.9"], "project-status": {"status": "archived", "reason": "done\nwith"}},
            ),
            URL,
        )
        (file,) = page.files
        url = "https://pkgs.example.com/files/alpha-1.0-py3-none-any.whl"
        assert (file.url, file.metadata_url, file.sig_url) == (url, f"{url}.metadata", f"{url}.asc")
        assert file.hashes == {"sha256": SHA}
        assert file.size == 12
        assert file.upload_time == datetime(2024, 5, 6, 7, 8, 9, 123456, UTC)
        assert file.requires_python == ">=3.8"
        assert file.core_metadata == {"sha256": SHA}
        assert file.yanked == "broken"
        assert file.gpg_sig is True
        assert file.provenance == "https://pkgs.example.com/provenance"
        assert page.versions == ("0.9", "1.0")
        assert (page.status, page.status_reason) == ("archived", "done with")

    def test_a_bad_entry_is_dropped_and_not_the_page(self) -> None:
        good = {"filename": "alpha-1.0.tar.gz", "url": "alpha-1.0.tar.gz", "hashes": {}}
        bad: list[Any] = [
            {"filename": "alpha-1.1.tar.gz"},
            {"filename": 7, "url": "x", "hashes": {}},
            {**good, "filename": "../../etc/alpha-2.tar.gz"},
            {**good, "filename": "alpha-3.0.tar.gz", "url": "ftp://pkgs.example.com/alpha-3.0.tar.gz"},
            {**good, "filename": "alpha-4.0.tar.gz", "url": "http://[broken/alpha-4.0.tar.gz"},
            {**good, "filename": "beta-1.0.tar.gz"},
            {**good, "filename": "alpha-5.0.tar.gz", "yanked": [1]},
            {**good, "filename": "alpha-1.0.tar.gz.asc"},
            "text",
        ]
        page = parse_page(ALPHA, json_page(*bad, good), URL)
        assert [file.filename for file in page.files] == ["alpha-1.0.tar.gz"]

    @pytest.mark.parametrize("spelling", ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"])
    def test_core_metadata_has_three_spellings(self, spelling: str) -> None:
        entry = {"filename": "alpha-1.0.tar.gz", "url": "alpha-1.0.tar.gz", "hashes": {}, spelling: {"sha256": SHA}}
        assert parse_page(ALPHA, json_page(entry), URL).files[0].core_metadata == {"sha256": SHA}

    def test_versions_of_files_are_added_and_sorted(self) -> None:
        files: list[dict[str, Any]] = [
            {"filename": name, "url": name, "hashes": {}}
            for name in ("alpha-10.0.tar.gz", "alpha-2.0.tar.gz", "alpha-2.0-1.tar.gz", "alpha-nightly.exe")
        ]
        page = parse_page(ALPHA, json_page(*files, versions=["2.0.0", None]), URL)
        assert page.versions == ("2.0.0", "2.0.post1", "10.0", "nightly")

    @pytest.mark.parametrize(
        "body",
        [
            b'{"error": "not here"}',
            b'{"files": ',
            b'{"files": [], "meta": {"api-version": "2.0"}}',
            b'{"files": [], "name": "beta"}',
            b'{"files": {}}',
            b"{" * 100_000,
        ],
    )
    def test_what_is_no_page_is_an_error(self, body: bytes) -> None:
        with pytest.raises(Unavailable) as caught:
            parse_page(ALPHA, body, URL)
        assert caught.value.kind == "upstream"

    def test_without_meta_and_with_a_byte_order_mark(self) -> None:
        assert parse_page(ALPHA, b'\xef\xbb\xbf\n {"files": [], "versions": ["1"]}', URL).versions == ("1",)


class TestHtml:
    def test_every_attribute(self) -> None:
        page = parse_page(
            ALPHA,
            html_page(
                '<a href="alpha-1.0-py3-none-any.whl#sha256=' + SHA + '" data-requires-python="&gt;=3.8,&lt;4" '
                'data-core-metadata="sha256=' + SHA + '" data-yanked="" data-gpg-sig="true" '
                'data-provenance="https://pkgs.example.com/p" data-upload-time="2024-05-06T07:08:09Z">'
                "alpha-1.0-py3-none-any.whl</a>",
                '<base href="/files/"><meta name="pypi:repository-version" content="1.4">'
                '<meta name="pypi:project-status" content="deprecated">'
                '<meta name="pypi:project-status-reason" content="use beta">',
            ),
            URL,
        )
        (file,) = page.files
        assert file.url == "https://pkgs.example.com/files/alpha-1.0-py3-none-any.whl"
        assert file.hashes == {"sha256": SHA}
        assert file.requires_python == ">=3.8,<4"
        assert file.core_metadata == {"sha256": SHA}
        assert file.yanked is True
        assert file.gpg_sig is True
        assert file.provenance == "https://pkgs.example.com/p"
        assert file.upload_time == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
        assert page.versions == ("1.0",)
        assert (page.status, page.status_reason) == ("deprecated", "use beta")

    @pytest.mark.parametrize(
        ("href", "url"),
        [
            ("alpha-1.0.zip", "https://pkgs.example.com/simple/alpha/alpha-1.0.zip"),
            ("../../f/alpha-1.0.zip#md5=" + "b" * 32, "https://pkgs.example.com/f/alpha-1.0.zip"),
            ("//files.example.com/alpha-1.0.zip", "https://files.example.com/alpha-1.0.zip"),
            ("https://user:secret@files.example.com/alpha-1.0.zip", "https://files.example.com/alpha-1.0.zip"),
            (" http://files.example.com:81/%61lpha-1.0.zip ", "http://files.example.com:81/%61lpha-1.0.zip"),
            ("/download?f=1", "https://pkgs.example.com/download?f=1"),
        ],
    )
    def test_links(self, href: str, url: str) -> None:
        page = parse_page(ALPHA, html_page(f'<a href="{href}">alpha-1.0.zip</a>'), URL)
        assert [(file.filename, file.url) for file in page.files] == [("alpha-1.0.zip", url)]

    @pytest.mark.parametrize(
        ("attributes", "told"),
        [
            ("", False),
            ('data-core-metadata="true"', True),
            ('data-core-metadata="false"', False),
            (f'data-dist-info-metadata="sha256={SHA}"', {"sha256": SHA}),
            ('data-core-metadata="crc32=00"', True),
        ],
    )
    def test_metadata_attributes(self, attributes: str, told: object) -> None:
        page = parse_page(ALPHA, html_page(f'<a href="alpha-1.0.zip" {attributes}>alpha-1.0.zip</a>'), URL)
        assert page.files[0].core_metadata == told

    @pytest.mark.parametrize(
        "body",
        [
            html_page("<h1>Links for alpha</h1>"),
            html_page("", "<title>Simple index</title>"),
            html_page("", '<meta name="pypi:repository-version" content="1.0">'),
            html_page('<h1>Index of /simple/alpha/</h1><a href="../">../</a>'),
            html_page(""),
            html_page('<a href="beta-1.0.zip">beta-1.0.zip</a>', "<title>Links for alpha</title>"),
        ],
    )
    def test_an_empty_project(self, body: bytes) -> None:
        assert parse_page(ALPHA, body, URL).files == ()

    @pytest.mark.parametrize(
        "body",
        [
            html_page("<form><input type=password></form>", "<title>Sign in</title>"),
            html_page("<form></form>", "<title>Links for guests</title>"),
            html_page("<h1>502 Bad Gateway</h1>"),
            html_page("", "<title>Please wait</title>"),
            html_page("<script>location='/login'</script>"),
            html_page("", '<meta http-equiv="Refresh" content="0; url=/login">'),
            html_page('<p>Welcome</p><a href="/help">help</a>'),
            html_page('<a href="beta-1.0.zip">beta-1.0.zip</a>'),
            b"",
            b"  \n",
            b"it works",
            b"[]",
            html_page('<a href="alpha-1.0.zip">x</a>', '<meta name="pypi:repository-version" content="2.0">'),
        ],
    )
    def test_what_is_no_index_page_is_an_error_and_no_empty_project(self, body: bytes) -> None:
        with pytest.raises(Unavailable) as caught:
            parse_page(ALPHA, body, URL)
        assert caught.value.kind == "upstream"

    def test_a_page_without_any_mark_but_with_a_file(self) -> None:
        page = parse_page(ALPHA, b"<a href=Alpha-1.0-py3.8.egg>Alpha-1.0-py3.8.egg</a>", URL)
        assert [file.filename for file in page.files] == ["Alpha-1.0-py3.8.egg"]
        assert page.versions == ("1.0",)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_content_raises_anything_else(noise: bytes) -> None:
    for body in (noise, b"{" + noise, b"<a href=" + noise, b'<base href="' + noise + b'"><a href=alpha-1.zip>'):
        try:
            page = parse_page(ALPHA, body, URL)
        except Unavailable:
            continue
        assert all(file.url is not None and file.url.startswith(("http://", "https://")) for file in page.files)


_values = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.dictionaries(st.text(), st.text())


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "hashes",
                "size",
                "upload-time",
                "requires-python",
                "core-metadata",
                "yanked",
                "gpg-sig",
                "provenance",
                "url",
            ]
        ),
        _values,
    )
)
def test_no_entry_breaks_a_json_page(fields: dict[str, Any]) -> None:
    entry = {"filename": "alpha-1.0.zip", "url": "alpha-1.0.zip", **fields}
    good = {"filename": "alpha-2.0.zip", "url": "alpha-2.0.zip"}
    assert "alpha-2.0.zip" in [file.filename for file in parse_page(ALPHA, json_page(entry, good), URL).files]
