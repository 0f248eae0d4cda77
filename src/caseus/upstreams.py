"""The upstreams of the configuration: what may be said of each, and the clients that are made of it.

An upstream is a word (`pypi`, a URL) or, in the file, a table with more of it:

    [[index.main.upstreams]]
    url = "https://pkgs.example.com/simple/"
    projects = ["acme-*"]
    password_env = "ACME_PASSWORD"
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from caseus.names import check_pattern
from caseus.units import parse_lifetime

if TYPE_CHECKING:
    from caseus.upstream import Upstream
    from caseus.upstream.credentials import Find

ENVIRONMENT, DIRECT = "environment", "none"
"""Words for `proxy`; anything else is the proxy's URL."""

_FILES = frozenset({"ca", "client_cert", "client_key", "netrc"})
_TLS = ("ca", "client_cert", "spki_sha256")


class UpstreamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream. Its keys in a file have the same names."""

    url: str
    """Absolute, ends in "/"; may hold user and password."""
    ttl: float | None = None
    """Seconds for which its pages are fresh; None: as `upstream_ttl` says."""
    projects: tuple[str, ...] = ()
    """Patterns of the names that it is asked for; none: all."""
    username: str | None = None
    username_env: str | None = None
    password_env: str | None = None
    """Names of environment variables."""
    netrc: bool | Path = False
    """Whether credentials are in a netrc file; a path: in which."""
    keyring: bool = False
    """Whether the command `keyring` knows the password."""
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    spki_sha256: tuple[str, ...] = ()
    """sha256 of the keys of which its server must have one, as 64 hex digits."""
    proxy: str = ENVIRONMENT
    """A proxy's URL, `none`, or `environment`."""


def parse_upstreams(value: object) -> tuple[UpstreamConfig, ...]:
    """From a word, or a list of words and tables. ValueError, Invalid."""
    entries = _entries(value)
    words = [entry for entry in entries if isinstance(entry, str)]
    if "none" in words and len(entries) > 1:
        raise ValueError("`none` stands alone: take it or the others away")
    upstreams = tuple(upstream for entry in entries if (upstream := _parse(entry)) is not None)
    _check_unique(upstreams)
    return upstreams


def show_upstreams(value: object) -> str:
    """As a person gave them; URLs are to be masked still."""
    return " ".join(_show(entry) for entry in _entries(value))


def beside(value: object, folder: Path) -> object:
    """A file's upstreams with the paths in them made relative to the file, wherever caseus is started."""
    if not isinstance(value, list):
        return value
    return [_beside(entry, folder) if isinstance(entry, dict) else entry for entry in value]


def _beside(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        key: str(folder / text) if key in _FILES and isinstance(text, str) and not text.startswith("~") else text
        for key, text in entry.items()
    }


def _entries(value: object) -> Sequence[object]:
    entries = value if isinstance(value, list | tuple) else [value]
    if not entries:
        raise ValueError("give a URL, `pypi` or `none`")
    for entry in entries:
        if not isinstance(entry, str | dict) or not entry or (isinstance(entry, str) and not entry.strip()):
            raise ValueError("must be a text that is not empty, or a table with a `url`")
    return entries


def _show(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry).strip()
    more = (f"{key}={_show_value(value)}" for key, value in entry.items() if key != "url")
    return " ".join([str(entry.get("url", "?")), f"[{', '.join(more)}]"]) if len(entry) > 1 else str(entry.get("url"))


def _show_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _parse(entry: object) -> UpstreamConfig | None:
    """None for `none`."""
    from caseus.upstream import resolve_upstream

    table = {"url": entry} if isinstance(entry, str) else dict(entry)  # type: ignore[call-overload]
    url = resolve_upstream(_text(table.pop("url", None), "url"))
    if url is None:
        if table:
            raise ValueError("an upstream that is a table needs a URL, or `pypi`")
        return None
    unknown = sorted(key for key in table if key not in _PARSERS)
    if unknown:
        raise ValueError(f"an upstream has no key {unknown[0]!r}: its keys are url, {', '.join(_PARSERS)}")
    parsed = {}
    for key, value in table.items():
        try:
            parsed[key] = _PARSERS[key](value, key)
        except ValueError as error:
            raise ValueError(f"{error} (of {url})") from None
    upstream = UpstreamConfig(url=url, **parsed)
    _check(upstream)
    return upstream


def _check(upstream: UpstreamConfig) -> None:
    """What can't go together."""
    parts = urlsplit(upstream.url)
    sources = [
        name
        for name, given in (
            ("a password in its URL", parts.password is not None),
            ("password_env", upstream.password_env),
            ("netrc", upstream.netrc),
            ("keyring", upstream.keyring),
        )
        if given
    ]
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if len(sources) > 1:
        raise ValueError(f"{shown} gets its password twice, by {' and by '.join(sources)}: give one")
    if upstream.username and upstream.username_env:
        raise ValueError(f"{shown} gets its user twice, by username and by username_env: give one")
    if (upstream.username or upstream.username_env) and not (upstream.password_env or upstream.keyring):
        raise ValueError(f"{shown} has a user without a password: give password_env or keyring too")
    if upstream.client_key and not upstream.client_cert:
        raise ValueError(f"{shown} has a client_key without a client_cert: give both")
    if parts.scheme != "https":
        for key in _TLS:
            if getattr(upstream, key):
                raise ValueError(f"{key} is for https, and {shown} is not: change its URL, or take the key away")


