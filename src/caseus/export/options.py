"""What an export writes, and how it looks."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

import msgspec

from caseus import __version__
from caseus.errors import Invalid
from caseus.export.digests import digest_of

Style = Literal["dumb-pypi", "caseus"]
Encoding = Literal["gz", "zst"]

STYLES: Final[tuple[Style, ...]] = get_args(Style)
ENCODINGS: Final[tuple[Encoding, ...]] = get_args(Encoding)

_URL = re.compile(r"[!-~]*\Z")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`packages_url`: where the files are, absolute or relative to every page alike; None: beside their project's page.

    `base_url`: the absolute URL of the tree, with its last slash, for what has to tell absolute links.
    """

    packages_url: str | None = None
    base_url: str | None = None
    style: Style = "dumb-pypi"
    """How `simple/` and the page at the top look: as dumb-pypi's, or as those of a running caseus."""
    title: str = "My Private PyPI"
    logo: str | None = None
    logo_width: int = 0
    timestamp: bool = True
    """Whether pages in dumb-pypi's style tell when they were made."""
    project_json: bool = True
    """`pypi/PROJECT/json`."""
    release_json: bool = True
    """`pypi/PROJECT/VERSION/json`."""
    changelog: bool = True
    simple_json: bool = False
    """The JSON of the Simple Repository API (PEP 691) beside its HTML."""
    rss: bool = False
    not_found: bool = False
    """`404.html`."""
    robots: bool = False
    """`robots.txt`, which asks search engines to stay away."""
    github_pages: bool = False
    """What GitHub Pages needs: `.nojekyll`."""
    compress: tuple[Encoding, ...] = ()
    """Compressed forms that are written beside every page."""
    files: bool = False
    """The files themselves too, beside their project's page."""
    closed: bool = False
    proxied: bool = False
    """What the page at the top tells in caseus's style."""

    def check(self) -> None:
        """Invalid if they contradict each other."""
        for what, url in (("packages_url", self.packages_url), ("base_url", self.base_url), ("logo", self.logo)):
            if url is not None and not _URL.match(url):
                raise Invalid(f"{what}: {url!a} is no URL: spaces and other letters than ASCII are to be encoded")
        if self.base_url is not None:
            from urllib.parse import urlsplit  # it loads slowly

            parts = urlsplit(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.netloc or not self.base_url.endswith("/"):
                raise Invalid(f"base_url: {self.base_url!a} is not whole: write it as https://pkgs.example.com/")
        if self.rss and self.base_url is None:
            raise Invalid("feeds tell absolute links: give the URL of the tree by base_url")
        if self.files and self.packages_url is not None:
            raise Invalid("the files are either in the tree or under packages_url: give one of them")

    def digests(self) -> tuple[bytes, bytes]:
        """Of what pages of projects depend on, and of what the lists do; the code that makes them is in both."""
        lists = _digest(self)
        pages = msgspec.structs.replace(
            self, title="", logo=None, logo_width=0, changelog=True, not_found=False, robots=False, github_pages=False
        )
        return _digest(pages), lists


def _digest(options: Options) -> bytes:
    told = msgspec.structs.replace(options, timestamp=True)  # when a page was made is no difference
    return digest_of(msgspec.json.encode((__version__, told)))
