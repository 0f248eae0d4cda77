"""The URL of another index, and by what user and password it knows us."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from caseus.errors import Invalid
from caseus.upstream.credentials import Credentials, Pair, from_netrc
from caseus.upstream.urls import Origin, origin_of


def source_url(url: str) -> str:
    """The absolute URL, ending in "/", user and password included; Invalid."""
    try:
        origin_of(url)
        parts = urlsplit(url)
    except (Invalid, ValueError):
        raise Invalid(
            "that is no URL of an index: give the one under which its pages are, such as "
            "https://pkgs.example.com/simple/ (http or https)"
        ) from None
    if parts.query or parts.fragment:
        raise Invalid("the URL of the index must end with a path, without ? and #")
    return parts._replace(path=parts.path.rstrip("/") + "/").geturl()


def https_origin(url: str) -> Origin:
    """Of a URL that somebody allows to be contacted; Invalid for plain http."""
    try:
        origin = origin_of(url)
    except Invalid as error:
        raise Invalid(f"--files-from: {error}") from None
    if origin.scheme != "https":
        raise Invalid("--files-from: give https://HOST, for only the index itself may speak plain http")
    return origin


def find_credentials(url: str, login: tuple[str, str] | None, environ: Mapping[str, str]) -> Credentials | None:
    """`login`, else what the netrc file ($NETRC, ~/.netrc) says of the host; None where the URL has them itself.

    Invalid if both tell, or the file can't be read.
    """
    if "@" in urlsplit(url).netloc:
        if login is not None:
            raise Invalid("the URL has a user already: give it there or by --user")
        return None
    if login is not None:
        pair = Pair(*login)
        return Credentials(lambda: pair)
    file = Path(environ.get("NETRC") or os.path.join(environ.get("HOME") or "~", ".netrc")).expanduser()
    if not file.exists():
        return None
    find = from_netrc(file, origin_of(url).host, environ)
    find()  # tells now what is wrong with the file
    return Credentials(find)
