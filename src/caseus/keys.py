"""Every key of the configuration: its default, what it accepts, and how it is shown.

A parser takes text (from a flag or the environment) or what TOML has, and gives what Config holds; its ValueError says
what is wrong with the value.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from caseus.names import check_pattern
from caseus.units import format_duration, format_size, parse_duration, parse_lifetime, parse_size
from caseus.upstreams import parse_upstreams

_HOST = re.compile(r"[A-Za-z0-9._:%-]+\Z")
_URL = re.compile(r"[!-~]+\Z")


class Key(NamedTuple):
    default: object
    """As it would be written in the file; None where nothing stands for the default."""
    parse: Callable[[object], object]
    show: Callable[[Any], str] = str
    many: bool = False


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that is not empty")
    return value.strip()


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no number")
    return str(value)


def _whole(value: object) -> int:
    text = _number(value)
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of texts")
    return tuple(_text(item) for item in value)


def _path(value: object) -> Path:
    try:
        return Path(os.path.abspath(Path(_text(value)).expanduser()))
    except RuntimeError as error:  # ~unknown
        raise ValueError(str(error)) from None


def _host(value: object) -> str:
    host = _text(value).removeprefix("[").removesuffix("]")
    if not _HOST.match(host):
        raise ValueError(f"{host!r} is no name or address of a host")
    return host


def _port(value: object) -> int:
    port = _whole(value)
    if port > 65_535:
        raise ValueError(f"{port} is no port: give 1 to 65535, or 0 for a free one")
    return port


def _patterns(value: object) -> tuple[str, ...]:
    return tuple(map(check_pattern, _texts(value)))


def _read(value: object) -> Literal["all", "users"]:
    if value not in ("all", "users"):
        raise ValueError(f"{value!r} is neither `all` nor `users`")
    return value


def _size(value: object) -> int:
    size = parse_size(_number(value))
    if size > 2**62:
        raise ValueError(f"{value!r} is more than any disk has")
    return size


def _file_size(value: object) -> int:
    size = _size(value)
    if not size:
        raise ValueError("0 bytes would refuse every file: give more")
    return size


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise ValueError(f"{value!r} is neither true nor false")
    return value == "true"


def _show_switch(value: bool) -> str:
    return str(value).lower()


def _duration(value: object) -> float:
    return parse_duration(_number(value))


def _lifetime(value: object) -> float:
    return parse_lifetime(_number(value))


def _public_url(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    if not _URL.match(text) or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no URL: write it whole, such as https://pkgs.example.com/")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("the URL must be without user, query and fragment")
    _ = parts.port  # ValueError for what is none
    return text.rstrip("/") + "/"


def _networks(value: object) -> tuple[str, ...]:
    return tuple(
        str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text)) for text in _texts(value)
    )


def _workers(value: object) -> int:
    if _whole(value) != 1:
        raise ValueError("this version runs one worker: give 1 or leave it out")
    return 1


KEYS: Mapping[str, Key] = {
    "root": Key(None, _path),
    "host": Key("127.0.0.1", _host),
    "port": Key(8080, _port),
    "upstream": Key("pypi", parse_upstreams, many=True),
    "upstream_ttl": Key(600, _lifetime, format_duration),
    "upstream_stale": Key(60, _duration, format_duration),
    "union": Key([], _patterns, " ".join, many=True),
    "keep_removed": Key(False, _switch, _show_switch),
    "private": Key([], _patterns, " ".join, many=True),
    "watch": Key(False, _switch, _show_switch),
    "read": Key("all", _read),
    "max_file_bytes": Key("1GiB", _file_size, format_size),
    "cache_bytes": Key(None, _size, format_size),
    "grace": Key(30, _duration, format_duration),
    "public_url": Key(None, _public_url),
    "trusted_proxies": Key([], _networks, " ".join, many=True),
    "workers": Key(1, _workers),
}
"""Every key, in the order of `caseus config show`."""
