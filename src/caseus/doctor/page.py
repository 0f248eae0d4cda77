"""Pages as they are, faults and all: what a lenient client would make of them, and the document itself beside it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin, urlsplit

import msgspec
from selectolax.lexbor import LexborHTMLParser

from caseus import names
from caseus.doctor.exchange import Exchange
from caseus.errors import Invalid
from caseus.upstream.urls import origin_of

Form = Literal["json", "html"]

JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML: Final = "application/vnd.pypi.simple.v1+html"
PLAIN_HTML: Final = "text/html"
FORMS: Final[Mapping[str, Form]] = {JSON: "json", HTML: "html", PLAIN_HTML: "html"}
"""The types that pip and uv take, and nothing else."""


class Unreadable(ValueError):
    """This is no page of the Simple API; says why."""


@dataclass(frozen=True)
class Entry:
    """One file of a page. `told` has its JSON keys, or its HTML attributes without `data-`, as they were sent."""

    filename: str
    href: str
    url: str
    """Absolute, without fragment; "" where it is none of http or https."""
    hashes: Mapping[str, str]
    told: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    """Of an anchor: what a person reads."""

    @property
    def size(self) -> int | None:
        size = self.told.get("size")
        return size if isinstance(size, int) and not isinstance(size, bool) else None

    @property
    def metadata(self) -> bool | Mapping[str, str]:
        """Whether `.metadata` is advertised, and with which digests (PEP 658 and 714)."""
        for key in ("core-metadata", "dist-info-metadata", "data-dist-info-metadata"):
            value = self.told.get(key)
            if isinstance(value, dict):
                return {str(kind): str(digest) for kind, digest in value.items()} or True
            if isinstance(value, str):  # an attribute: `true`, or a digest such as sha256=…
                kind, equals, digest = value.strip().partition("=")
                return {kind.lower(): digest} if equals else kind.lower() == "true"
            if value is not None:
                return bool(value)
        return False

    @property
    def signed(self) -> bool:
        return str(self.told.get("gpg-sig", "")).lower() == "true"

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")

    def beside(self, ending: str) -> str:
        """The URL of a sidecar: the path of the file's and the ending."""
        parts = urlsplit(self.url)
        return parts._replace(path=parts.path + ending).geturl()


@dataclass(frozen=True)
class Page:
    """A project's page. `document`: the whole of it where it is JSON; `version`: the API's, as it says itself."""

    form: Form
    entries: tuple[Entry, ...]
    version: str | None
    document: Mapping[str, Any] = field(default_factory=dict)


def read_page(exchange: Exchange) -> Page:
    """The page of an answer, by its first character, as the Content-Type is one of the things to be judged."""
    text = _text(exchange)
    return _json_page(text, exchange.url) if text.startswith(b"{") else _html_page(text, exchange.url)


def read_list(exchange: Exchange) -> tuple[str, ...] | None:
    """The projects of a list, in its order; None where it is too large to look at. Unreadable if it is none."""
    if exchange.cut:
        return None
    text = _text(exchange)
    if text.startswith(b"{"):
        projects = _document(text).get("projects")
        if not isinstance(projects, list):
            raise Unreadable("its JSON has no list `projects`")
        return tuple(str(each["name"]) for each in projects if isinstance(each, dict) and each.get("name"))
    tree = LexborHTMLParser(text.decode("utf-8", "replace"))
    return tuple(dict.fromkeys(_projects(tree)))


def _projects(tree: LexborHTMLParser) -> Iterator[str]:
    """The last segment of what each anchor of a list leads to; not what leads up or out."""
    for anchor in tree.css("a[href]"):
        name = last_part((anchor.attributes.get("href") or "").partition("#")[0].rstrip("/"))
        try:
            names.normalize(name)
        except Invalid:
            continue
        if not names.is_filename(name):
            yield name


def _text(exchange: Exchange) -> bytes:
    try:
        text = exchange.body.removeprefix(codecs.BOM_UTF8).lstrip()
    except ValueError as error:
        raise Unreadable(str(error)) from None
    if not text:
        raise Unreadable("it is empty")
    return text


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"its JSON can't be read: {error}") from None
    assert isinstance(document, dict)  # it begins with a brace
    return document


def _json_page(text: bytes, url: str) -> Page:
    document = _document(text)
    files = document.get("files")
    if not isinstance(files, list):
        raise Unreadable("its JSON has no list `files`")
    meta = document.get("meta")
    version = meta.get("api-version") if isinstance(meta, dict) else None
    entries = tuple(entry for told in files if (entry := _json_entry(told, url)) is not None)
    return Page("json", entries, version if isinstance(version, str) else None, document)


def _json_entry(told: object, base: str) -> Entry | None:
    if not isinstance(told, dict):
        return None
    filename, href, hashes = told.get("filename"), told.get("url"), told.get("hashes")
    if not isinstance(filename, str) or not isinstance(href, str):
        return None
    digests = {str(kind).lower(): str(digest) for kind, digest in hashes.items()} if isinstance(hashes, dict) else {}
    return Entry(filename, href, _resolved(base, href), digests, told)


def _html_page(text: bytes, url: str) -> Page:
    tree = LexborHTMLParser(text.decode("utf-8", "replace"))
    version = next((node.attributes.get("content") for node in tree.css('meta[name="pypi:repository-version"]')), None)
    base = tree.css_first("base[href]")
    if base is not None:
        url = _resolved(url, base.attributes.get("href") or "") or url
    entries = []
    for anchor in tree.css("a[href]"):
        href = (anchor.attributes.get("href") or "").strip()
        target, _, fragment = href.partition("#")
        text_shown = anchor.text().strip()
        filename = last_part(target)
        if not names.is_filename(filename):
            filename = text_shown
        if names.is_filename(filename):
            hashes = {kind.lower(): digest for kind, digest in parse_qsl(fragment)}
            told = {key.removeprefix("data-"): value for key, value in anchor.attributes.items() if key[:5] == "data-"}
            entries.append(Entry(filename, href, _resolved(url, href), hashes, told, text_shown))
    if not entries and version is None and tree.css_first("form, input, script") is not None:
        raise Unreadable("it is an HTML page without files (a login page?)")
    return Page("html", tuple(entries), version)


def last_part(url: str) -> str:
    """The last segment of a URL's path, unquoted; "" of what is no URL."""
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:
        return ""


def _resolved(base: str, href: str) -> str:
    """The absolute URL without fragment; "" for what is none of http or https."""
    try:
        url = urldefrag(urljoin(base, href.strip())).url
        origin_of(url)
    except (ValueError, Invalid):
        return ""
    return url
