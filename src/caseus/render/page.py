"""One rendered answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

import msgspec

from caseus.model import File, Project
from caseus.render.links import Link

ContentType = Literal[
    "application/vnd.pypi.simple.v1+json",
    "application/vnd.pypi.simple.v1+html",
    "text/html",
]

JSON: Final[ContentType] = "application/vnd.pypi.simple.v1+json"
HTML: Final[ContentType] = "application/vnd.pypi.simple.v1+html"
PLAIN_HTML: Final[ContentType] = "text/html"
"""What PEP 691 calls the alias of v1+html: browsers and pip before 22.2 know only this one."""


class ListForm(NamedTuple):
    """How the list of projects looks: `head`, then the entries of normalised names, then `tail`.

    Made in pieces, as a large one is, `between` stands between the entries of two pieces.
    """

    head: bytes
    entries: Callable[[Iterable[str]], bytes]
    between: bytes
    tail: bytes


class ProjectForm(NamedTuple):
    """How the page of a project looks: `head`, then the entries of its files, then `tail`; `between` as of a list."""

    head: Callable[[Project], bytes]
    entries: Callable[[Iterable[File], Link], bytes]
    between: bytes
    tail: bytes

    def page(self, project: Project, link: Link) -> bytes:
        """All of it."""
        return b"".join((self.head(project), self.entries(offered(project), link), self.tail))


def offered(project: Project) -> tuple[File, ...]:
    """What the page lists. PEP 792: a quarantined project offers no file."""
    return () if project.status == "quarantined" else project.files


class Page(msgspec.Struct, frozen=True):
    """Bytes with their type; `etag` is strong and has its quotes."""

    body: bytes
    content_type: str
    etag: str


def make_page(body: bytes, content_type: str, encoding: str = "") -> Page:
    """The page of these bytes.

    A strong ETag must differ between representations (RFC 9110 section 8.8.1): the same HTML goes out under two types.
    """
    digest = blake2b(body, digest_size=16, key=f"{content_type};{encoding}".encode()[:64]).hexdigest()
    return Page(body, content_type, f'"{digest}"')
