"""Where to listen, as people write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from caseus.binds import Bind, InheritedBind, TcpBind, UnixBind, parse_bind


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:8080", TcpBind("127.0.0.1", 8080)),
        ("localhost:0", TcpBind("localhost", 0)),
        ("[::]:8080", TcpBind("::", 8080)),
        ("[fe80::1%eth0]:65535", TcpBind("fe80::1%eth0", 65535)),
        ("unix:/run/caseus/http.sock", UnixBind(Path("/run/caseus/http.sock"))),
        ("systemd", InheritedBind()),
    ],
)
def test_binds_are_shown_as_they_were_written(text: str, bind: Bind) -> None:
    assert parse_bind(text) == bind and str(bind) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("8080", "none of HOST:PORT"),
        (":8080", "none of HOST:PORT"),
        ("::1:8080", "none of HOST:PORT"),
        ("[::1]", "none of HOST:PORT"),
        ("host:", "no whole number"),
        ("host:-1", "no whole number"),
        ("host:٣", "no whole number"),
        ("host:65536", "no port"),
        ("a b:80", "no name or address"),
        ("unix:", "no absolute path"),
        ("unix:run/x", "no absolute path"),
        ("unix:/" + "x" * 107, "too long"),
    ],
)
def test_what_is_none(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_bind(text)
