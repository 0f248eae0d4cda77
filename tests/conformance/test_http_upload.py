"""Uploads over a real server: what is taken, what is refused, and that nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from caseus.errors import Busy, Conflict, Invalid, Unavailable
from support.live import FORM_TYPE, form_body
from support.served import ACTION, DATA, WHEEL, World, world_of


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from world_of(tmp_path)


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
