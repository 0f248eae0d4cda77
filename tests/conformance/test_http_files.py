"""Files over a real server: ranges, validators, and files that are still on their way from an upstream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caseus.errors import Unavailable
from caseus.storage import State
from support.served import DATA, FILE, FOREVER, SHA256, WHEEL, World, logged, world_of
from support.web import FillingBlob


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from world_of(tmp_path)


class TestFiles:
    def test_a_whole_file(self, world: World) -> None:
        reply = world.get(FILE)
        assert (reply.status, reply.body) == (200, DATA)
        assert reply["ETag"] == f'"{SHA256}"'
        assert reply["Cache-Control"] == FOREVER
        assert reply["Accept-Ranges"] == "bytes"
        assert reply["Content-Disposition"] == f'attachment; filename="{WHEEL}"'
        assert reply["Content-Security-Policy"] == "sandbox"
        assert reply["X-Content-Type-Options"] == "nosniff"
        assert reply["Content-Length"] == str(len(DATA))
        assert reply["Content-Encoding"] is None

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            (WHEEL, "application/zip"),
            (f"{WHEEL}.metadata", "text/plain; charset=utf-8"),
            (f"{WHEEL}.asc", "application/pgp-signature"),
            ("acme-1.0.tar.gz", "application/gzip"),
        ],
    )
    def test_types(self, world: World, name: str, kind: str) -> None:
        reply = world.get(f"/simple/acme/{name}", Accept_Encoding="gzip")
        assert (reply.status, reply["Content-Type"], reply["Cache-Control"]) == (200, kind, FOREVER)
        assert reply["Content-Encoding"] is None

    @pytest.mark.parametrize(
        ("header", "start", "stop"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=10-1033", 10, 1034),
            ("bytes=300000-", 300_000, len(DATA)),
            ("bytes=-7", len(DATA) - 7, len(DATA)),
            ("bytes=-99999999", 0, len(DATA)),
            ("bytes=5-99999999", 5, len(DATA)),
        ],
    )
    def test_a_range(self, world: World, header: str, start: int, stop: int) -> None:
        for condition in ({}, {"If_Range": f'"{SHA256}"'}):
            reply = world.get(FILE, Range=header, **condition)
            assert (reply.status, reply.body) == (206, DATA[start:stop])
            assert reply["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
            assert reply["Content-Length"] == str(stop - start)

    @pytest.mark.parametrize("header", [f"bytes={len(DATA)}-", "bytes=9999999-99999999", "bytes=-0"])
    def test_a_range_behind_the_end(self, world: World, header: str) -> None:
        for condition in ({}, {"If_Range": f'"{SHA256}"'}):
            reply = world.get(FILE, Range=header, **condition)
            assert (reply.status, reply["Content-Range"]) == (416, f"bytes */{len(DATA)}")
        assert world.get("/simple/acme/acme-0.zip", Range="bytes=0-5").status == 416

    @pytest.mark.parametrize(
        "headers",
        [
            {"Range": "bytes=0-1,5-6"},
            {"Range": "lines=0-1"},
            {"Range": "bytes=0-1", "If_Range": '"other"'},
            {"Range": "bytes=9999999-", "If_Range": '"other"'},
        ],
    )
    def test_the_whole_file_instead(self, world: World, headers: dict[str, str]) -> None:
        reply = world.get(FILE, **headers)
        assert (reply.status, reply.body, reply["Content-Range"]) == (200, DATA, None)

    def test_what_the_client_has_is_not_sent(self, world: World) -> None:
        reply = world.get(FILE, If_None_Match=f'"{SHA256}"')
        assert (reply.status, reply.body, reply["ETag"], reply["Cache-Control"]) == (304, b"", f'"{SHA256}"', FOREVER)

    def test_an_empty_file_and_no_file(self, world: World) -> None:
        reply = world.get("/simple/acme/acme-0.zip")
        assert (reply.status, reply.body, reply["Content-Length"]) == (200, b"", "0")
        assert world.get(f"{FILE}.provenance").status == 404
        assert world.get("/simple/acme/acme-9.zip").status == 404


class TestFills:
    """Files that are still on their way from an upstream."""

    def filling(self, world: World) -> list[FillingBlob]:
        opened: list[FillingBlob] = []

        def open_(start: int, stop: int | None) -> FillingBlob:
            opened.append(FillingBlob(start, stop))
            return opened[-1]

        world.index.files["far-1.zip"] = open_
        return opened

    def ask(self, world: World, *lines: str, method: str = "GET") -> Any:
        connection = world.server.connect()
        head = "\r\n".join((f"{method} /simple/far/far-1.zip HTTP/1.1", "Host: x", "Connection: close", *lines))
        connection.sendall(f"{head}\r\n\r\n".encode())
        return connection

    def opened(self, blobs: list[FillingBlob]) -> FillingBlob:
        """The blob, once it was polled twice: the response waits on the loop."""
        while not blobs:  # bounded by pytest's own patience: the server opens it on its own
            threading.Event().wait(0.005)
        assert blobs[-1].polled.acquire(timeout=10)
        assert blobs[-1].polled.acquire(timeout=10)
        return blobs[-1]

    def test_bytes_go_out_as_they_come(self, world: World) -> None:
        blobs = self.filling(world)
        with self.ask(world) as connection:
            blob = self.opened(blobs)
            blob.sha256 = SHA256
            blob.begin(len(DATA))
            blob.feed(DATA[:300_000])
            got = b""
            while len(got.partition(b"\r\n\r\n")[2]) < 300_000:
                got += connection.recv(65536)
            blob.feed(DATA[300_000:])
            got += b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = got.partition(b"\r\n\r\n")
        assert body == DATA
        assert f'etag: "{SHA256}"'.encode() in head
        assert blob.closed.wait(10)

    def test_without_a_length_it_is_chunked(self, world: World) -> None:
        blobs = self.filling(world)
        with self.ask(world) as connection:
            blob = self.opened(blobs)
            blob.begin(None)
            blob.feed(b"abc")
            blob.feed(b"def", end=True)
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"transfer-encoding: chunked" in got
        assert b"content-length" not in got
        assert got.endswith(b"0\r\n\r\n")

    @pytest.mark.parametrize("size", [100, None])
    def test_a_failure_in_the_middle_breaks_the_connection_off(
        self, world: World, size: int | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        blobs = self.filling(world)
        with self.ask(world) as connection:
            blob = self.opened(blobs)
            blob.begin(size)
            blob.feed(b"abc")
            got = b""
            while b"abc" not in got:
                got += connection.recv(65536)
            blob.fail(Unavailable("the digest is wrong", kind="upstream"))
            got += b"".join(iter(lambda: connection.recv(65536), b""))
        assert not got.endswith(b"0\r\n\r\n")
        assert blob.closed.wait(10)
        event = logged(world.log)[-1]
        assert (event["failure"], event["status"]) == ("the digest is wrong", 200)
        assert all(record.exc_info is None for record in caplog.records)

    @pytest.mark.parametrize("length", [2, 4])
    def test_bytes_that_are_not_as_many_as_announced_break_it_off(
        self, world: World, length: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Lying(FillingBlob):
            def available(self, n: int = 262_144, /) -> tuple[bytes, State]:
                return b"abc", State.END

        blob = Lying()
        blob.size = length
        world.index.files["far-1.zip"] = lambda start, stop: blob
        with self.ask(world) as connection:
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        assert len(got.partition(b"\r\n\r\n")[2]) < length
        assert logged(world.log)[-1]["failure"] == "the file's length is not what was announced"
        assert all(record.exc_info is None for record in caplog.records)

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (Unavailable("no", kind="upstream"), b"502"),
            (Unavailable("slow", kind="timeout"), b"504"),
            (Unavailable("full", kind="full"), b"507"),
        ],
    )
    def test_a_failure_before_the_first_byte_has_its_status(
        self, world: World, error: Unavailable, status: bytes
    ) -> None:
        blobs = self.filling(world)
        with self.ask(world) as connection:
            blob = self.opened(blobs)
            blob.fail(error)
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        assert got.startswith(b"HTTP/1.1 " + status)
        assert blob.closed.wait(10)

    def test_a_range_of_it(self, world: World) -> None:
        blobs = self.filling(world)
        with self.ask(world, "Range: bytes=2-3") as connection:
            blob = self.opened(blobs)
            blob.feed(b"abcdef")
            blob.begin(6)
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"content-range: bytes 2-3/6\r\n" in got
        assert got.endswith(b"\r\n\r\ncd")

    def test_a_range_of_unknown_length_is_the_whole(self, world: World) -> None:
        blobs = self.filling(world)
        with self.ask(world, "Range: bytes=2-3") as connection:
            first = self.opened(blobs)
            first.begin(None)
            assert first.closed.wait(10)
            while len(blobs) < 2:
                threading.Event().wait(0.005)
            blobs[1].begin(None)
            blobs[1].feed(b"abcdef", end=True)
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        assert got.startswith(b"HTTP/1.1 200")
        assert b"6\r\nabcdef\r\n0\r\n\r\n" in got

    def test_head_waits_for_the_length_and_no_longer(self, world: World) -> None:
        blobs = self.filling(world)
        with self.ask(world, method="HEAD") as connection:
            blob = self.opened(blobs)
            blob.begin(77)
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"content-length: 77\r\n" in got
        assert blob.closed.wait(10)

    @pytest.mark.parametrize("begun", [False, True])
    def test_a_client_that_leaves_ends_it(self, world: World, begun: bool) -> None:
        blobs = self.filling(world)
        with self.ask(world) as connection:
            blob = self.opened(blobs)
            if begun:
                blob.begin(1000)
                assert connection.recv(8) == b"HTTP/1.1"
        assert blob.closed.wait(10)
        assert logged(world.log)[-1]["status"] == (200 if begun else 499)
