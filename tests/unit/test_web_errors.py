"""Errors become answers in one place, and are told so that every client shows them."""

from __future__ import annotations

import errno
import json
import os
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.errors import (
    BadRange,
    Busy,
    CaseusError,
    Conflict,
    Denied,
    Invalid,
    NotFound,
    TooLarge,
    Unavailable,
)
from caseus.web.errors import Refusal, header_text, problem_answer, problem_of, trouble_of, unexpected


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (NotFound("no project x"), 404, None),
        (Conflict("other bytes"), 409, None),
        (Invalid("bad"), 400, None),
        (Denied("log in", anonymous=True), 401, ("WWW-Authenticate", 'Basic realm="caseus"')),
        (Denied("not you"), 403, None),
        (Unavailable("x", kind="upstream"), 502, None),
        (Unavailable("x", kind="timeout"), 504, None),
        (Unavailable("x", kind="local", retry_after=0.2), 503, ("Retry-After", "1")),
        (Unavailable("x", kind="full"), 507, None),
        (TooLarge("x", limit=5), 413, None),
        (Busy("x", retry_after=4.2), 503, ("Retry-After", "5")),
        (BadRange(7), 416, ("Content-Range", "bytes */7")),
        (BadRange(None), 416, ("Content-Range", "bytes */*")),
        (Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "no", ("Allow", "GET")), 405, ("Allow", "GET")),
    ],
)
def test_the_table(error: CaseusError | Refusal, status: int, header: tuple[str, str] | None) -> None:
    answer = problem_answer(problem_of(error), request_id="r1", private=False)
    assert answer.status == status
    assert header is None or header in answer.headers
    body = json.loads(answer.body)
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["title"] == HTTPStatus(status).phrase
    assert body["detail"]
    assert dict(answer.headers)["Content-Type"] == "application/problem+json"
    assert dict(answer.headers)["Cache-Control"] == "no-store"


def test_a_conflict_begins_as_twine_expects() -> None:
    assert problem_of(Conflict("x.whl has other bytes")).faults == ("File already exists: x.whl has other bytes",)
    assert problem_of(Conflict("File already exists (x)")).faults == ("File already exists (x)",)


def test_every_fault_is_told() -> None:
    answer = problem_answer(problem_of(Invalid(["first", "second", "third"])), request_id="r", private=True)
    assert json.loads(answer.body)["errors"] == ["first", "second", "third"]
    assert json.loads(answer.body)["detail"] == "first; second; third"
    headers = dict(answer.headers)
    assert headers["X-Error-Message"] == "first (+2 more)"
    assert headers["Cache-Control"] == "private, no-store"
    assert headers["Vary"] == "Authorization"


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=12))
def test_the_header_is_short_printable_ascii(faults: list[str]) -> None:
    text = header_text(faults)
    assert 0 < len(text) <= 200
    assert all(" " <= char <= "~" for char in text)
    assert len(faults) == 1 or text.endswith(f"(+{len(faults) - 1} more)")


def test_hostile_text_reaches_no_header_line() -> None:
    assert header_text(["bad\r\nSet-Cookie: a=b\x00é"]) == "bad? Set-Cookie: a=b?"
    problem_answer(problem_of(Invalid("\ud800")), request_id="r", private=False)


def test_a_fault_of_our_own_tells_only_the_request_id() -> None:
    answer = problem_answer(unexpected("abc123"), request_id="abc123", private=False)
    assert answer.status == 500
    assert json.loads(answer.body)["request_id"] == "abc123"
    assert "abc123" in json.loads(answer.body)["detail"]


def test_trouble_of_the_machine_is_no_fault_of_ours() -> None:
    full = trouble_of(OSError(errno.ENOSPC, "No space left on device", "/a/path"))
    assert full is not None and problem_of(full).status == 507 and "/a/path" not in str(full)
    for number in (errno.EMFILE, errno.EROFS, errno.EIO):
        trouble = trouble_of(OSError(number, os.strerror(number)))
        assert trouble is not None
        problem = problem_of(trouble)
        assert (problem.status, dict(problem.headers)["Retry-After"]) == (503, "5")
    assert trouble_of(ValueError("a fault")) is None
    assert trouble_of(ConnectionResetError(errno.ECONNRESET, "reset")) is None
