"""The fast lane on raw sockets: whatever comes in whatever pieces, each request gets its own answer, the right one."""

from __future__ import annotations

import itertools
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from caseus.server.http import LONGEST, UNSENT
from caseus.web.ready_files import FileKey
from support.certificates import Certificates
from support.lanes import (
    BIG,
    BIG_DATA,
    BIG_FILE,
    DATA,
    FILE,
    MIA,
    PAGE,
    LaneWorld,
    answer,
    get,
    lane_world,
    many_files,
    same,
    shorter,
)
from support.packages import make_wheel
from support.raw import LIVE, Raw, connected, request
from support.served import logged

HIT = get(PAGE)
MISS = get("/simple/nobody/")
OTHER = get("/simple/")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaneWorld]:
    with lane_world(tmp_path_factory.mktemp("lane") / "root") as world:
        world.warm(HIT, get(FILE), get(BIG_FILE), OTHER)
        yield world


def same_as_slow(world: LaneWorld, data: bytes) -> bool:
    """Whether the lane's answer is uvicorn's own."""
    with world.by_lane():
        fast = world.ask(data)
    with connected(world.slow.port) as raw:
        return same(fast, answer(raw, data))


ACCEPTS = ("Accept: text/html", "Accept: application/vnd.pypi.simple.v1+json", "Accept: */*;q=0.1, text/html;q=0.2")
CODINGS = ("Accept-Encoding: gzip, deflate", "Accept-Encoding: zstd, gzip", "Accept-Encoding: identity")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "headers"),
    [
        *((target, headers) for target in (PAGE, "/simple/") for headers in itertools.product(ACCEPTS, CODINGS)),
        (PAGE, ()),
        (f"{PAGE}?format=application/vnd.pypi.simple.v1%2Bjson", ("Accept: text/html",)),
        (f"{PAGE}?format=text/html", ("Accept: nothing/known",)),
        (FILE, ()),
        (FILE, ("Accept-Encoding: gzip", "Connection: Keep-Alive")),
        (f"{FILE}.metadata", ()),
        (BIG_FILE, ()),
        ("/simple/%61cme/", ()),
    ],
)
def test_the_lane_s_answers_are_those_of_the_application(
    world: LaneWorld, method: str, target: str, headers: tuple[str, ...]
) -> None:
    data = request(method, target, *headers)
    world.warm(data)
    assert same_as_slow(world, data)
    tag = world.ask(data).headers["etag"]
    for known in (tag, f'W/{tag}, "x"', "*"):
        conditional = request(method, target, *headers, f"If-None-Match: {known}")
        world.warm(conditional)
        assert same_as_slow(world, conditional) and world.ask(conditional).status == 304
    other = request(method, target, *headers, 'If-None-Match: "x"')
    world.warm(other)
    assert same_as_slow(world, other) and world.ask(other).status == 200


