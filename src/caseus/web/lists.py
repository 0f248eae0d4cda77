"""`/simple/` of an index of very many projects, sent from its file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

from starlette.types import Receive, Send

from caseus.errors import CaseusError
from caseus.lists import Coding, Opened, Part, ProjectList
from caseus.model import Validity
from caseus.render import ContentType
from caseus.web.answers import LOCKED_POLICY, PAGE_SECURITY, Answer, Headers, encode, send_answer
from caseus.web.caching import page_headers, vary
from caseus.web.conditional import not_modified
from caseus.web.negotiate import choose_coding
from caseus.web.request import Request
from caseus.web.threads import Threads, in_thread

_CHUNK: Final = 256 << 10


class Lists:
    """Sends lists of projects that are too long to be kept ready; `private`: not everybody may read them."""

    def __init__(self, threads: Threads, lists: Mapping[str, ProjectList], *, private: bool) -> None:
        self._threads = threads
        self._lists = lists
        self._private = private

    async def open(self, index: str, content_type: ContentType) -> Opened | None:
        """The list as it is now, None if it is short enough to be kept ready. Unavailable."""
        found = self._lists[index]
        return await in_thread(
            self._threads.pages,
            lambda: found.open(content_type) if found.is_huge() else None,
            undo=lambda opened: opened.close() if opened is not None else None,
        )

    async def serve(
        self, request: Request, opened: Opened, content_type: ContentType, receive: Receive, send: Send
    ) -> None:
        """Sends it, no faster than the client takes it, and closes it."""
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await self._answer(request, opened, content_type, gone, send)
        finally:
            gone.cancel()
            opened.close()

    async def _answer(
        self, request: Request, opened: Opened, content_type: ContentType, gone: asyncio.Task[None], send: Send
    ) -> None:
        coding: Coding = "gzip" if choose_coding(request.headers.get("accept-encoding"), ("gzip",)) else ""
        etag = opened.listing.etag(content_type, coding)
        told: Headers = (
            ("ETag", etag),
            *page_headers(hosted=True, validity=Validity(), now=0, private=self._private)[0],
            *vary("Accept", "Accept-Encoding", private=self._private),
        )
        if not_modified(request.headers.get("if-none-match"), etag):
            await send_answer(send, Answer(HTTPStatus.NOT_MODIFIED, told))
            return
        charset = "; charset=utf-8" if content_type.startswith("text/") else ""
        headers = (
            ("Content-Type", content_type + charset),
            *((("Content-Encoding", coding),) if coding else ()),
            ("Content-Length", str(opened.listing.length(coding))),
            *told,
            ("Content-Security-Policy", LOCKED_POLICY),
            *PAGE_SECURITY,
        )
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": encode(headers)})
        if request.head:
            await send({"type": "http.response.body", "body": b""})
        else:
            request.failure = await self._send_body(opened, coding, gone, send)

    async def _send_body(self, opened: Opened, coding: Coding, gone: asyncio.Task[None], send: Send) -> str | None:
        """None, or why it was broken off, as `web.files` does it. `send` holds us back while the client is slow."""
        for piece in _slices(opened.listing.pieces(coding)):
            if gone.done():
                return "the client left"
            try:
                data = piece if isinstance(piece, bytes) else await self._read(opened, piece)
            except CaseusError as error:
                return str(error)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return None

    async def _read(self, opened: Opened, part: Part) -> bytes:
        return await in_thread(self._threads.files, lambda: opened.read(part))


def _slices(pieces: Iterator[bytes | Part]) -> Iterator[bytes | Part]:
    """The pieces, none of them longer than a chunk."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        end = piece.start + piece.length
        for start in range(piece.start, end, _CHUNK):
            yield Part(start, min(_CHUNK, end - start), b"")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
