"""The application over a real server: pages, home, rights, health, log."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import NormalizedName

from caseus.errors import Unavailable
from caseus.model import Project, Validity
from caseus.render import HOME_POLICY, HTML, JSON
from support.live import form_body
from support.served import ACTION, DATA, FILE, WHEEL, World, logged, world_of


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

        assert world.get("/simple/acme/").status == 200
        for number in range(100):
            world.index.known[f"slow-{number}"] = slowly
        waiting = [threading.Thread(target=world.get, args=(f"/simple/slow-{i}/",)) for i in range(100)]
        for thread in waiting:
            thread.start()
        try:
            while len(world.index.asked) < 60:  # as many as are asked at once
                threading.Event().wait(0.005)
            assert world.get("/simple/acme/").status == 200
            assert world.get(FILE).body == DATA
            assert world.get("/readyz").status == 200
        finally:
            go.set()
            for thread in waiting:
                thread.join()
        assert len(world.index.asked) == 101

    def test_a_fault_of_our_own_is_500_without_a_traceback(self, world: World) -> None:
        world.index.known["bad"] = ZeroDivisionError("secret")
        reply = world.get("/simple/bad/")
        assert reply.status == 500
        assert b"secret" not in reply.body
        assert reply["X-Request-Id"] in reply.problem["detail"]
        [event] = [event for event in world.log if event["event"] == "unexpected error"]
        assert event["request_id"] == reply["X-Request-Id"]
        assert isinstance(event["exc_info"], ZeroDivisionError)


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
    def test_one_line_a_request_and_no_secret_in_it(self, world: World) -> None:
        world.get("/simple/acme/?token=hush&format=text/html", Authorization="Basic c2VjcmV0")
        world.get("/simple/acme/", Accept="text/html")
        world.upload(form_body(ACTION, ("content", WHEEL, b"x")))
        events = logged(world.log, 3)
        assert [event["cache"] for event in events] == ["miss", "hit", "-"]
        assert events[0]["path"] == "/simple/acme/?***&format=text/html"
        assert events[0]["client"] == "127.0.0.1"
        assert (events[2]["method"], events[2]["status"], events[2]["user"]) == ("POST", 200, "mia")
        assert events[0]["bytes"] > 0
        assert "hush" not in str(events)
        assert "c2VjcmV0" not in str(events)
