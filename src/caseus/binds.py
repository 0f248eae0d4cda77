"""Where a server listens, as people write it: `127.0.0.1:8080`, `[::]:8080`, `unix:/run/caseus.sock`, `systemd`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

INHERITED = "systemd"
_UNIX = "unix:"
_HOST = re.compile(r"[A-Za-z0-9._:%-]+\Z")
_LONGEST_PATH = 107
"""Bytes: what the address of a unix socket has room for (unix(7))."""


class TcpBind(msgspec.Struct, frozen=True):
    """`host`: a name or address, of IPv6 without brackets. `port`: 0 for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixBind(msgspec.Struct, frozen=True):
    """A unix socket at an absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


class InheritedBind(msgspec.Struct, frozen=True):
    """The sockets that whoever started us has opened (sd_listen_fds(3))."""

    def __str__(self) -> str:
        return INHERITED


Bind = TcpBind | UnixBind | InheritedBind


def parse_bind(text: str) -> Bind:
    """ValueError for what is none."""
    if text == INHERITED:
        return InheritedBind()
    if text.startswith(_UNIX):
        return _unix(text.removeprefix(_UNIX))
    host, colon, port = text.rpartition(":")
    if not colon or not host or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError(f"{text!r} is none of HOST:PORT, [ADDRESS]:PORT, unix:/PATH and systemd")
    return TcpBind(parse_host(host), parse_port(port))


def parse_host(text: str) -> str:
    """ValueError for what is no name or address; brackets around one of IPv6 are taken off."""
    host = text.removeprefix("[").removesuffix("]")
    if not _HOST.match(host):
        raise ValueError(f"{host!r} is no name or address of a host")
    return host


def parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no whole number")
    port = int(text)
    if port > 65_535:
        raise ValueError(f"{port} is no port: give 1 to 65535, or 0 for a free one")
    return port


def _unix(path: str) -> UnixBind:
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is no absolute path: write unix:/run/caseus/http.sock")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError(f"{path!r} is too long for a unix socket: at most {_LONGEST_PATH} bytes")
    return UnixBind(Path(os.path.normpath(path)))
