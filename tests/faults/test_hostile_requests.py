"""Hostile heads, framings and targets over raw sockets: the right answer, the right end, and nothing given away.

Each case says what the server answers, in order, and whether the connection can be used afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support.besieged import Besieged, besieged
from support.raw import LIVE, connected, request

HOST = b"Host: x\r\n"
POST = b"POST /legacy/ HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Case(NamedTuple):
    data: bytes
    statuses: tuple[int, ...]
    stays: bool = False


def get(target: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + b"".join(h + b"\r\n" for h in (b"Host: x", *headers)) + b"\r\n"


def post(*headers: bytes, body: bytes = b"x") -> bytes:
    return POST + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def refused(data: bytes, status: int = 400) -> Case:
    return Case(data, (status,))


def fine(data: bytes, *statuses: int) -> Case:
    return Case(data, statuses or (200,), stays=True)


LENGTHS = {
    "two lengths, equal": refused(post(b"Content-Length: 1", b"Content-Length: 1")),
    "two lengths": refused(post(b"Content-Length: 1", b"Content-Length: 9")),
    "a list of lengths": refused(post(b"Content-Length: 1, 1")),
    "a negative length": refused(post(b"Content-Length: -1")),
    "a length with a plus": refused(post(b"Content-Length: +1")),
    "a hexadecimal length": refused(post(b"Content-Length: 0x1")),
    "a length with a fraction": refused(post(b"Content-Length: 1.0")),
    "a length of other digits": refused(post("Content-Length: ١".encode())),
    "an empty length": refused(post(b"Content-Length: ")),
    "two words as a length": refused(post(b"Content-Length: 1 1")),
    "a length beyond 64 bits": refused(post(b"Content-Length: 99999999999999999999999")),
    "a length with zeros in front": fine(post(b"Content-Length: 0001"), 401),
    "no length at all": fine(post(body=b""), 401),
    "underscores are another header": fine(post(b"Content_Length: 9", b"Content-Length: 1"), 401),
    "a body that nobody asked for": fine(get(b"/livez", b"Content-Length: 5") + b"hello"),
}

CODINGS = {
    "a length and chunks": refused(post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
    "chunks and a length": refused(post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n")),
    "chunks and no length": refused(post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=b"0\r\n\r\n")),
    "gzip": refused(post(b"Transfer-Encoding: gzip")),
    "gzip, chunked": refused(post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    "gzip, then chunked": refused(post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"), 501),
    "chunked, gzip": refused(post(b"Transfer-Encoding: chunked, gzip")),
    "chunked twice": refused(post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    "chunked, chunked": refused(post(b"Transfer-Encoding: chunked, chunked")),
    "chunked, then identity": refused(post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")),
    "identity": refused(post(b"Transfer-Encoding: identity", body=b"")),
    "identity and a length": refused(post(b"Transfer-Encoding: identity", b"Content-Length: 1")),
    "xchunked": refused(post(b"Transfer-Encoding: xchunked")),
    "chunked with a parameter": refused(post(b"Transfer-Encoding: chunked;q=1")),
    "chunked in quotes": refused(post(b'Transfer-Encoding: "chunked"')),
    "chunked after a vertical tab": refused(post(b"Transfer-Encoding: \x0bchunked")),
    "no coding": refused(post(b"Transfer-Encoding: ", body=b"")),
    "a space before the colon": refused(post(b"Transfer-Encoding : chunked")),
    "a folded coding": refused(post(b"Transfer-Encoding:\r\n chunked")),
    "chunks in HTTP/1.0": refused(b"POST /legacy/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked in capitals": fine(post(b"TRANSFER-ENCODING: CHUNKED", body=b"0\r\n\r\n"), 401),
    "chunks nobody asked for": fine(get(b"/livez", b"Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n\r\n"),
}

CHUNKS = {
    "no number": refused(CHUNKED + b"zz\r\n"),
    "an empty size": refused(CHUNKED + b"\r\n"),
    "with 0x": refused(CHUNKED + b"0x1\r\na\r\n0\r\n\r\n"),
    "negative": refused(CHUNKED + b"-1\r\na\r\n0\r\n\r\n"),
    "beyond 64 bits": refused(CHUNKED + b"ffffffffffffffffff\r\na\r\n0\r\n\r\n"),
    "a space behind the size": refused(CHUNKED + b"1 \r\na\r\n0\r\n\r\n"),
    "a bare LF behind the size": refused(CHUNKED + b"1\na\r\n0\r\n\r\n"),
    "a bare LF in the extension": refused(CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n"),
    "longer than its size": refused(CHUNKED + b"1\r\naX0\r\n\r\n"),
    "a malformed trailer": refused(CHUNKED + b"0\r\nX Y: z\r\n\r\n"),
    "an endless trailer": refused(CHUNKED + b"0\r\nX: " + b"y" * 600_000, 431),
    "a length in the trailer": refused(CHUNKED + b"0\r\nContent-Length: 9\r\n\r\n"),
    "a coding in the trailer": refused(CHUNKED + b"0\r\nTransfer-Encoding: gzip\r\n\r\n"),
    "an extension": fine(CHUNKED + b'1;a=b;c="d"\r\na\r\n0\r\n\r\n', 401),
    "zeros in front": fine(CHUNKED + b"0000001\r\na\r\n0\r\n\r\n", 401),
    "trailers are no headers": fine(
        CHUNKED + b"0\r\nHost: y\r\nContent-Type: a/b\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", 401
    ),
}

HEADS = {
    "no Host": refused(b"GET /livez HTTP/1.1\r\n\r\n"),
    "two Hosts": refused(get(b"/livez", b"Host: x")),
    "two Hosts in HTTP/1.0": refused(get(b"/livez", b"Host: y", version=b"HTTP/1.0")),
    "a folded Host": refused(b"GET /livez HTTP/1.1\r\nHost: x\r\n y\r\n\r\n"),
    "a list of Hosts": refused(b"GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    "a Host with a user": refused(b"GET /livez HTTP/1.1\r\nHost: u@x\r\n\r\n"),
    "a Host with markup": refused(b'GET /livez HTTP/1.1\r\nHost: x"><script>\r\n\r\n'),
    "a Host with a path": refused(b"GET /livez HTTP/1.1\r\nHost: x/y\r\n\r\n"),
    "a Host with two ports": refused(b"GET /livez HTTP/1.1\r\nHost: x:1:2\r\n\r\n"),
    "a folded header": refused(get(b"/livez", b"X-A: b\r\n c")),
    "a header with NUL": refused(get(b"/livez", b"X-A: b\0c")),
    "a header with a control": refused(get(b"/livez", b"X-A: b\x01c")),
    "a header with DEL": refused(get(b"/livez", b"X-A: b\x7fc")),
    "a header with a bare CR": refused(get(b"/livez", b"X-A: b\rX-C: d")),
    "a header with a bare LF": refused(get(b"/livez", b"X-A: b\nX-C: d")),
    "a name with NUL": refused(get(b"/livez", b"X\0A: b")),
    "a name with a space": refused(get(b"/livez", b"X A: b")),
    "a name of other letters": refused(get(b"/livez", "Ä: b".encode())),
    "an empty name": refused(get(b"/livez", b": b")),
    "no colon": refused(get(b"/livez", b"X-A")),
    "lines end in LF": refused(b"GET /livez HTTP/1.1\nHost: x\n\n"),
    "lines end in CR": refused(b"GET /livez HTTP/1.1\rHost: x\r\r"),
    "a huge header": refused(get(b"/livez", b"X-A: " + b"b" * 20_000), 431),
    "a header without end": refused(b"GET /livez HTTP/1.1\r\nX-A: " + b"b" * 700_000, 431),
    "a name without end": refused(b"GET /livez HTTP/1.1\r\n" + b"b" * 700_000, 431),
    "many headers": refused(get(b"/livez", *(b"X-%d: a" % n for n in range(100))), 431),
    "many small headers": refused(get(b"/livez", *([b"A:"] * 20_000)), 431),
    "headers that are large together": refused(
        get(b"/livez", *(b"X-%d: %s" % (n, b"a" * 400) for n in range(60))), 431
    ),
    "an unknown Expect": refused(post(b"Expect: coffee", b"Content-Length: 1"), 417),
    "an Expect of two": refused(post(b"Expect: 100-continue, x", b"Content-Length: 1"), 417),
    "as many headers as may be": fine(get(b"/livez", *(b"X-%d: a" % n for n in range(99)))),
    "as large as may be": fine(get(b"/livez", b"X-A: " + b"b" * (16_384 - 30))),
    "other bytes in a header": fine(get(b"/livez", b"X-A: \xff\xfe\xc3\x28")),
    "an empty header": fine(get(b"/livez", b"X-A:")),
    "an empty Host": fine(b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n"),
    "a Host with an underscore": fine(b"GET /livez HTTP/1.1\r\nHost: my_host:8080\r\n\r\n"),
    "a Host of IPv6": fine(b"GET /livez HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
    "an Expect that nobody needs": fine(get(b"/livez", b"Expect: 100-continue")),
    "empty lines in front": fine(b"\r\n\r\n" + LIVE),
    "two Authorizations": fine(post(b"Authorization: Basic YTpi", b"Authorization: Basic YTpi", body=b""), 401),
}

LINES = {
    "HTTP/0.9": refused(b"GET /livez\r\n\r\n", 505),
    "HTTP/0.9 by name": refused(get(b"/livez", version=b"HTTP/0.9"), 505),
    "HTTP/1.2": refused(get(b"/livez", version=b"HTTP/1.2"), 505),
    "HTTP/2.0": refused(get(b"/livez", version=b"HTTP/2.0"), 505),
    "HTTP/9.9": refused(get(b"/livez", version=b"HTTP/9.9"), 505),
    "HTTP/1.11": refused(get(b"/livez", version=b"HTTP/1.11")),
    "HTTP/2 at once": refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", 505),
    "another protocol": refused(get(b"/livez", version=b"SIP/2.0")),
    "no version": refused(get(b"/livez", version=b"HTTP/")),
    "TLS": refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32))),
    "a space in front": refused(b" " + LIVE),
    "a space behind": refused(get(b"/livez", version=b"HTTP/1.1 ")),
    "an unknown method": refused(LIVE.replace(b"GET", b"BREW"), 501),
    "a method in small letters": refused(LIVE.replace(b"GET", b"get"), 501),
    "a long method": refused(LIVE.replace(b"GET", b"G" * 70_000)),
    "a method with NUL": refused(LIVE.replace(b"GET", b"G\0T")),
    "CONNECT": refused(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 405),
    "CONNECT to a path": refused(LIVE.replace(b"GET", b"CONNECT"), 405),
    "OPTIONS *": refused(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "TRACE": fine(LIVE.replace(b"GET", b"TRACE"), 405),
    "OPTIONS": fine(LIVE.replace(b"GET", b"OPTIONS"), 405),
    "PUT": fine(b"PUT /simple/acme/evil.whl HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nevil", 405),
    "DELETE": fine(b"DELETE /simple/acme/ HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "PROPFIND": fine(LIVE.replace(b"GET", b"PROPFIND"), 405),
    "GET *": refused(get(b"*")),
    "no slash": refused(get(b"livez")),
    "only a query": refused(get(b"?a")),
    "a fragment": refused(get(b"/livez#a")),
    "NUL in the path": refused(get(b"/livez\0")),
    "a tab in the path": refused(get(b"/livez\t")),
    "other bytes in the path": refused(get(b"/livez\xff")),
    "other bytes in the query": refused(get(b"/livez?\xff")),
    "a space in the path": refused(get(b"/live z")),
    "a long path": refused(get(b"/" + b"a" * 9000), 414),
    "a longer path": refused(get(b"/" + b"a" * 300_000), 414),
    "a long query": refused(get(b"/livez?" + b"a" * 9000), 414),
    "a path without end": refused(b"GET /" + b"a" * 700_000, 414),
    "a URL": fine(get(b"http://x/livez")),
    "a URL in capitals": fine(get(b"HTTP://X/livez")),
    "a URL without a path": fine(get(b"http://x")),
    "a URL with a query only": fine(get(b"http://x?a")),
    "a URL of another host": refused(get(b"http://evil.example/livez")),
    "a URL of no host": refused(get(b"http:///livez")),
    "a URL with a user": refused(get(b"http://u:p@x/livez")),
    "a URL of another scheme": refused(get(b"ftp://x/livez")),
    "a file URL": refused(get(b"file:///etc/passwd")),
    "HTTP/1.0": Case(get(b"/livez", version=b"HTTP/1.0"), (200,)),
    "HTTP/1.0 without Host": Case(b"GET /livez HTTP/1.0\r\n\r\n", (200,)),
    "HTTP/1.0 that wants to stay": Case(get(b"/livez", b"Connection: keep-alive", version=b"HTTP/1.0"), (200,)),
}

UPGRADES = {
    "websocket": Case(
        get(b"/livez", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: eA==") + b"\x81\x05hello",
        (200,),
    ),
    "h2c": Case(
        get(b"/livez", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM") + LIVE, (200,)
    ),
    "h2c with a body": Case(
        post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5", body=b"hello") + LIVE, (401,)
    ),
    "Upgrade without Connection": fine(get(b"/livez", b"Upgrade: h2c")),
}

PIPELINES = {
    "good ones": fine(LIVE * 5 + get(b"/nowhere"), 200, 200, 200, 200, 200, 404),
    "a good one, then garbage": Case(LIVE + b"\x16\x03\x01\0", (200, 400)),
    "a good one, then an unknown method": Case(LIVE + LIVE.replace(b"GET", b"BREW"), (200, 400)),
    "a file, then garbage": Case(get(b"/simple/acme/acme-1.0-py3-none-any.whl") + b"garbage\r\n\r\n", (200, 400)),
    "two, then two Hosts, then one": Case(LIVE * 2 + get(b"/livez", b"Host: y") + LIVE, (200, 200, 400)),
    "a body, then a request": fine(post(b"Content-Length: 5", body=b"hello") + LIVE, 401, 200),
    "chunks, then a request": fine(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + LIVE, 401, 200),
    "a request in a body": fine(post(b"Content-Length: %d" % len(LIVE), body=LIVE) + LIVE, 401, 200),
    "a request in a body of a GET": fine(get(b"/readyz", b"Content-Length: %d" % len(LIVE)) + LIVE, 200),
    "a good one, then bad chunks": Case(LIVE + CHUNKED + b"zz\r\n", (200, 400)),
    "bad chunks, then a good one": Case(CHUNKED + b"zz\r\n" + LIVE, (400,)),
    "close, then a good one": Case(get(b"/livez", b"Connection: close") + LIVE, (200,)),
    "HTTP/1.0, then a good one": Case(get(b"/livez", version=b"HTTP/1.0") + LIVE, (200,)),
    "too many ahead": Case(LIVE * 3000, (200,) * 101 + (429,)),
    "many, one after the other": fine(LIVE * 100, *[200] * 100),
    "an upload that waits to be told": Case(post(b"Expect: 100-continue", b"Content-Length: 9", body=b""), (401,)),
}

TABLE = {
    f"{kind}: {name}": case
    for kind, cases in {
        "length": LENGTHS, "coding": CODINGS, "chunk": CHUNKS, "head": HEADS, "line": LINES, "upgrade": UPGRADES,
        "pipeline": PIPELINES,
    }.items()
    for name, case in cases.items()
}  # fmt: skip


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    with besieged(tmp_path_factory.mktemp("hostile")) as found:
        yield found


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_it_gets_its_answer_and_its_end(target: Besieged, case: Case) -> None:
    with connected(target.port) as raw:
        raw.send(case.data)
        if case.stays:
            answers = [answer for _ in case.statuses if (answer := raw.answer()) is not None]
            assert raw.is_open()
        else:
            answers = list(raw.answers())
    for answer in answers:
        target.judge(answer)
    assert tuple(answer.status for answer in answers) == case.statuses
    with connected(target.port) as raw:
        assert raw.is_open()


def test_one_byte_at_a_time_is_the_same(target: Besieged) -> None:
    """The parser must not see another head where the network cuts it elsewhere."""
    for case in (HEADS["two Hosts"], CODINGS["gzip, chunked"], CHUNKS["trailers are no headers"], LINES["a fragment"]):
        with connected(target.port) as raw:
            for byte in case.data:
                raw.send(bytes([byte]))
            answer = raw.answer()
            assert answer is not None and (answer.status,) == case.statuses


def test_what_is_refused_is_logged_without_what_was_sent(target: Besieged) -> None:
    target.ask(get(b"/livez", b"X-Secret: gruyere\0"))
    answer = target.ask(get(b"http://u:gruyere@x/"))
    assert answer.reason == "malformed request: the address has user information"
    told = [line for line in target.server.log.splitlines() if answer.problem["request_id"] in line]
    assert len(told) == 1 and '"event": "refused"' in told[0] and '"status": 400' in told[0]
    assert "gruyere" not in target.server.log


# Targets

DOTS = [
    "..", "%2e%2e", "%2E%2e", ".%2e", "%252e%252e", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "%uff0e%uff0e", "..;", "...",
    "..%00", "%2e%2e%20", "....", "~", "%7e", "%ef%bc%8e%ef%bc%8e",
]  # fmt: skip
SLASHES = ["/", "%2f", "%2F", "%5c", "\\", "%252f", "%c0%af", "//", "/./", "%u2215", "%ef%bc%8f", ";/"]
STARTS = ["/", "/simple/", "/simple/acme/", "/main/simple/acme/", "/legacy/", "/simple/acme/acme-1.0-py3-none-any.whl/"]
ENDS = ["canary.txt", "admin-password", "etc/passwd", "catalog.sqlite", "files/canary.txt"]


def traversals() -> Iterator[str]:
    """Every spelling of dots and slashes, each from every start, to some end."""
    ends = itertools.cycle(ENDS)
    for start, dots, slash in itertools.product(STARTS, DOTS, SLASHES):
        for depth in (1, 2, 6):
            yield start + (dots + slash) * depth + next(ends)
    for start, end in itertools.product(STARTS, ENDS):
        yield from (f"{start}{end}", f"{start}/{end}", f"{start}%2f{end}", f"{start}%00{end}", f"{start}.%2f{end}")


def test_no_spelling_leads_out_of_the_root(target: Besieged) -> None:
    statuses: dict[int, int] = {}
    raw = connected(target.port)
    connection = raw.__enter__()
    for path in traversals():
        connection.send(request("GET", path))
        answer = connection.answer()
        assert answer is not None
        target.judge(answer)
        assert answer.status in (301, 400, 404), (path, answer)
        # A redirect goes to where a project of this name would be, and never up.
        assert answer.status != 301 or answer.headers["location"] in (
            "canary-txt/",
            "admin-password/",
            "catalog-sqlite/",
        )
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.headers.get("connection") == "close":
            raw.__exit__(None, None, None)
            raw = connected(target.port)
            connection = raw.__enter__()
    raw.__exit__(None, None, None)
    assert statuses[404] > 1000


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/%", 404), ("/%z", 404), ("/%zz/", 404), ("/%2", 404), ("/simple/%61cme/", 200), ("/simple/%2561cme/", 404),
        ("/%73imple/", 200), ("/simple%2f", 404), ("/simple/acme%2f", 404), ("/simple/acme%00/", 404),
        ("/simple/acme/%0d%0aSet-Cookie:%20a=b", 404), ("/%0d%0aSet-Cookie:%20a=b", 404), ("/simple/%e2%82%ac/", 404),
        ("/simple/%ff/", 404), ("/simple/%c4%b0/", 404), ("/simple/acme/?%0d%0aX: y", 400), ("/simple/./acme/", 404),
        ("//simple/", 404), ("/simple//", 404), ("/simple/acme//", 404), ("//evil.example/simple", 404),
        ("/simple/" + "a/" * 1000, 404), ("/" + "a/" * 4000, 404), ("/simple/" + "a" * 2000 + "/", 404),
        ("/simple/" + "a" * 300 + "/", 404), ("/simple/acme/" + "a" * 300 + ".whl", 404),
        ("/simple/-/", 404), ("/simple/acme/.hidden", 404), ("/simple/acme/packages.jsonl", 404),
        ("/simple/acme/acme-1.0-py3-none-any.whl.metadata.metadata", 404), ("/.well-known/", 404), ("/main/livez", 404),
        ("/simple/acme/acme-1.0-py3-none-any.whl?" + "&".join(["a=b"] * 1500), 200), ("/simple/?" + "&" * 8000, 200),
        ("/simple/?" + "format=x&" * 900, 406), ("/simple/?format=%00%0d%0a", 406),
        ("/simple/?format=" + "%ff" * 99, 406),
    ],
)  # fmt: skip
def test_odd_paths(target: Besieged, path: str, status: int) -> None:
    assert target.ask(request("GET", path)).status == status


@pytest.mark.parametrize("query", ["%0d%0aSet-Cookie:%20a=b", "a%0ab", "next=//evil.example", "%00", "\\evil", '"><a>'])
def test_a_redirect_carries_no_header_and_stays_here(target: Besieged, query: str) -> None:
    answer = target.ask(request("GET", f"/simple/Acme?{query}".replace(" ", "%20")))
    assert answer.status == 301
    assert answer.headers["location"].startswith("acme/?") and "set-cookie" not in answer.headers
    assert not set(answer.headers["location"]) & set('\r\n\\"<> ')


# Headers that are read

BIG = 16_000


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-0", 206), ("bytes=-1", 206), ("bytes=0-", 206), ("BYTES=0-0", 206), ("bytes=-0", 416),
        ("bytes=99999999-", 416), ("bytes=999999999999999999-", 416), ("bytes=0-999999999999999999", 206),
        ("bytes=9999999999999999999999-", 200), ("bytes=-9999999999999999999999", 200), ("bytes=-999999999999", 206),
        ("bytes=5-2", 200), ("bytes=--1", 200), ("bytes=0--1", 200), ("bytes=", 200), ("bytes", 200), ("=", 200),
        ("bytes=0-0,1-1", 200), ("bytes=" + ",".join(["0-"] * 1300)[:8000], 200), ("bytes=" + "0-1," * 4000, 200),
        ("bytes=" + "," * BIG, 200), ("bytes= " + "\t " * 8000 + "x", 200), ("lines=0-1", 200), ("bytes=a-b", 200),
        ("bytes=٠-١", 200), ("bytes=0x0-0x1", 200), ("bytes=+0-1", 200), ("bytes=0 - 1", 200),
    ],
)  # fmt: skip
def test_ranges(target: Besieged, value: str, status: int) -> None:
    data = request("GET", f"/simple/acme/{target.wheel}", "@").replace(b"@", b"Range: " + value.encode())
    answer = target.ask(data)
    assert answer.status == status
    assert status != 200 or answer.body == target.data


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Accept: " + "," * BIG, 200), ("Accept: " + "a/b," * 4000, 406), ("Accept: " + "*/*;q=0.001," * 1200, 200),
        ("Accept: */*" + ";q=1" * 4000, 200), ("Accept: " + "text/html;" * 1600, 200), ("Accept: \xff/\xfe", 406),
        ("Accept: text/html;q=" + "9" * 1000, 200), ("Accept: text/html;q=-1", 200), ("Accept: */*;q=nan", 200),
        ("Accept: text/html;q=1e9", 200), ("Accept: " + "text/html;q=0." + "0" * BIG, 406),
        ("Accept-Encoding: " + "gzip," * 3000, 200), ("Accept-Encoding: " + ",;=" * 5000, 200),
        ("If-None-Match: " + '"a",' * 4000, 200), ("If-None-Match: " + '"' * BIG, 200), ("If-None-Match: *", 304),
        ("If-None-Match: " + "W/" * 8000, 200), ("If-None-Match: " + 'W/"' * 5000, 200), ("If-None-Match: ", 200),
        ("Cookie: " + "a=b;" * 4000, 200), ("Connection: " + "x," * 8000, 200), ("X-Forwarded-For: " + "1," * 999, 200),
        ("X-Forwarded-Host: evil.example", 200), ("X-Forwarded-Proto: javascript", 200), ("X-Request-Id: a\tb", 200),
    ],
)  # fmt: skip
def test_headers_that_are_read(target: Besieged, header: str, status: int) -> None:
    answer = target.ask(request("GET", "/simple/acme/", header))
    assert answer.status == status
    assert b"evil.example" not in answer.wire and "a\tb" not in answer.headers.get("x-request-id", "")


def test_the_page_for_people_shows_no_host_that_could_be_markup(target: Besieged) -> None:
    page = target.ask(b"GET / HTTP/1.1\r\nHost: evil_host~.example:80\r\n\r\n")
    assert page.status == 200 and b"evil" not in page.body
