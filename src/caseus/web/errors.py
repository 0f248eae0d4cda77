"""The one table from errors to HTTP answers.

An error is told three ways, since each client shows another: the reason phrase (twine and pip print only that; the
server's protocol class copies it from `X-Error-Message`), `X-Error-Message` itself, and `application/problem+json`
(RFC 9457; uv prints its `title` and `detail`).
"""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from caseus.errors import (
    BadRange,
    Busy,
    CaseusError,
    Conflict,
    Denied,
    Invalid,
    NotFound,
    TooLarge,
    TooManyTries,
    Unavailable,
    UnavailableKind,
)
from caseus.tokens import hide_tokens
from caseus.web.answers import LOCKED_POLICY, PAGE_SECURITY, Answer, Headers
from caseus.web.caching import scoped, vary

EXISTS = "File already exists"
"""How a 409 begins: twine's --skip-existing and others look for these words."""

CHALLENGE = ("WWW-Authenticate", 'Basic realm="caseus"')
_MAX_HEADER = 200
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_TROUBLE = (
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES,
)  # fmt: skip
_STATUS_OF_KIND: dict[UnavailableKind, HTTPStatus] = {
    "upstream": HTTPStatus.BAD_GATEWAY,
    "timeout": HTTPStatus.GATEWAY_TIMEOUT,
    "local": HTTPStatus.SERVICE_UNAVAILABLE,
    "full": HTTPStatus.INSUFFICIENT_STORAGE,
}


class Refusal(Exception):
    """An error that only HTTP knows: of path, method, type. `text` says what to do; `headers` go with the answer."""

    def __init__(self, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> None:
        self.status = status
        self.headers: Headers = headers
        super().__init__(text)


class Problem(msgspec.Struct, frozen=True):
    """An error as it is told: `faults` is never empty, the worst comes first."""

    status: HTTPStatus
    faults: tuple[str, ...]
    headers: Headers = ()


class _Body(msgspec.Struct, frozen=True):
    type: str
    title: str
    status: int
    detail: str
    errors: tuple[str, ...]
    request_id: str


def problem_of(error: CaseusError | Refusal) -> Problem:
    """The table."""
    text = str(error) or type(error).__name__
    match error:
        case Refusal():
            return Problem(error.status, (text,), error.headers)
        case NotFound():
            return Problem(HTTPStatus.NOT_FOUND, (text,))
        case Conflict():
            return Problem(HTTPStatus.CONFLICT, (text if text.startswith(EXISTS) else f"{EXISTS}: {text}",))
        case Invalid():
            return Problem(HTTPStatus.BAD_REQUEST, error.faults)
        case Denied(anonymous=True):
            return Problem(HTTPStatus.UNAUTHORIZED, (text,), (CHALLENGE,))
        case Denied():
            return Problem(HTTPStatus.FORBIDDEN, (text,))
        case TooLarge():
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, (text,))
        case TooManyTries():
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, (text,), _retry(error.retry_after))
        case Busy():
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, (text,), _retry(error.retry_after))
        case Unavailable():
            return Problem(_STATUS_OF_KIND[error.kind], (text,), _retry(error.retry_after))
        case BadRange():
            size = "*" if error.size is None else str(error.size)
            return Problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, (text,), (("Content-Range", f"bytes */{size}"),))
        case _:
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, (text,))


def trouble_of(error: Exception) -> Unavailable | None:
    """What the machine refuses to whatever request comes next (no more descriptors, a disk that gave up); None for
    any other error, which is a fault of our own."""
    if not isinstance(error, OSError) or error.errno not in _TROUBLE:
        return None
    reason = os.strerror(error.errno)  # never the error's own words: they have paths
    kind: UnavailableKind = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "local"
    return Unavailable(f"the server can't do it now ({reason}): try again", kind=kind, retry_after=5)


def unexpected(request_id: str) -> Problem:
    """What is told of a fault of our own: nothing but where to look."""
    text = f"internal error: the server's log has it under request id {request_id}"
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, (text,))


def problem_answer(problem: Problem, *, request_id: str, private: bool, keep_asking: bool = False) -> Answer:
    """The answer; `keep_asking`: a cache may keep it if it asks each time (a name that nobody knows yet)."""
    control = scoped("no-cache" if keep_asking else "no-store", private=private)
    body = _Body(
        type="about:blank",
        title=problem.status.phrase,
        status=problem.status,
        detail="; ".join(_storable(fault) for fault in problem.faults),
        errors=tuple(_storable(fault) for fault in problem.faults),
        request_id=request_id,
    )
    headers = (
        ("Content-Type", "application/problem+json"),
        ("X-Error-Message", header_text(problem.faults)),
        ("Cache-Control", control),
        ("Content-Security-Policy", LOCKED_POLICY),
        *PAGE_SECURITY,
        *vary(private=private),
        *problem.headers,
    )
    return Answer(problem.status, headers, msgspec.json.encode(body))


def header_text(faults: Sequence[str]) -> str:
    """The first fault and how many more, as printable ASCII of at most 200 characters: fit for a reason phrase."""
    more = f" (+{len(faults) - 1} more)" if len(faults) > 1 else ""
    text = " ".join(_UNPRINTABLE.sub("?", hide_tokens(faults[0]).replace("\n", " ")).split()) or "error"
    room = _MAX_HEADER - len(more)
    return (text if len(text) <= room else text[: room - 3] + "...") + more


def _retry(seconds: float | None) -> Headers:
    return () if seconds is None else (("Retry-After", str(max(1, math.ceil(seconds)))),)


def _storable(text: str) -> str:
    return hide_tokens(text).encode("utf-8", "replace").decode()
