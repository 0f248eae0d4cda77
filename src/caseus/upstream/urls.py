"""URLs of an upstream: what counts as one, its origin, its name, and how it is shown without its password."""

from __future__ import annotations

import ast
import base64
import hashlib
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from caseus.errors import Invalid
from caseus.model import File

_PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


class Origin(NamedTuple):
    """Scheme, host and port (RFC 6454): what credentials and permissions are tied to."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As a person writes it: the host, with its port where that is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _PORTS.get(self.scheme) == self.port else f"{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """The origin of an absolute http or https URL; Invalid for anything else.

    URLs that parsers are known to read differently (backslashes, blanks, control characters) are refused.
    """
    if _UNSAFE.search(url):
        raise Invalid("not a URL: it holds blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode().lower(), parts.port
    except ValueError:  # UnicodeError of a name that is no host's is one too
        raise Invalid("not a URL: its host or port can't be read") from None
    if parts.scheme not in _PORTS or not host or port == 0:
        raise Invalid("not a URL that can be asked: it must begin with http:// or https:// and name a host")
    return Origin(parts.scheme, host.rstrip("."), _PORTS[parts.scheme] if port is None else port)


def without_userinfo(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def userinfo(url: str) -> tuple[str, str] | None:
    """User and password of a URL, None if it has neither."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return None
    return unquote(parts.username or ""), unquote(parts.password or "")


def basic_auth(url: str) -> str | None:
    """The Authorization header for the user and password of a URL, None if it has none."""
    told = userinfo(url)
    return basic_header(*told) if told is not None else None


def basic_header(user: str, password: str) -> str:
    """The value of Authorization (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def shown(url: str) -> str:
    """For messages and logs: no user, no password, and no query, where signed links carry their secret."""
    parts = urlsplit(without_userinfo(url))
    return parts._replace(query="", fragment="").geturl()


def request_target(url: str) -> str:
    """Path and query as they go into the request line."""
    parts: SplitResult = urlsplit(url)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return path + ("?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]") if parts.query else "")


def linked_origins(files: Iterable[File]) -> frozenset[Origin]:
    """The https origins that a page links: besides the upstream's own, these may be contacted for its files."""
    urls = (url for file in files for url in (file.url, file.metadata_url, file.sig_url) if url)
    sites = {"/".join(url.split("/", 3)[:3]) for url in urls}  # without their paths a few are left of thousands
    return frozenset(origin for origin in map(origin_of, sites) if origin.scheme == "https")


def upstream_name(url: str) -> str:
    """The upstream's name in keys: "pypi" for the public index, else host[-port], "-" and 8 hex of the URL's sha256.

    User and password are no part of it: a changed password is no other upstream.
    """
    url = _with_slash(without_userinfo(url))
    if url == _public_index():
        return "pypi"
    host = re.sub(r"[^A-Za-z0-9.]+", "-", origin_of(url).authority).strip("-.")
    return f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def resolve_upstream(value: str) -> str | None:
    """The absolute URL, ending in "/", that a setting means: `pypi`, `none` (None) or a URL; else Invalid."""
    if value == "none":
        return None
    if value == "pypi":
        return _public_index()
    try:
        origin_of(value)
    except Invalid:
        raise Invalid(
            "invalid upstream: use pypi, none, or a URL such as https://pkgs.example.com/simple/ (http or https)"
        ) from None
    parts = urlsplit(value)
    if parts.query or parts.fragment:
        raise Invalid("invalid upstream: its URL must end with a path, without ? and #")
    return _with_slash(value)


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def _public_index() -> str:
    """pypi-simple's constant, read from its source: to import the package takes a third of a start."""
    found = find_spec("pypi_simple")
    if found is not None and found.origin is not None:
        for statement in ast.parse(Path(found.origin).read_bytes()).body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id="PYPI_SIMPLE_ENDPOINT"), value=ast.Constant(value=str(url))):
                    return _with_slash(url)
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    return _with_slash(PYPI_SIMPLE_ENDPOINT)
