"""A whole answer, and how it goes out."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.types import Send

Headers = tuple[tuple[str, str], ...]

PAGE_SECURITY: Final[Headers] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
)
LOCKED_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of pages that need no style: nothing runs, nothing is fetched."""


class Answer(msgspec.Struct, frozen=True):
    """Status, headers without Content-Length, body."""

    status: int
    headers: Headers
    body: bytes = b""


def text_answer(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    """Plain text that nobody keeps."""
    answer = typed_answer("text/plain; charset=utf-8", text.encode())
    return Answer(status, (*answer.headers, *headers), answer.body)


def typed_answer(content_type: str, body: bytes) -> Answer:
    """200, and nobody keeps it."""
    told = (("Content-Type", content_type), ("Cache-Control", "no-store"), *PAGE_SECURITY)
    return Answer(HTTPStatus.OK, told, body)


async def send_answer(send: Send, answer: Answer, *, head: bool = False) -> None:
    """The whole answer; HEAD tells the length and sends nothing."""
    headers = encode(answer.headers)
    if answer.status not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT):
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})


def encode(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them. Names go in lower case, values in latin-1."""
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers]


def header_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers as they go over the wire in HTTP/1.1."""
    return b"".join(b"%b: %b\r\n" % pair for pair in encode(headers))
