"""The application over a real server: what clients get, and what is left behind."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from packaging.utils import NormalizedName
from structlog.testing import CapturingLogger

from caseus.errors import Busy, Conflict, Invalid, Unavailable
from caseus.model import File, Project, Validity
from caseus.render import HOME_POLICY, HTML, JSON
from caseus.web import create_app
from support.web import FORM_TYPE, Doubles, FillingBlob, LiveServer, form_body, make_config, serving

DATA = bytes(range(256)) * 4000  # 1,024,000 bytes: more than three reads
SHA256 = hashlib.sha256(DATA).hexdigest()
WHEEL = "acme-1.0-py3-none-any.whl"
FILE = f"/simple/acme/{WHEEL}"
FOREVER = "max-age=365000000, immutable"
MIA = {"Authorization": "Basic bWlh"}
ACTION = {":action": "file_upload", "name": "acme", "version": "1.0"}


class World:
    """Doubles being served. Changes to the doubles are seen at once."""

    def __init__(self, doubles: Doubles, server: LiveServer) -> None:
        self.doubles, self.server = doubles, server
        self.catalog, self.index, self.publisher = doubles.catalog, doubles.index, doubles.publisher

    def get(self, path: str, **headers: str) -> Any:
        return self.server.get(path, **headers)

    def upload(self, body: bytes | Iterator[bytes], path: str = "/legacy/", **headers: str) -> Any:
        return self.server.request(
            "POST",
            path,
            {**MIA, "Content-Type": FORM_TYPE, **{k.replace("_", "-"): v for k, v in headers.items()}},
            body,
        )


def world_of(root: Path, **changes: Any) -> Iterator[World]:
    doubles = Doubles(make_config(root, **changes))
    files = tuple(File(filename=f"acme-1.{i}-py3-none-any.whl", hashes={"sha256": SHA256}) for i in range(20))
    doubles.index.known["acme"] = Project(name=NormalizedName("acme"), files=files)
    doubles.index.files[WHEEL] = DATA
    doubles.index.files[f"{WHEEL}.metadata"] = b"Metadata-Version: 2.1\n"
    doubles.index.files["acme-1.0.tar.gz"] = b"\x1f\x8b"
    doubles.index.files[f"{WHEEL}.asc"] = b"-----BEGIN PGP SIGNATURE-----"
    doubles.index.files["acme-0.zip"] = b""
    with serving(create_app(doubles.site)) as server:
        yield World(doubles, server)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from world_of(tmp_path)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[World]:
    yield from world_of(tmp_path, read="users")


@pytest.fixture
def behind_proxy(tmp_path: Path) -> Iterator[World]:
    yield from world_of(tmp_path, public_url="https://pkgs.example.com/team/", trusted_proxies=("127.0.0.1",))


class TestPages:
    def test_a_project_in_each_form(self, world: World) -> None:
        for accept, kind in ((JSON, JSON), (HTML, HTML), ("text/html", "text/html; charset=utf-8")):
            reply = world.get("/simple/acme/", Accept=accept)
            assert (reply.status, reply["Content-Type"]) == (200, kind)
            assert reply["Content-Length"] == str(len(reply.body))
            assert reply["Vary"] == "Accept, Accept-Encoding"
            assert reply["Cache-Control"] == "no-cache"
            assert reply["X-Content-Type-Options"] == "nosniff"
            assert b"acme-1.19-py3-none-any.whl" in reply.body
        assert json.loads(world.get("/main/simple/acme/", Accept=JSON).body)["name"] == "acme"
        assert json.loads(world.get("/simple/?format=application/vnd.pypi.simple.latest+json").body)["projects"] == [
            {"name": "acme"}
        ]

    def test_no_type_of_ours_is_406(self, world: World) -> None:
        reply = world.get("/simple/acme/", Accept="application/json")
        assert reply.status == 406
        assert reply["Vary"] == "Accept"
        assert HTML in reply.problem["detail"]

    def test_gzip_and_304(self, world: World) -> None:
        plain = world.get("/simple/acme/", Accept=JSON)
        zipped = world.get("/simple/acme/", Accept=JSON, Accept_Encoding="gzip, deflate")
        assert zipped["Content-Encoding"] == "gzip"
        assert gzip.decompress(zipped.body) == plain.body
        assert zipped["ETag"] != plain["ETag"]
        same = world.get("/simple/acme/", Accept=JSON, If_None_Match=f'"other", W/{plain["ETag"]}')
        assert (same.status, same.body) == (304, b"")
        assert same["ETag"] == plain["ETag"]
        assert same["Cache-Control"] == "no-cache"
        assert same["Vary"] == "Accept, Accept-Encoding"
        assert same["Content-Length"] is None

    def test_head_is_get_without_the_body(self, world: World) -> None:
        for path in ("/", "/simple/", "/simple/acme/", FILE, "/livez", "/simple/nothing/", "/simple/Acme"):
            got, head = world.get(path), world.server.request("HEAD", path)
            assert head.status == got.status
            assert head.body == b""
            for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Vary", "Location"):
                assert head[name] == got[name], (path, name)

    def test_a_proxied_page_tells_what_is_left_of_its_freshness(self, world: World) -> None:
        now = world.catalog.now
        world.index.known["acme"] = Project(
            name=NormalizedName("acme"), hosted=False, validity=Validity(until=now + 300, fetched=now)
        )
        assert world.get("/simple/acme/")["Cache-Control"] == "max-age=300"
        world.catalog.now += 100
        assert world.get("/simple/acme/")["Cache-Control"] == "max-age=200"
        assert len(world.index.asked) == 1
        world.index.known["acme"] = Project(
            name=NormalizedName("acme"), hosted=False, validity=Validity(until=now + 900, fetched=now, stale=True)
        )
        world.catalog.now += 300
        reply = world.get("/simple/acme/")
        assert (reply["Cache-Control"], reply["X-Caseus-Stale"], reply["Age"]) == ("max-age=0", "1", "400")

    @pytest.mark.parametrize(
        ("path", "location"),
        [
            ("/simple", "simple/"),
            ("/simple?a=b&format=x+y", "simple/?a=b&format=x+y"),
            ("/main", "main/"),
            ("/simple/Acme", "acme/"),
            ("/simple/AC.me/?x=%0d%0a", "../ac-me/?x=%0d%0a"),
            (f"/simple/Acme/{WHEEL}", f"../acme/{WHEEL}"),
        ],
    )
    def test_redirects(self, world: World, path: str, location: str) -> None:
        reply = world.get(path)
        assert (reply.status, reply["Location"]) == (301, location)

    def test_what_is_nowhere(self, world: World) -> None:
        reply = world.get("/simple/nothing/")
        assert reply.status == 404
        assert reply["Cache-Control"] == "no-cache"
        assert reply["X-Error-Message"] == reply.problem["detail"] == "no project nothing"
        assert "/simple/requests/" in world.get("/requests/").problem["detail"]
        for path in ("/simple/..%2f..%2fetc/", "//simple/", "/simple/acme/%00", "/\\simple/"):
            assert world.get(path).status == 404, path
        assert world.get("/simple/nothing/x.whl").status == 404

    def test_methods(self, world: World) -> None:
        for path, allow in (("/simple/acme/", "GET, HEAD"), ("/simple/", "GET, HEAD, POST"), (FILE, "GET, HEAD")):
            reply = world.server.request("PUT", path, body=b"x")
            assert (reply.status, reply["Allow"]) == (405, allow)
        reply = world.get("/legacy/")
        assert (reply.status, reply["Allow"]) == (405, "POST")

    def test_the_upstream_is_down(self, world: World) -> None:
        world.index.known["far"] = Unavailable("the upstream does not answer", kind="upstream", retry_after=3)
        reply = world.get("/simple/far/")
        assert (reply.status, reply["Retry-After"], reply["Cache-Control"]) == (502, "3", "no-store")

    def test_a_slow_upstream_holds_nobody_else_up(self, world: World) -> None:
        go = threading.Event()

        def slowly() -> Project:
            assert go.wait(20)
            return Project(name=NormalizedName("slow"))

        world.index.known["slow"] = slowly
        waiting = [threading.Thread(target=world.get, args=("/simple/slow/",)) for _ in range(20)]
        for thread in waiting:
            thread.start()
        try:
            assert world.get("/simple/acme/").status == 200
            assert world.get(FILE).body == DATA
            assert world.get("/readyz").status == 200
        finally:
            go.set()
            for thread in waiting:
                thread.join()
        assert world.index.asked.count("slow") == 1

    def test_a_fault_of_our_own_is_500_without_a_traceback(self, world: World, log: CapturingLogger) -> None:
        world.index.known["bad"] = ZeroDivisionError("secret")
        reply = world.get("/simple/bad/")
        assert reply.status == 500
        assert b"secret" not in reply.body
        assert reply["X-Request-Id"] in reply.problem["detail"]
        [event] = [call.kwargs for call in log.calls if call.kwargs.get("event") == "unexpected error"]
        assert event["request_id"] == reply["X-Request-Id"]
        assert event["exc_info"] is True


class TestHome:
    def test_it_shows_its_own_address(self, world: World) -> None:
        reply = world.get("/")
        assert (reply.status, reply["Content-Security-Policy"]) == (200, HOME_POLICY)
        assert f"--index-url {world.server.base}simple/ PACKAGE".encode() in reply.body
        assert world.get("/", If_None_Match=reply["ETag"]).status == 304
        named = world.server.request("GET", "/", {"Host": "pkgs.example.com:81"})
        assert b"http://pkgs.example.com:81/simple/" in named.body

    def test_a_host_that_is_none_is_not_shown(self, world: World) -> None:
        with world.server.connect() as connection:
            connection.sendall(b'GET / HTTP/1.1\r\nHost: x"><script>\r\nConnection: close\r\n\r\n')
            page = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"<script" not in page
        assert world.server.base.encode() in page

    def test_forwarded_headers_of_strangers_are_ignored(self, world: World) -> None:
        reply = world.get("/", X_Forwarded_Host="evil.example", X_Forwarded_Proto="https", X_Request_Id="mine")
        assert b"evil" not in reply.body
        assert reply["X-Request-Id"] != "mine"

    def test_behind_a_proxy(self, behind_proxy: World) -> None:
        for path in ("/team/", "/"):  # with the prefix, and where the proxy took it off
            reply = behind_proxy.get(path, X_Request_Id="abc-1")
            assert b"https://pkgs.example.com/team/simple/" in reply.body
            assert reply["X-Request-Id"] == "abc-1"
        assert behind_proxy.get("/team/simple/acme/").status == 200
        assert behind_proxy.get("/team")["Location"] == "team/"
        assert behind_proxy.get("/", X_Request_Id="a b")["X-Request-Id"] != "a b"


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
        self, world: World, size: int | None, log: CapturingLogger, caplog: pytest.LogCaptureFixture
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
        event = self.logged(log)
        assert (event["failure"], event["status"]) == ("the digest is wrong", 200)
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
    def test_a_client_that_leaves_ends_it(self, world: World, begun: bool, log: CapturingLogger) -> None:
        blobs = self.filling(world)
        with self.ask(world):
            blob = self.opened(blobs)
            if begun:
                blob.begin(1000)
        assert blob.closed.wait(10)
        assert self.logged(log)["status"] == (200 if begun else 499)

    def logged(self, log: CapturingLogger) -> dict[str, Any]:
        """The line of the request, which comes after the answer."""
        for _ in range(2000):
            events = [call.kwargs for call in log.calls if call.kwargs.get("event") == "request"]
            if events:
                return dict(events[-1])
            threading.Event().wait(0.005)
        raise AssertionError("nothing was logged")


class TestUpload:
    def test_at_each_address(self, world: World) -> None:
        body = form_body([*ACTION.items(), ("classifiers", "A"), ("classifiers", "B")], ("content", WHEEL, DATA))
        for path in ("/legacy/", "/simple/", "/", "/main/legacy/", "/main/", "/main/simple/"):
            reply = world.upload(body, path)
            assert (reply.status, reply.body) == (200, f"{WHEEL} is published\n".encode())
        assert len(world.publisher.published) == 6
        for published in world.publisher.published:
            assert (published.filename, published.content) == (WHEEL, DATA)
            assert published.form.fields["classifiers"] == ["A", "B"]
            assert (published.signature, published.actor) == (None, "mia")
        assert all(staged.closed.is_set() for staged in world.publisher.staged)
        assert max(world.publisher.staged[0].writes) <= 1 << 20
        assert len(world.publisher.staged[0].writes) < 8  # in batches

    def test_with_a_signature_in_chunks_and_action_in_the_query(self, world: World) -> None:
        body = form_body({"name": "acme"}, ("gpg_signature", "a.asc", b"SIG"), ("content", WHEEL, DATA))
        pieces = (body[at : at + 7777] for at in range(0, len(body), 7777))
        assert world.upload(pieces, "/legacy/?:action=file_upload").status == 200
        [published] = world.publisher.published
        assert (published.signature, published.content) == (b"SIG", DATA)

    def test_the_same_bytes_again(self, world: World) -> None:
        world.publisher.outcome = "unchanged"
        reply = world.upload(form_body(ACTION, ("content", WHEEL, b"x")))
        assert reply.status == 200
        assert b"unchanged" in reply.body

    @pytest.mark.parametrize(
        ("outcome", "status", "message"),
        [
            (Conflict("other bytes under this name"), 409, "File already exists: other bytes under this name"),
            (Invalid(["first", "second"]), 400, "first (+1 more)"),
            (Busy("another upload runs", retry_after=3), 503, "another upload runs"),
            (Unavailable("no space left", kind="full"), 507, "no space left"),
        ],
    )
    def test_what_the_publisher_refuses(self, world: World, outcome: Exception, status: int, message: str) -> None:
        world.publisher.outcome = outcome
        reply = world.upload(form_body(ACTION, ("content", WHEEL, b"x")))
        assert (reply.status, reply["X-Error-Message"]) == (status, message)
        assert world.publisher.staged[0].closed.is_set()

    def test_who_may(self, world: World) -> None:
        body = form_body(ACTION, ("content", WHEEL, DATA * 5))
        for authorization, status in ((None, 401), ("Basic eHg=", 401), ("Basic cmVh", 403)):
            headers = {"Content-Type": FORM_TYPE} | ({"Authorization": authorization} if authorization else {})
            reply = world.server.request("POST", "/legacy/", headers, body)
            assert reply.status == status
            assert (reply["WWW-Authenticate"] is not None) == (status == 401)
            assert reply["Connection"] is None  # the body was read and dropped: the connection is good for more
        assert world.publisher.staged == []

    @pytest.mark.parametrize(
        ("body", "kind", "status", "text"),
        [
            (b"{}", "application/json", 415, "multipart/form-data"),
            (b"x", "multipart/form-data", 400, "boundary"),
            (form_body(ACTION), FORM_TYPE, 400, "no part 'content'"),
            (form_body({"name": "a"}, ("content", WHEEL, b"x")), FORM_TYPE, 400, ":action must be file_upload"),
            (form_body({":action": "submit"}, ("content", WHEEL, b"x")), FORM_TYPE, 410, "no longer supported"),
            (form_body({":action": "doc_upload"}), FORM_TYPE, 410, "no longer supported"),
            (form_body(ACTION, ("content", WHEEL, b"x"), ("content", "b.whl", b"x")), FORM_TYPE, 400, "more than one"),
            (form_body(ACTION, ("summary", "x.txt", b"x")), FORM_TYPE, 400, "a text field has a filename"),
            (form_body(ACTION, ("content", WHEEL, b"x" * 500), end=False), FORM_TYPE, 400, "last boundary"),
            (form_body(ACTION, ("content", WHEEL, b"x" * (3 << 19))), FORM_TYPE, 413, "larger than the limit"),
            (form_body(ACTION, ("content", WHEEL, b"x" * (3 << 20))), FORM_TYPE, 413, "larger than the limit"),
        ],
    )
    def test_what_is_no_upload(self, world: World, body: bytes, kind: str, status: int, text: str) -> None:
        reply = world.upload(body, Content_Type=kind)
        assert reply.status == status
        assert text in reply.problem["detail"]
        assert world.publisher.published == []
        assert all(staged.closed.is_set() for staged in world.publisher.staged)

    def test_a_length_over_the_limit_is_refused_before_the_body(self, world: World) -> None:
        with world.server.connect() as connection:
            connection.sendall(
                b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n"
                b"Authorization: Basic bWlh\r\nContent-Type: " + FORM_TYPE.encode() + b"\r\n\r\n"
            )
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        assert got.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in got
        assert b"100 Continue" not in got

    def test_post_is_redirected_as_post(self, world: World) -> None:
        reply = world.upload(form_body(ACTION, ("content", WHEEL, DATA)), "/legacy?:action=file_upload")
        assert (reply.status, reply["Location"]) == (308, "legacy/?:action=file_upload")

    def test_a_client_that_leaves_in_the_middle_leaves_nothing(self, world: World) -> None:
        body = form_body(ACTION, ("content", WHEEL, DATA))
        with world.server.connect() as connection:
            head = (
                f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                f"Authorization: Basic bWlh\r\nContent-Type: {FORM_TYPE}\r\n\r\n"
            )
            connection.sendall(head.encode() + body[: len(body) // 2])
            while not world.publisher.staged or not world.publisher.staged[0].writes:
                threading.Event().wait(0.005)
        assert world.publisher.staged[0].closed.wait(10)
        assert world.publisher.published == []


class TestClosedReading:
    def test_every_page_and_file_needs_a_login(self, closed: World) -> None:
        for path in ("/", "/simple/", "/simple/acme/", FILE, f"{FILE}.metadata"):
            refused = closed.get(path)
            assert refused.status == 401
            assert refused["WWW-Authenticate"] == 'Basic realm="caseus"'
            assert refused["Cache-Control"] == "private, no-store"
            assert closed.get(path, Authorization="Basic eHg=").status == 401
            reply = closed.get(path, Authorization="Basic cmVh")
            assert reply.status == 200
            assert reply["Cache-Control"].startswith("private, ")
            assert reply["Vary"].endswith("Authorization")
        for path in ("/livez", "/readyz"):
            assert closed.get(path).status == 200

    def test_an_open_index_does_not_look_at_credentials(self, world: World) -> None:
        assert world.get("/simple/acme/", Authorization="Basic eHg=").status == 200
        assert world.doubles.access.asked == []


class TestHealth:
    def test_ready(self, world: World) -> None:
        assert world.get("/livez").body == b"alive\n"
        assert world.get("/readyz").body == b"ready\n"
        world.catalog.broken = Unavailable("disk I/O error", kind="local")
        reply = world.get("/readyz")
        assert reply.status == 503
        assert "catalog" in reply.problem["detail"]
        assert world.get("/livez").status == 200

    def test_a_folder_that_is_gone(self, tmp_path: Path) -> None:
        root = tmp_path / "data"
        root.mkdir()
        for world in world_of(root):
            root.rmdir()
            reply = world.get("/readyz")
            assert reply.status == 503
            assert "data folder" in reply.problem["detail"]
            assert str(root) not in reply.problem["detail"]


class TestLog:
    def test_one_line_a_request_and_no_secret_in_it(self, world: World, log: CapturingLogger) -> None:
        world.get("/simple/acme/?token=hush&format=text/html", Authorization="Basic c2VjcmV0")
        world.get("/simple/acme/", Accept="text/html")
        world.upload(form_body(ACTION, ("content", WHEEL, b"x")))
        events = TestFills().logged(log) and [c.kwargs for c in log.calls if c.kwargs.get("event") == "request"]
        while len(events) < 3:
            events = [call.kwargs for call in log.calls if call.kwargs.get("event") == "request"]
        assert [event["cache"] for event in events] == ["miss", "hit", "-"]
        assert events[0]["path"] == "/simple/acme/?token=***&format=text/html"
        assert events[0]["client"] == "127.0.0.1"
        assert (events[2]["method"], events[2]["status"], events[2]["user"]) == ("POST", 200, "mia")
        assert events[0]["bytes"] > 0
        assert "hush" not in str(events)
        assert "c2VjcmV0" not in str(events)


@pytest.fixture
def log() -> Iterator[CapturingLogger]:
    """What is logged, as the loggers get it."""
    capturing = CapturingLogger()
    before = structlog.get_config()
    structlog.configure(
        processors=[lambda _logger, _name, event: ((), dict(event))],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=lambda *_: capturing,
        cache_logger_on_first_use=False,
    )
    yield capturing
    structlog.configure(**before)