@pytest.mark.parametrize(
    "data",
    [
        get(PAGE, "Connection: close"),
        get(PAGE, "Connection: keep-alive, close"),
        get(PAGE, "Content-Length: 0"),
        get(PAGE, "Expect: 100-continue"),
        get(PAGE, "TE: trailers"),
        get(PAGE, "Accept: nothing/known"),
        get(FILE, "Range: bytes=0-9"),
        get(FILE, "Range: bytes=0-9", 'If-Range: "x"'),
        get(f"{PAGE}?format=nothing"),
        get("/simple/nobody/"),
        get("/livez"),
        get("/"),
        b"GET /simple/acme/ HTTP/1.1\nHost: x\r\n\r\n",
        b"GET  /simple/acme/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n" + HIT,
        b"GET http://x/simple/acme/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /simple/acme/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /simple/acme/ HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /simple/acme/ HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        b"GET /simple/acme/ HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_for_the_lane(world: LaneWorld, data: bytes) -> None:
    """Asked again and again it is never learnt, and what follows on the connection is read as it should be."""
    with world.by_lane(0):
        for _ in range(4):
            with connected(world.port) as raw:
                raw.send(data)
                assert raw.answer() is not None


def test_http_1_0_is_closed(world: LaneWorld) -> None:
    with connected(world.port) as raw:
        raw.send(b"GET /simple/acme/ HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        first = raw.answer()
        assert first is not None and first.status == 200 and first.headers["connection"] == "close"
        assert raw.answer() is None


def sequences() -> list[list[bytes]]:
    wishes = [HIT, MISS, get(BIG_FILE), get(FILE), request("HEAD", PAGE)]
    return [list(found) for count in (1, 2, 3) for found in itertools.product(wishes, repeat=count)]


def bodies(raw: Raw, wishes: list[bytes]) -> list[tuple[int, int]]:
    """Status and length of the body of each answer."""
    found = []
    for wish in wishes:
        got = raw.answer(head=wish.startswith(b"HEAD"))
        assert got is not None
        found.append((got.status, len(got.body)))
    return found


def expected(world: LaneWorld, wishes: list[bytes]) -> list[tuple[int, int]]:
    page = len(world.ask(HIT).body)
    lengths = {HIT: (200, page), get(BIG_FILE): (200, len(BIG_DATA)), get(FILE): (200, len(DATA))}
    lengths[request("HEAD", PAGE)] = (200, 0)
    return [lengths.get(wish) or (404, len(world.ask(wish).body)) for wish in wishes]


@pytest.mark.parametrize("together", [True, False])
def test_pipelined_hits_and_misses_in_any_order(world: LaneWorld, together: bool) -> None:
    """In one piece, and each as a piece of its own, without waiting for answers."""
    world.warm(request("HEAD", PAGE))
    for wishes in sequences():
        with connected(world.port) as raw:
            for piece in [b"".join(wishes)] if together else wishes:
                raw.send(piece)
            assert bodies(raw, wishes) == expected(world, wishes), wishes
            with world.by_lane():  # and it goes on
                answer(raw, HIT)


def test_a_head_that_comes_in_two_pieces(world: LaneWorld) -> None:
    with connected(world.port) as raw, connected(world.port) as other:
        for at in range(1, len(HIT)):
            raw.send(HIT[:at])
            assert other.is_open()  # by now the first piece was read
            found = answer(raw, HIT[at:])
            assert found.status == 200
        with world.by_lane():
            answer(raw, HIT)


def test_a_head_that_comes_with_a_piece_of_the_next(world: LaneWorld) -> None:
    with connected(world.port) as raw, connected(world.port) as other:
        for at in range(1, len(HIT)):
            first = answer(raw, HIT + HIT[:at])
            assert first.status == 200 and other.is_open()
            assert answer(raw, HIT[at:]).body == first.body


def test_a_head_that_looks_like_a_body(world: LaneWorld) -> None:
    """The body of a GET that is, byte for byte, a request that the lane knows."""
    length = f"Content-Length: {len(HIT)}"
    with connected(world.port) as raw, connected(world.port) as other, world.by_lane(0):
        raw.send(get("/livez", length))
        assert other.is_open()
        raw.send(HIT)
        first = raw.answer()
        assert first is not None and first.body == b"alive\n"
        raw.send(LIVE)
        second = raw.answer()
        assert second is not None and second.body == b"alive\n"


@pytest.mark.parametrize("body", [b"hello", b"a" * 200_000])
def test_bodies_on_get(world: LaneWorld, body: bytes) -> None:
    with connected(world.port) as raw:
        raw.send(request("GET", PAGE, body=body) + HIT)
        assert bodies(raw, [HIT, HIT]) == expected(world, [HIT, HIT])


def test_chunked_bodies_on_get(world: LaneWorld) -> None:
    with connected(world.port) as raw:
        raw.send(get(PAGE, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n" + HIT)
        assert bodies(raw, [HIT, HIT]) == expected(world, [HIT, HIT])


def test_expect_on_get(world: LaneWorld) -> None:
    """Nobody reads the body, so nobody tells the client to send it."""
    with connected(world.port) as raw:
        raw.send(get(PAGE, "Content-Length: 5", "Expect: 100-continue"))
        assert bodies(raw, [HIT]) == expected(world, [HIT])


def test_an_upgrade_is_not_taken_up(world: LaneWorld) -> None:
    with connected(world.port) as raw:
        raw.send(get(PAGE, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x") + HIT)
        assert bodies(raw, [HIT]) == expected(world, [HIT])
        assert raw.answer() is None


def test_rubbish_after_a_hit_is_refused_behind_its_answer(world: LaneWorld) -> None:
    with connected(world.port) as raw:
        raw.send(get(BIG_FILE))
        raw.send(b"rubbish\r\n\r\n")
        assert bodies(raw, [get(BIG_FILE)]) == [(200, len(BIG_DATA))]
        refused = raw.answer()
        assert refused is not None and refused.status == 400 and raw.answer() is None


# Time


def asked_for(raw: Raw, seconds: float, pause: float = 0.05) -> int:
    """How many hits are answered in that time."""
    count, over = 0, threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.start()
    while not over.wait(pause):
        answer(raw, HIT)
        count += 1
    return count


def test_hits_keep_a_connection_and_silence_ends_it(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root", limits=shorter(head_seconds=0.2, idle_seconds=1)) as world:
        world.warm(HIT)
        with connected(world.port) as raw:
            before = world.lane.answered
            asked = asked_for(raw, 2.5)
            assert asked > 10 and world.lane.answered - before == asked
            assert raw.answer() is None


def test_pipelining_leaves_no_timer_behind(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root", limits=shorter(head_seconds=0.2, idle_seconds=1)) as world:
        world.warm(HIT)
        with connected(world.port) as raw:
            raw.send(HIT * 3)
            assert len(bodies(raw, [HIT] * 3)) == 3
            assert asked_for(raw, 2.5) > 10


def test_a_slow_head_after_a_hit_is_given_up(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root", limits=shorter(head_seconds=0.3)) as world:
        world.warm(HIT)
        with connected(world.port) as raw:
            answer(raw, HIT)
            raw.send(HIT[:-1])
            late = raw.answer()
            assert late is not None and late.status == 408 and raw.answer() is None


def test_a_client_that_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root", limits=shorter(head_seconds=0.2, unread_seconds=0.5)) as world:
        world.warm(get(BIG_FILE))
        with connected(world.port) as raw:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(8):
                raw.send(get(BIG_FILE))
            poll = select.poll()
            poll.register(raw.socket, 0)  # errors and the end of the connection are told all the same
            assert poll.poll(60_000)
        count = 1
        while (line := logged(world.log, count)[count - 1]).get("failure") is None:
            count += 1
        assert line["path"] == BIG_FILE and line["failure"] == "the client left" and line["bytes"] < len(BIG_DATA)


# Clients that leave, take their time, or are too many


def test_a_client_that_leaves_in_the_middle(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root") as world:
        world.warm(get(BIG_FILE), HIT)
        before = len(world.log)
        for _ in range(20):
            raw = Raw(world.port)
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.send(get(BIG_FILE) * 2)
            raw.socket.recv(100)
            raw.close()  # by a reset
        with connected(world.port) as raw:
            for _ in range(5):
                assert answer(raw, get(BIG_FILE)).body == BIG_DATA
        lines = logged(world.log[before:], 20)
        assert {line["status"] for line in lines} <= {200, 499}
        assert not [line for line in world.log if line["event"] == "unexpected error"]
        ready = world.lane.files.at_once(FileKey("main", NormalizedName("big"), BIG))
        assert ready is not None and ready.readers == 0


def test_answers_that_nobody_takes_do_not_pile_up(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root") as world:
        world.site.catalog.writer.write(many_files)
        page = get("/simple/many/", "Accept-Encoding: gzip")
        world.warm(page)
        size = len(world.ask(page).body)
        with connected(world.port) as raw, connected(world.port) as other:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(100):  # what the system buffers is a few megabytes
                raw.send(page)
                assert other.is_open()
            unsent = [each.transport.get_write_buffer_size() for each in world.server.connections]
        assert UNSENT < max(unsent) < 2 * size + (64 << 10)  # one more is taken below that


def test_two_halves_make_no_head_that_is_too_large(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root", limits=shorter(head=2000)) as world:
        world.warm(get(PAGE, "X: " + "x" * 900))
        with world.by_lane(0):
            for _ in range(4):
                assert world.ask(get(PAGE, "X: " + "x" * 1500)).status == 200


def test_one_connection_too_many_gets_no_lane(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root", limits=shorter(connections=2, spare=2)) as world, ExitStack() as stack:
        world.warm(HIT)
        within = [stack.enter_context(connected(world.port)) for _ in range(2)]
        for raw in within:
            for _ in range(1000):  # until the server has seen that others are gone
                if answer(raw, HIT).status == 200:
                    break
        crowded = stack.enter_context(connected(world.port))
        with world.by_lane(0):
            refused = answer(crowded, HIT)
        assert refused.status == 503 and crowded.answer() is None
        with world.by_lane(2):
            assert [answer(raw, HIT).status for raw in within] == [200, 200]


def test_requests_beyond_the_lane_s_are_still_counted(world: LaneWorld) -> None:
    """More than may be queued behind an answer that takes a while."""
    with connected(world.port) as raw:
        raw.send(get(BIG_FILE) + HIT * 150)
        first = raw.answer()
        assert first is not None and first.body == BIG_DATA
        statuses = [got.status for got in raw.answers()]
        assert statuses[-1] == 429 and set(statuses[:-1]) == {200}


# TLS


def test_the_lane_over_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls", "localhost")
    with lane_world(tmp_path / "root", certificates=certificates) as world:
        world.site.catalog.writer.write(many_files)
        page = get("/simple/many/")
        wishes = [HIT, get(FILE), get(BIG_FILE), page]
        world.warm(*wishes)
        with connected(world.slow.port) as plain:
            right = [answer(plain, wish) for wish in wishes]
        assert len(right[3].body) > LONGEST
        with connected(world.port, tls=world.tls) as raw:
            with world.by_lane(2 * len(wishes)):
                for wish, slow in zip(wishes * 2, right * 2, strict=True):
                    assert same(answer(raw, wish), slow)
            for wish in wishes:  # sent ahead
                raw.send(wish)
            assert [raw.answer() is not None for _ in wishes] == [True] * 4


def test_a_page_too_long_for_one_piece(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root") as world:
        world.site.catalog.writer.write(many_files)
        page = get("/simple/many/")
        world.warm(page)
        assert same_as_slow(world, page)
        line = next(line for line in logged(world.log)[::-1] if line["path"] == "/simple/many/")
        assert line["bytes"] == len(world.ask(page).body) > LONGEST


# What changes


def test_an_upload_is_seen_by_the_next_request(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root") as world:
        world.warm(HIT, OTHER)
        with connected(world.port) as raw:
            for number in range(2, 8):
                name, data = make_wheel("acme", f"{number}.0")
                world.publish(name, data)
                with world.by_lane(0):
                    assert name.encode() in answer(raw, HIT).body
                with world.by_lane():
                    assert name.encode() in answer(raw, HIT).body
            world.publish(*make_wheel("newer", "1.0"))
            with world.by_lane():  # another's change doesn't end it
                answer(raw, HIT)
            with world.by_lane(0):  # but for the list
                assert b"newer" in answer(raw, OTHER).body


def test_a_deleted_file_is_gone_at_the_next_request(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root") as world:
        wishes = [get(FILE), get(f"{FILE}.metadata")]
        world.warm(*wishes)
        with connected(world.port) as raw:
            assert [answer(raw, wish).status for wish in wishes] == [200, 200]
            files = world.site.catalog.hosted_files("files/main", "acme")
            world.site.indexes["main"].publisher.delete(files, "wrong", actor="test")
            assert [answer(raw, wish).status for wish in wishes] == [404, 404]


def test_bytes_that_change_on_disk_are_not_those_that_were_open(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root") as world:
        path = tmp_path / "root" / "files/main/big" / BIG
        world.warm(get(BIG_FILE))
        with connected(world.port) as raw:
            with world.by_lane():
                assert answer(raw, get(BIG_FILE)).body == BIG_DATA
            path.rename(path.with_name("aside"))
            with world.by_lane(0):
                assert answer(raw, get(BIG_FILE)).status == 503
            path.with_name("aside").rename(path)
            assert answer(raw, get(BIG_FILE)).body == BIG_DATA


# Who may read


def test_closed_pages_are_for_those_who_may_read_them(tmp_path: Path) -> None:
    wrong = MIA[:-4] + "AAA="
    with lane_world(tmp_path / "root", read="users") as world:
        hers = get(PAGE, f"Authorization: {MIA}")
        world.warm(hers)
        with world.by_lane():
            found = world.ask(hers)
        assert found.headers["cache-control"].startswith("private") and "Authorization" in found.headers["vary"]
        assert logged(world.log)[-1]["user"] == "mia"
        with connected(world.port) as raw:
            with world.by_lane():
                assert answer(raw, hers).status == 200
            with world.by_lane(0):
                for stranger in (HIT, get(PAGE, f"Authorization: {wrong}"), get(PAGE, "Authorization: Bearer x")):
                    assert answer(raw, stranger).status == 401
            with world.by_lane():
                assert answer(raw, hers).status == 200


def test_a_login_that_ends_ends_the_lane_for_it(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root", read="users") as world:
        hers = get(PAGE, f"Authorization: {MIA}")
        world.warm(hers)
        with connected(world.port) as raw:
            world.site.catalog.set_password(
                "mia", password_hash=world.site.access.passwords.hash("other"), actor="test"
            )
            with world.by_lane(0):
                assert answer(raw, hers).status == 401


def test_no_credential_is_kept_in_plain(tmp_path: Path) -> None:
    """Neither where they are asked for, nor where clients send them for nothing."""
    for read in ("users", "all"):
        with lane_world(tmp_path / read, read=read) as world:
            world.warm(get(PAGE, f"Authorization: {MIA}", "Cookie: a=secret"))
            for generation in (world.lane.rests._young, world.lane.rests._old):
                assert not any(MIA.encode() in half or b"secret" in half for half in generation)


def test_only_a_trusted_proxy_tells_who_asks(tmp_path: Path) -> None:
    told = get(PAGE, "X-Forwarded-For: 192.0.2.7")
    for trusted, client in ((("127.0.0.1",), "192.0.2.7"), (("192.0.2.1",), "127.0.0.1")):
        with lane_world(tmp_path / client, trusted_proxies=trusted) as world:
            world.warm(told, HIT)
            with world.by_lane(2):
                world.ask(told)
                world.ask(HIT)
            assert [line["client"] for line in logged(world.log)[-2:]] == [client, "127.0.0.1"]
            given = get(PAGE, "X-Request-Id: mine")
            with world.by_lane(0):
                for _ in range(4):
                    assert (world.ask(given).headers["x-request-id"] == "mine") is (trusted == ("127.0.0.1",))


# The log


def test_each_request_has_its_line(tmp_path: Path) -> None:
    with lane_world(tmp_path / "root") as world:
        tag = world.ask(HIT).headers["etag"]
        known, head = get(PAGE, f"If-None-Match: {tag}"), request("HEAD", PAGE)
        wishes = [HIT, known, head, get(FILE), request("HEAD", FILE), get(BIG_FILE), MISS]
        world.warm(*wishes[:-1])
        before = len(logged(world.log))
        with connected(world.port) as raw:
            answers = [answer(raw, wish) for wish in wishes]
        lines = logged(world.log, before + len(wishes))[before:]
        shown = [(line["method"], line["path"], line["status"], line["bytes"]) for line in lines]
        expect = [(wish.split()[0].decode(), wish.split()[1].decode()) for wish in wishes]
        assert shown == [(*e, got.status, len(got.body)) for e, got in zip(expect, answers, strict=True)]
        pages = [(line, got) for line, got in zip(lines, answers, strict=True) if "x-request-id" in got.headers]
        assert len(pages) == 4 and all(line["request_id"] == got.headers["x-request-id"] for line, got in pages)
        assert len({line["request_id"] for line in lines}) == len(lines)
        assert [line["cache"] for line in lines] == ["hit"] * 6 + ["-"]
