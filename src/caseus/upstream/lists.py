"""The list of projects that an index has, in both forms: PEP 691 JSON and PEP 503 HTML."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
from packaging.utils import NormalizedName
from selectolax.lexbor import LexborHTMLParser

from caseus import names
from caseus.errors import Invalid, Unavailable
from caseus.upstream.formats import base_of, is_index_page, metas_of
from caseus.upstream.pages import check_version


class _JsonList(msgspec.Struct):
    projects: list[Any]
    meta: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_JsonList)


def parse_list(body: bytes, url: str) -> tuple[NormalizedName, ...]:
    """The names on the list that was found at `url` (after redirects), sorted. Unavailable if it is no list.

    A name that no project can have is dropped.
    """
    body = body.removeprefix(codecs.BOM_UTF8).lstrip()
    return _unique(_json_names(body) if body.startswith(b"{") else _html_names(body, url))


def _not_a_list(reason: str) -> Unavailable:
    return Unavailable(
        f"this is no list of projects: {reason}; give the URL under which the pages of projects are, mostly one that "
        "ends in /simple/",
        kind="upstream",
    )


def _json_names(body: bytes) -> Iterator[str]:
    try:
        page = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _not_a_list(f"it is JSON, but not that of the Simple API ({error})") from None
    check_version(str(page.meta.get("api-version", "1.0")))
    for entry in page.projects:
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            yield entry["name"]


def _html_names(body: bytes, url: str) -> list[str]:
    tree = LexborHTMLParser(body.decode("utf-8", "replace"))
    metas = metas_of(tree)
    if "pypi:repository-version" in metas:
        check_version(metas["pypi:repository-version"])
    links = list(_links(tree, base_of(tree, url)))
    # PEP 503 lets href lead anywhere, but nearly everywhere it is the page below this one; other links of such a page
    # lead to help, to a login, to the parent.
    folder = urlsplit(url).path.rstrip("/")
    below = [segment for parent, segment, _ in links if parent == folder]
    if below:
        return below
    if not is_index_page(tree, metas):
        raise _not_a_list("it is an HTML page, but no index page (a login or error page?)")
    return [text for _, segment, text in links if _same(segment, text)]


def _links(tree: LexborHTMLParser, base: str) -> Iterator[tuple[str, str, str]]:
    """Of each link the path above its last segment, that segment, and the link's text."""
    for anchor in tree.css("a[href]"):
        try:
            path = urlsplit(urljoin(base, (anchor.attributes.get("href") or "").strip())).path
        except ValueError:
            continue
        parent, _, segment = path.rstrip("/").rpartition("/")
        yield parent, unquote(segment), anchor.text().strip().rstrip("/")


def _same(segment: str, text: str) -> bool:
    try:
        return names.normalize(segment) == names.normalize(text)
    except Invalid:
        return False


def _unique(told: Iterable[str]) -> tuple[NormalizedName, ...]:
    found = set()
    for name in told:
        try:
            found.add(names.normalize(name))
        except Invalid:
            continue
    return tuple(sorted(found))
