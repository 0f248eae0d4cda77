"""Requests that nobody wrote: whatever comes, no answer tells of a fault of ours, and the next client is served."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support import impatient
from support.besieged import DELIBERATE
from support.raw import LIVE, connected, request
from support.server import CaseusServer

EXAMPLES = 300
LAST = request("GET", "/livez", "Connection: close")

methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"CONNECT", b"BREW", b"get", b"", b"PRI", b"G\0"])
paths = st.one_of(
    st.sampled_from(
        [b"/", b"/simple/", b"/simple/acme/", b"/legacy/", b"*", b"http://x/", b"x:1", b"/readyz", b"/%2e/"]
    ),
    st.binary(max_size=60).map(lambda tail: b"/simple/" + tail),
    st.text("/.%2ef5c\\;?#:@ ", max_size=60).map(str.encode),
)
versions = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 ", b"", b"RTSP/1.0"])
names = st.one_of(
    st.sampled_from(
        [b"Host", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Connection", b"Upgrade", b"Range", b"Accept",
         b"If-None-Match", b"If-Range", b"Authorization", b"Content-Type", b"X-Forwarded-For", b"Cookie", b"TE"]
    ),
    st.binary(min_size=1, max_size=8),
)  # fmt: skip
values = st.one_of(
    st.sampled_from(
        [b"x", b"0", b"5", b"-1", b"99999999999999999999", b"chunked", b"gzip, chunked", b"100-continue", b"close",
         b"upgrade", b"h2c", b"bytes=0-0,1-", b"*/*;q=nan", b"Basic YTpi", b"Basic !", b"Bearer x", b'W/"x"', b"*",
         b"multipart/form-data; boundary=x"]
    ),
    st.binary(max_size=40),
)  # fmt: skip
ends = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\n ", b"\0"])
bodies = st.sampled_from([b"", b"x", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"0\r\nA: b\r\n\r\n", LIVE, b"--x\r\n\r\n"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Nearly right ones."""
    line = b" ".join((draw(methods), draw(paths), draw(versions))) + draw(ends)
    fields = draw(st.lists(st.tuples(names, values, ends), max_size=6))
    host = b"Host: x\r\n" if draw(st.integers(0, 4)) else b""
    return line + host + b"".join(b": ".join(field[:2]) + field[2] for field in fields) + b"\r\n" + draw(bodies)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good upload or request with some bytes changed, lost or put in."""
    data = bytearray(draw(st.sampled_from([LIVE, GOOD_GET, GOOD_POST])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
        data = data or bytearray(b"x")
    return bytes(data)


GOOD_GET = request("GET", "/simple/?format=text/html", "Accept: */*;q=0.5, text/html", "Range: bytes=0-1")
GOOD_POST = request(
    "POST",
    "/legacy/",
    "Content-Type: multipart/form-data; boundary=x",
    body=b'--x\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n--x--\r\n',
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseusServer]:
    """What hangs is given up at once."""
    environ = {
        "TEST_LIMITS": json.dumps({"head_seconds": 0.1, "linger_seconds": 0.1}),
        "TEST_PACE": json.dumps({"idle": 0.1}),
        "PYTHONPATH": str(Path(impatient.__file__).parents[1]),
    }
    command = (sys.executable, "-P", str(impatient.__file__))
    with CaseusServer(tmp_path_factory.mktemp("fuzz") / "data", command=command, environ=environ) as server:
        yield server
        assert "Traceback" not in server.log and '"level": "error"' not in server.log, server.log[-5000:]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(heads(), damaged(), st.binary(max_size=200), st.lists(heads(), max_size=4).map(b"".join)))
@example(b"\0" * 100)
@example(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + b"\xff")
def test_whatever_comes(server: CaseusServer, data: bytes) -> None:
    with connected(server.port) as raw:
        raw.send(data + LAST)
        statuses = statuses_of(raw.rest())
    assert all(status < 500 or status in DELIBERATE for status in statuses), statuses
    with connected(server.port) as raw:
        assert raw.is_open()


def statuses_of(wire: bytes) -> list[int]:
    """Of every answer; no body of ours holds such a line."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", wire)]
