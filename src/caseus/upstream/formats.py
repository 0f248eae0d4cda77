"""The two forms of a project's page: JSON (PEP 691) and HTML (PEP 503), told apart by the body's first character.

The Content-Type is not asked: there are indexes that send none, and some that send JSON's type with HTML.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urljoin

import msgspec
from packaging.utils import NormalizedName
from selectolax.lexbor import LexborHTMLParser, LexborNode

from caseus import names
from caseus.errors import Invalid
from caseus.upstream.pages import CoreMetadata, Entry, Page, belongs, build_page, check_version, filename_of, not_a_page


def parse_page(name: NormalizedName, body: bytes, url: str) -> Page:
    """The page that was found at `url` (after redirects). Unavailable if it is no index page."""
    body = body.removeprefix(codecs.BOM_UTF8).lstrip()
    return _parse_json(name, body, url) if body.startswith(b"{") else _parse_html(name, body, url)


class _JsonFile(msgspec.Struct, rename="kebab"):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    size: int | None = None
    upload_time: str | None = None
    requires_python: str | None = None
    core_metadata: CoreMetadata | None = None
    dist_info_metadata: CoreMetadata | None = None
    data_dist_info_metadata: CoreMetadata | None = None
    yanked: bool | str | None = None
    gpg_sig: bool | None = None
    provenance: str | None = None

    def entry(self) -> Entry:
        spellings = (self.core_metadata, self.dist_info_metadata, self.data_dist_info_metadata)
        metadata = next((told for told in spellings if told is not None), False)
        return Entry(
            filename=self.filename,
            href=self.url,
            hashes=self.hashes,
            size=self.size,
            upload_time=self.upload_time,
            requires_python=self.requires_python,
            core_metadata=metadata,
            yanked=self.yanked or False,
            gpg_sig=self.gpg_sig,
            provenance=self.provenance,
        )


class _JsonPage(msgspec.Struct, rename="kebab"):
    files: list[msgspec.Raw]
    meta: dict[str, Any] = {}
    name: str | None = None
    versions: list[Any] | None = None
    project_status: dict[str, Any] | None = None


_page_decoder = msgspec.json.Decoder(_JsonPage)
_file_decoder = msgspec.json.Decoder(_JsonFile)


def _parse_json(name: NormalizedName, body: bytes, url: str) -> Page:
    try:
        page = _page_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise not_a_page(f"it is no page of the Simple API: {error}") from None
    check_version(str(page.meta.get("api-version", "1.0")))
    if page.name is not None and not _same_project(page.name, name):
        raise not_a_page("it is the page of another project")
    status = page.project_status or {}
    return build_page(
        name,
        _json_entries(page.files),
        base=url,
        versions=[version for version in page.versions or () if isinstance(version, str)],
        status=_text(status.get("status")),
        status_reason=_text(status.get("reason")),
    )


def _json_entries(files: list[msgspec.Raw]) -> Iterator[Entry]:
    for raw in files:
        try:
            yield _file_decoder.decode(raw).entry()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue


def _same_project(told: str, name: NormalizedName) -> bool:
    try:
        return names.normalize(told) == name
    except Invalid:
        return False


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _parse_html(name: NormalizedName, body: bytes, url: str) -> Page:
    if not body:
        raise not_a_page("it is empty")
    tree = LexborHTMLParser(body.decode("utf-8", "replace"))
    metas = metas_of(tree)
    if "pypi:repository-version" in metas:
        check_version(metas["pypi:repository-version"])
    url = base_of(tree, url)
    entries = list(_html_entries(tree, url))
    if not any(belongs(name, entry.filename) for entry in entries) and not is_index_page(tree, metas):
        raise not_a_page("it is an HTML page, but no index page (a login or error page?)")
    return build_page(
        name,
        entries,
        base=url,
        status=metas.get("pypi:project-status"),
        status_reason=metas.get("pypi:project-status-reason"),
    )


def is_index_page(tree: LexborHTMLParser, metas: Mapping[str | None, str]) -> bool:
    """Whether a page without a file of the project is an index page all the same.

    Indexes mark theirs by PEP 629's meta or by the usual titles. Without such a mark only a page that shows nothing
    and does nothing is an empty project; what has text, a form or a script is somebody's login or error page.
    """
    if "pypi:repository-version" in metas:
        return True
    if tree.css_first("form, input, script, iframe") is not None or "refresh" in _http_equivs(tree):
        return False
    title, heading = tree.css_first("title"), tree.css_first("h1")
    told = " ".join(node.text() for node in (title, heading) if node is not None).lower()
    if any(mark in told for mark in ("links for", "simple index", "index of", "directory listing for")):
        return True
    body = tree.body
    return body is not None and not body.text().strip() and tree.css_first("title, body > *") is None


def metas_of(tree: LexborHTMLParser) -> dict[str | None, str]:
    """Name to content of the page's meta elements."""
    return {_attribute(node, "name"): _attribute(node, "content") or "" for node in tree.css("meta[name]")}


def base_of(tree: LexborHTMLParser, url: str) -> str:
    """What the links of the page found at `url` are relative to."""
    base = tree.css_first("base[href]")
    return url if base is None else _joined(url, _attribute(base, "href") or "")


def _http_equivs(tree: LexborHTMLParser) -> set[str]:
    return {(_attribute(node, "http-equiv") or "").lower() for node in tree.css("meta[http-equiv]")}


def _html_entries(tree: LexborHTMLParser, base: str) -> Iterator[Entry]:
    for anchor in tree.css("a[href]"):
        href = (_attribute(anchor, "href") or "").strip()
        try:
            url = urljoin(base, href)
            filename = filename_of(url)
        except ValueError:
            continue
        if not names.is_filename(filename):
            filename = (
                anchor.text().strip()
            )  # PEP 503: "the text of the anchor tag MUST match the final path component"
        if names.is_filename(filename):
            yield _html_entry(anchor, filename, url)


def _html_entry(anchor: LexborNode, filename: str, url: str) -> Entry:
    attributes = anchor.attributes
    metadata = attributes.get("data-core-metadata") or attributes.get("data-dist-info-metadata") or "false"
    signed = (attributes.get("data-gpg-sig") or "").strip().lower()
    return Entry(
        filename=filename,
        href=url,
        hashes=dict(parse_qsl(url.partition("#")[2])),
        upload_time=attributes.get("data-upload-time"),
        requires_python=attributes.get("data-requires-python"),
        core_metadata=_html_metadata(metadata.strip()),
        yanked=(attributes["data-yanked"] or True) if "data-yanked" in attributes else False,
        gpg_sig={"true": True, "false": False}.get(signed),
        provenance=attributes.get("data-provenance"),
    )


def _html_metadata(value: str) -> CoreMetadata:
    """PEP 658 and 714: `true`, or a digest such as `sha256=…`."""
    algorithm, equals, digest = value.partition("=")
    return {algorithm: digest} if equals else value.lower() == "true"


def _joined(url: str, href: str) -> str:
    try:
        return urljoin(url, href.strip())
    except ValueError:
        return url


def _attribute(node: LexborNode, name: str) -> str | None:
    return node.attributes.get(name)
