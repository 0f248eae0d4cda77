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

from caseus.binds import Bind, TcpBind, parse_bind, parse_host, parse_port
from caseus.names import check_pattern
from caseus.units import format_duration, format_size, parse_duration, parse_lifetime, parse_size
from caseus.upstreams import parse_upstreams

_OCTAL = re.compile(r"[0-7]{3,4}\Z")
MOST_WORKERS = 64
MOST_AUTO_WORKERS = 4

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
    return parse_host(_text(value))


def _port(value: object) -> int:
    return parse_port(_number(value))


def _binds(value: object) -> tuple[Bind, ...]:
    binds = tuple(map(parse_bind, _texts(value)))
    for bind in binds:
        if binds.count(bind) > 1 and not (isinstance(bind, TcpBind) and bind.port == 0):
            raise ValueError(f"{bind} is given twice")
    return binds


def _show_binds(value: tuple[Bind, ...]) -> str:
    return " ".join(map(str, value))


def _mode(value: object) -> int:
    """Octal digits, as chmod takes them; TOML's own octal numbers (0o660) too."""
    if isinstance(value, int) and not isinstance(value, bool):
        mode = value
    else:
        text = _text(value)
        if not _OCTAL.match(text):
            raise ValueError(f"{text!r} is no mode of a file: write octal digits, such as 660")
        mode = int(text, 8)
    if not 0o600 <= mode <= 0o777:
        raise ValueError(f"{mode:o} is no mode of a socket: give 600 to 777")
    return mode


def _show_mode(value: int) -> str:
    return f"{value:o}"


def _clients(value: object) -> int:
    clients = _whole(value)
    if not clients:
        raise ValueError("0 would refuse everybody: give more")
    return clients


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


def _proxies(value: object) -> tuple[str, ...]:
    return tuple(map(_proxy, _texts(value)))


def _proxy(text: str) -> str:
    """An address, a network, or `unix`: whoever connects by a unix socket."""
    if text == "unix":
        return text
    return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))


def _workers(value: object) -> int:
    """`auto`: one for each core that this process may use, at most MOST_AUTO_WORKERS."""
    if value == "auto":
        return max(1, min(MOST_AUTO_WORKERS, len(os.sched_getaffinity(0))))
    workers = _whole(value)
    if not 1 <= workers <= MOST_WORKERS:
        raise ValueError(f"{workers} workers: give 1 to {MOST_WORKERS}, or `auto`")
    return workers


KEYS: Mapping[str, Key] = {
    "root": Key(None, _path),
    "host": Key("127.0.0.1", _host),
    "port": Key(8080, _port),
    "bind": Key([], _binds, _show_binds, many=True),
    "bind_mode": Key("660", _mode, _show_mode),
    "tls_cert": Key(None, _path),
    "tls_key": Key(None, _path),
    "upstream": Key("pypi", parse_upstreams, many=True),
    "upstream_ttl": Key(600, _lifetime, format_duration),
    "upstream_stale": Key(60, _duration, format_duration),
    "union": Key([], _patterns, " ".join, many=True),
    "keep_removed": Key(False, _switch, _show_switch),
    "private": Key([], _patterns, " ".join, many=True),
    "watch": Key(False, _switch, _show_switch),
    "read": Key("all", _read),
    "publish": Key(None, _path),
    "passwd": Key(None, _path),
    "max_file_bytes": Key("1GiB", _file_size, format_size),
    "cache_bytes": Key(None, _size, format_size),
    "grace": Key(30, _duration, format_duration),
    "public_url": Key(None, _public_url),
    "trusted_proxies": Key([], _proxies, " ".join, many=True),
    "workers": Key(1, _workers),
    "max_clients": Key(None, _clients),
    "http2": Key(False, _switch, _show_switch),
    "no_fsync": Key(False, _switch, _show_switch),
}
"""Every key, in the order of `caseus config show`."""
