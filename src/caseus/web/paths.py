"""From the bytes of a request's path to a route, by a whitelist; nothing else of the path is ever used.

Percent-escapes are decoded once, segment by segment. A segment may then hold only what names and filenames are made
of, so `%2f`, `%5c`, `%00`, a second layer of escapes and control characters match no route.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec
from packaging.utils import NormalizedName

from caseus.errors import Invalid
from caseus.names import RESERVED_SEGMENTS, check_filename, normalize, parse_filename, split_sidecar

Kind = Literal["home", "list", "view", "project", "file", "signatures", "upload", "livez", "readyz", "metrics"]
"""`view`: the list of projects as a view has it, where nothing is uploaded to."""

View = Literal["", "refresh", "norefresh"]
"""How an index is seen: as it is, asked for anew each time, as it was when it was last asked for."""

METHODS: dict[Kind, tuple[str, ...]] = {
    "home": ("GET", "HEAD", "POST"),
    "list": ("GET", "HEAD", "POST"),
    "view": ("GET", "HEAD"),
    "project": ("GET", "HEAD"),
    "file": ("GET", "HEAD"),
    "signatures": ("GET",),
    "upload": ("POST",),
    "livez": ("GET", "HEAD"),
    "readyz": ("GET", "HEAD"),
    "metrics": ("GET", "HEAD"),
}
"""What each route allows. twine and old tools post to `/` and `/simple/` too where they are so configured."""

_MAX_PATH = 2048
_SEGMENT = re.compile(r"[A-Za-z0-9._+!~()@=,-]*\Z")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


class Route(msgspec.Struct, frozen=True):
    """What is asked for. `index`: as the path names it, None for the home index."""

    kind: Kind
    index: str | None = None
    project: NormalizedName = NormalizedName("")
    filename: str = ""
    view: View = ""


class Redirect(msgspec.Struct, frozen=True):
    """The same thing's right address, relative to the request's own; `kind` is what is there."""

    location: str
    kind: Kind


def parse_path(
    raw_path: bytes, indexes: Collection[str] = ("main",), alias: Callable[[str], str | None] = lambda path: None
) -> Route | Redirect | None:
    """The route of a raw path (still percent-encoded, no query), None if there is nothing.

    A missing slash and an unnormalised project name give a Redirect (PEP 503). `alias` tells the index that devpi's
    USER/NAME means here; it is asked only where nothing else is meant.
    """
    segments = _segments(raw_path)
    if segments is None:
        return None
    if segments[0] in indexes and segments[0] not in RESERVED_SEGMENTS:
        index = segments[0]
        return Redirect(f"{index}/", "home") if len(segments) == 1 else _in_index(index, segments[1:])
    match segments:
        case ["livez" | "readyz" | "metrics" as kind]:
            return Route(kind)
    return _in_index(None, segments) or _aliased(segments, alias)


def prefix_of(public_url: str | None) -> bytes:
    """The path under which the world sees us, without its last slash; b"" for the root."""
    return urlsplit(public_url).path.rstrip("/").encode() if public_url else b""


def strip_prefix(raw_path: bytes, prefix: bytes) -> bytes | None:
    """The path below the prefix, the path itself if the proxy in front took the prefix away.

    None for the prefix without its slash: that wants a redirect.
    """
    if not prefix or not raw_path.startswith(prefix):
        return raw_path
    if raw_path == prefix:
        return None
    return raw_path[len(prefix) :] if raw_path[len(prefix) :].startswith(b"/") else raw_path


def _segments(raw_path: bytes) -> list[str] | None:
    if not raw_path.startswith(b"/") or len(raw_path) > _MAX_PATH:
        return None
    segments = [_decode(segment) for segment in raw_path[1:].split(b"/")]
    sound = [segment for segment in segments if segment is not None and segment not in (".", "..")]
    if len(sound) < len(segments) or "" in sound[:-1]:
        return None
    return sound


def _decode(segment: bytes) -> str | None:
    decoded = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), segment).decode("latin-1")
    return decoded if _SEGMENT.match(decoded) else None


def _in_index(index: str | None, segments: list[str]) -> Route | Redirect | None:
    match segments:
        case [""]:
            return Route("home", index)
        case ["legacy", ""]:
            return Route("upload", index)
        case ["legacy"]:
            return Redirect("legacy/", "upload")
        case ["simple", *rest]:
            return _in_view(index, "", rest)
        case ["refresh" | "norefresh" as view, *rest]:
            return _in_view(index, view, rest)
        case ["gpgupdate", name]:
            return _project(index, name, slash=False, kind="signatures")
        case ["gpgupdate", name, ""]:
            return _project(index, name, slash=True, kind="signatures")
        case _:
            return None


def _aliased(segments: list[str], alias: Callable[[str], str | None]) -> Route | Redirect | None:
    """As clients and lock files know an index of devpi; its own pages and its API are not there."""
    match segments:
        case [user, name] | [user, name, ""] if index := alias(f"{user}/{name}"):
            return Route("upload", index)
        case [user, name, "+simple", *rest] if index := alias(f"{user}/{name}"):
            return _in_index(index, ["simple", *rest]) if rest else Redirect("+simple/", "list")
        case [user, name, "+f", _, _, filename] if index := alias(f"{user}/{name}"):
            try:
                return _file(index, parse_filename(split_sidecar(filename)[0]).project, filename, "")
            except Invalid:
                return None
        case _:
            return None


def _in_view(index: str | None, view: View, segments: list[str]) -> Route | Redirect | None:
    match segments:
        case []:
            return Redirect(f"{view or 'simple'}/", "view" if view else "list")
        case [""]:
            return Route("view" if view else "list", index, view=view)
        case [name]:
            return _project(index, name, slash=False, view=view)
        case [name, ""]:
            return _project(index, name, slash=True, view=view)
        case [name, filename]:
            return _file(index, name, filename, view)
        case _:
            return None


def _project(
    index: str | None, name: str, *, slash: bool, view: View = "", kind: Literal["project", "signatures"] = "project"
) -> Route | Redirect | None:
    try:
        project = normalize(name)
    except Invalid:
        return None
    if not slash:  # /simple/Foo: relative to /simple/
        return Redirect(f"{project}/", kind)
    if project != name:  # /simple/Foo/: relative to itself
        return Redirect(f"../{project}/", kind)
    return Route(kind, index, project, view=view)


def _file(index: str | None, name: str, filename: str, view: View) -> Route | Redirect | None:
    try:
        project = normalize(name)
        check_filename(split_sidecar(filename)[0])
    except Invalid:
        return None
    if project != name:
        return Redirect(f"../{project}/{quote(filename, safe='')}", "file")
    return Route("file", index, project, filename, view)
