"""The URL of another index with the credentials that go with it."""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from caseus.errors import Invalid
from caseus.upstream.urls import origin_of

Login = tuple[str, str]


def source_url(url: str, login: Login | None, environ: Mapping[str, str]) -> str:
    """The absolute URL ending in "/", with user and password where they are known; Invalid.

    They come from the URL itself, else `login`, else the netrc file that $NETRC or ~/.netrc names.
    """
    try:
        origin = origin_of(url)
        parts = urlsplit(url)
    except (Invalid, ValueError):
        raise Invalid(
            "that is no URL of an index: give the one under which its pages are, such as "
            "https://pkgs.example.com/simple/ (http or https)"
        ) from None
    if parts.query or parts.fragment:
        raise Invalid("the URL of the index must end with a path, without ? and #")
    parts = parts._replace(path=parts.path.rstrip("/") + "/")
    if "@" in parts.netloc:
        if login is not None:
            raise Invalid("the URL has a user already: give it there or by --user")
        return parts.geturl()
    login = login or from_netrc(origin.host, environ)
    if login is None:
        return parts.geturl()
    user, password = (quote(word, safe="") for word in login)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc}").geturl()


def from_netrc(host: str, environ: Mapping[str, str]) -> Login | None:
    """User and password of the host (or `default`); None where there are none. Invalid for a file that is none."""
    path = Path(environ.get("NETRC") or Path(environ.get("HOME") or Path.home()) / ".netrc")
    try:
        found = netrc.netrc(str(path)).authenticators(host)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError) as error:
        # netrc's own words may hold what stands in the file.
        told = f"line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else type(error).__name__
        raise Invalid(f"can't read {path} ({told}): mend it, or name another by NETRC") from None
    return (found[0], found[2] or "") if found else None
