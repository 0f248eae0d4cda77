"""The same requests to the server's own protocol with its fast lane, and to uvicorn's: the same answers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.lanes import BIG_FILE, FILE, MIA, PAGE, LaneWorld, lane_world, told
from support.raw import Answer, connected, request

EXAMPLES = 400
LAST = request("GET", "/livez", "Connection: close")
_ID = re.compile(rb'"request_id":"[0-9a-f]{16}"')

targets = st.sampled_from(
    [PAGE, FILE, f"{FILE}.metadata", BIG_FILE, "/simple/", "/simple/nobody/", "/simple/Acme/", "/simple/acme", "/livez",
     f"{PAGE}?format=text/html", f"{PAGE}?format=x", f"{PAGE}?a=b", "/simple/%61cme/", "/no", "/simple/acme/none.whl"]
)  # fmt: skip
accepts = st.sampled_from(
    [(), (), ("Accept: text/html",), ("Accept: application/vnd.pypi.simple.v1+json",), ("Accept: x/y",),
     ("accept:*/*",), ("ACCEPT:   text/html ; q=0.5", "Accept: application/vnd.pypi.simple.v1+html")]
)  # fmt: skip
codings = st.sampled_from([(), ("Accept-Encoding: gzip",), ("Accept-Encoding: zstd, gzip;q=0.9",)])
conditions = st.sampled_from([(), (), (), ("known",), ("If-None-Match: *",), ('If-None-Match: "x", W/"y"',)])
others = st.sampled_from(
    [(), (), (), ("Connection: keep-alive",), ("Connection: close",), ("Range: bytes=5-9",), ("TE: trailers",),
     (f"Authorization: {MIA}",), ("Cookie: a=b",), ("User-Agent: " + "x" * 3000,), ("X-Request-Id: given",)]
)  # fmt: skip
bodies = st.sampled_from([None, None, None, None, b"", b"hello", b"GET /simple/acme/ HTTP/1.1\r\nHost: x\r\n\r\n"])


class Wish(NamedTuple):
    """A request. `known`: with the ETag of what is there as If-None-Match."""

    method: str
    target: str
    headers: tuple[str, ...]
    body: bytes | None
    chunked: bool
    known: bool

    def wire(self, tags: dict[str, str]) -> bytes:
        headers = self.headers + ((f"If-None-Match: {tags.get(self.target, '*')}",) if self.known else ())
        if not self.chunked or self.body is None:
            return request(self.method, self.target, *headers, body=self.body)
        chunk = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
        return request(self.method, self.target, *headers, "Transfer-Encoding: chunked") + chunk + b"0\r\n\r\n"


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    condition = draw(conditions)
    known = condition == ("known",)
    headers = draw(accepts) + draw(codings) + (() if known else condition) + draw(others)
    method = draw(st.sampled_from(["GET"] * 6 + ["HEAD", "POST", "OPTIONS"]))
    return Wish(method, draw(targets), headers, draw(bodies), draw(st.booleans()), known)


@st.composite
def likely(draw: st.DrawFn) -> Wish:
    """One that the lane may have learnt."""
    target = draw(st.sampled_from([PAGE, FILE, f"{FILE}.metadata", BIG_FILE, "/simple/"]))
    headers = draw(st.sampled_from([(), ("Accept: text/html",)])) + draw(codings)
    return Wish(draw(st.sampled_from(["GET", "GET", "HEAD"])), target, headers, None, False, draw(st.booleans()))


class Talk(NamedTuple):
    """Requests on one connection. `cuts`: where their bytes are cut in pieces; none: each is a piece that waits for
    the answer to the one before."""

    wishes: list[Wish]
    cuts: list[int] | None


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    few = draw(st.lists(st.one_of(likely(), likely(), wishes()), min_size=1, max_size=3))
    said = draw(st.lists(st.sampled_from(few), min_size=1, max_size=10))
    return Talk(said, draw(st.one_of(st.none(), st.none(), st.lists(st.integers(1, 4000), max_size=4))))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaneWorld]:
    with lane_world(tmp_path_factory.mktemp("lane") / "root") as world:
        yield world
        print("answered by the lane:", world.lane.answered)
        assert world.lane.answered > EXAMPLES
        assert not [line for line in world.log if line["event"] == "unexpected error"]


def converse(port: int, talk: Talk, tags: dict[str, str]) -> list[Answer]:
    """All answers, up to the end of the connection."""
    found = []
    methods = [wish.method for wish in talk.wishes] + ["GET"]
    with connected(port) as raw:
        if talk.cuts is not None:
            data = b"".join(wish.wire(tags) for wish in talk.wishes) + LAST
            places = [0, *sorted(cut for cut in talk.cuts if cut < len(data)), len(data)]
            for start, end in itertools.pairwise(places):
                raw.send(data[start:end])
        for number, method in enumerate(methods):
            if talk.cuts is None:
                raw.send(talk.wishes[number].wire(tags) if number < len(talk.wishes) else LAST)
            got = raw.answer(head=method == "HEAD")
            while got is not None and got.status == 100:
                got = raw.answer(head=method == "HEAD")
            if got is None:
                break
            found.append(got)
        else:
            assert raw.answer() is None
    return found


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(talks())
def test_same_requests_same_answers(world: LaneWorld, talk: Talk) -> None:
    tags = {}
    for wish in talk.wishes:
        if wish.known:
            with connected(world.slow.port) as raw:
                raw.send(request("HEAD", wish.target, *wish.headers))
                got = raw.answer(head=True)
                tags[wish.target] = got.headers.get("etag", "*") if got else "*"
    fast, slow = (converse(port, talk, tags) for port in (world.port, world.slow.port))
    assert list(map(shown, fast)) == list(map(shown, slow))


def shown(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """Without what is another each time; the reason phrase of an error is our own protocol's."""
    return answer.status, told(answer.headers), _ID.sub(b"", answer.body)