def _check_unique(upstreams: Sequence[UpstreamConfig]) -> None:
    if len(upstreams) < 2:
        return
    from caseus.upstream import upstream_name

    seen = set()
    for upstream in upstreams:
        name = upstream_name(upstream.url)
        if name in seen:
            parts = urlsplit(upstream.url)
            raise ValueError(f"the upstream at {parts.netloc.rpartition('@')[2]}{parts.path} is given twice")
        seen.add(name)


# Values of single keys. Each parser takes the value and the key, for its ValueError.


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} must be a text that is not empty")
    return value.strip()


def _texts(value: object, key: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError(f"{key} must be a list of texts that is not empty")
    return tuple(_text(item, key) for item in value)


def _switch(value: object, key: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false")
    return value


def _file(value: object, key: str) -> Path:
    try:
        return Path(os.path.abspath(Path(_text(value, key)).expanduser()))
    except RuntimeError as error:  # ~unknown
        raise ValueError(f"{key}: {error}") from None


def _netrc(value: object, key: str) -> bool | Path:
    return value if isinstance(value, bool) else _file(value, key)


def _lifetime(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{key} is no duration: write seconds, or a text such as 10m")
    return parse_lifetime(str(value))


def _patterns(value: object, key: str) -> tuple[str, ...]:
    return tuple(map(check_pattern, _texts(value, key)))


def _pins(value: object, key: str) -> tuple[str, ...]:
    from caseus.upstream.tls import parse_pin

    return tuple(parse_pin(text).hex() for text in _texts(value, key))


def _proxy(value: object, key: str) -> str:
    text = _text(value, key)
    if text in (ENVIRONMENT, DIRECT):
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{key} is neither `environment`, `none` nor a URL such as http://proxy.example.com:3128")
    return text


_PARSERS: Mapping[str, Callable[[object, str], Any]] = {
    "ttl": _lifetime,
    "projects": _patterns,
    "username": _text,
    "username_env": _text,
    "password_env": _text,
    "netrc": _netrc,
    "keyring": _switch,
    "ca": _file,
    "client_cert": _file,
    "client_key": _file,
    "spki_sha256": _pins,
    "proxy": _proxy,
}
"""Every key of a table but `url`."""

TABLE_KEYS = ("url", *_PARSERS)


# From configuration to clients.


def open_upstream(
    config: UpstreamConfig, environ: Mapping[str, str] = os.environ, *, clock: Callable[[], float] = time.time
) -> Upstream:
    """The client for an upstream. Credentials are looked for when they are needed; certificates now (Invalid)."""
    from caseus.upstream import Upstream
    from caseus.upstream.credentials import Credentials
    from caseus.upstream.tls import Tls

    find = _find(config, environ)
    return Upstream(
        config.url,
        clock=clock,
        proxies=_proxies(config.proxy),
        tls=Tls(
            ca=config.ca,
            client_cert=config.client_cert,
            client_key=config.client_key,
            pins=frozenset(map(bytes.fromhex, config.spki_sha256)),
        ),
        credentials=Credentials(find) if find is not None else None,
        leaves_alone=True,
    )


def _proxies(proxy: str) -> Mapping[str, str] | None:
    if proxy == ENVIRONMENT:
        return None
    return {} if proxy == DIRECT else {"all": proxy}


def check_credentials(config: UpstreamConfig, environ: Mapping[str, str] = os.environ) -> None:
    """Invalid if a variable is not set, or a file or command can't be used; `open_upstream` would only log it."""
    from caseus.upstream.credentials import keyring_command

    find = _find(config, environ)
    if config.keyring:
        keyring_command(environ)
    elif find is not None:
        find()


def _find(config: UpstreamConfig, environ: Mapping[str, str]) -> Find | None:
    from caseus.upstream.credentials import TOKEN_USER, from_environment, from_keyring, from_netrc
    from caseus.upstream.urls import origin_of, userinfo, without_userinfo

    origin = origin_of(config.url)
    user = config.username or (userinfo(config.url) or ("",))[0] or TOKEN_USER
    if config.password_env:
        return from_environment(environ, config.password_env, config.username_env, user)
    if config.netrc:
        return from_netrc(config.netrc if isinstance(config.netrc, Path) else None, origin.host, environ)
    if config.keyring:
        told = environ.get(config.username_env) if config.username_env else None
        return from_keyring((without_userinfo(config.url), origin.authority), told or user, environ)
    return None
