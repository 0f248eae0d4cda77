"""Files and their sidecars: ranges, validators, and bytes that may still be on their way from an upstream."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final, NamedTuple

from packaging.utils import NormalizedName
from starlette.types import Receive, Send

from caseus.errors import BadRange, CaseusError, NotFound
from caseus.index import Index
from caseus.storage import Blob, State
from caseus.web.answers import Answer, Headers, encode, send_answer
from caseus.web.caching import FOREVER, scoped, vary
from caseus.web.conditional import NOTHING, Range, not_modified, parse_range, range_allowed
from caseus.web.request import Request
from caseus.web.threads import Threads, in_thread

CHUNK: Final = 256 << 10
_FIRST_PAUSE: Final = 0.010
_LONGEST_PAUSE: Final = 0.050

_TYPES: Final = (
    (".metadata", "text/plain; charset=utf-8"),
    (".asc", "application/pgp-signature"),
    (".whl", "application/zip"),
    (".zip", "application/zip"),
    (".egg", "application/zip"),
    (".tar.gz", "application/gzip"),
    (".tgz", "application/gzip"),
)


class Asked(NamedTuple):
    """One file of one project of one index."""

    index: Index
    project: NormalizedName
    filename: str


def content_type(filename: str) -> str:
    """By the ending. A .tar.gz is a gzip file, not a tar with a Content-Encoding that clients would undo."""
    return next((kind for ending, kind in _TYPES if filename.endswith(ending)), "application/octet-stream")


class Files:
    """Serves files."""

    def __init__(self, threads: Threads, *, private: bool) -> None:
        self._threads = threads
        self._private = private

    async def serve(self, request: Request, asked: Asked, receive: Receive, send: Send) -> None:
        """The file, as much of it as is asked for. Errors of `Index.open` before the first byte; later ones break the
        connection off, as the client must not take what it got for the whole."""
        if asked.filename.endswith(".provenance"):
            raise NotFound(f"no provenance is kept for {asked.filename.removesuffix('.provenance')}")
        gone = asyncio.create_task(_disconnected(receive))
        try:
            wanted = None if request.head else parse_range(request.headers.get("range"))
            opened = await self._open(asked, wanted, request.headers.get("if-range"), gone)
            if opened is None:
                return
            try:
                await self._answer(request, asked.filename, opened, gone, send)
            finally:
                await in_thread(self._threads.files, opened.blob.close)
        finally:
            gone.cancel()

    async def _open(
        self, asked: Asked, wanted: Range | None, if_range: str | None, gone: asyncio.Task[None]
    ) -> _Opened | None:
        """The blob with its size known; None if the client left."""
        if wanted is None or wanted is NOTHING:
            opened = await self._begin(asked, Range(0, None), gone)
            if opened is not None and wanted is NOTHING and opened.blob.size is not None:
                await in_thread(self._threads.files, opened.blob.close)
                raise BadRange(opened.blob.size)
            return opened
        opened = await self._begin(asked, wanted, gone)
        if opened is None or (opened.bounds() is not None and range_allowed(if_range, opened.etag)):
            return opened._replace(partial=True) if opened else None
        # Another file than the client has a part of, or one whose end is not known: all of it.
        await in_thread(self._threads.files, opened.blob.close)
        return await self._begin(asked, Range(0, None), gone)

    async def _begin(self, asked: Asked, wanted: Range, gone: asyncio.Task[None]) -> _Opened | None:
        blob = await in_thread(
            self._threads.pages,
            lambda: asked.index.open(asked.project, asked.filename, wanted.start, wanted.stop),
        )
        try:
            data, state = await in_thread(self._threads.files, lambda: blob.available(CHUNK))
            pause = _FIRST_PAUSE
            while state is State.WAITING and not gone.done():
                pause = await _pause(pause, gone)
                data, state = blob.available(CHUNK)
        except BaseException:
            await in_thread(self._threads.files, blob.close)
            raise
        if gone.done():
            await in_thread(self._threads.files, blob.close)
            return None
        return _Opened(blob, data, state)

    async def _answer(
        self, request: Request, filename: str, opened: _Opened, gone: asyncio.Task[None], send: Send
    ) -> None:
        etag = opened.etag
        headers: Headers = (
            *((("ETag", etag),) if etag else ()),
            ("Cache-Control", scoped(FOREVER, private=self._private)),
            *vary(private=self._private),
            ("Accept-Ranges", "bytes"),
        )
        if not_modified(request.headers.get("if-none-match"), etag):
            await send_answer(send, Answer(HTTPStatus.NOT_MODIFIED, headers))
            return
        headers += (
            ("Content-Type", content_type(filename)),
            ("Content-Disposition", f'attachment; filename="{filename}"'),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "sandbox"),
        )
        bounds = opened.bounds()
        if bounds is not None:
            headers += (("Content-Length", str(bounds.stop - bounds.start)),)
        if opened.partial and bounds is not None:
            headers += (("Content-Range", f"bytes {bounds.start}-{bounds.stop - 1}/{bounds.size}"),)
        status = HTTPStatus.PARTIAL_CONTENT if opened.partial else HTTPStatus.OK
        await send({"type": "http.response.start", "status": status, "headers": encode(headers)})
        if request.head:
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._send_body(opened, bounds, gone, send)

    async def _send_body(
        self, opened: _Opened, bounds: _Bounds | None, gone: asyncio.Task[None], send: Send
    ) -> None:
        """`send` holds us back while the client is slow. A pause is taken on the loop: no thread waits for a fill.

        To break off is to return without the last message: the server then closes the connection in the middle.
        """
        blob, data, state = opened.blob, opened.data, opened.state
        left = None if bounds is None else bounds.stop - bounds.start
        pause = _FIRST_PAUSE
        while not gone.done():
            if left is not None:
                left -= len(data)
                if left < 0 or (state is State.END and left > 0):
                    return
            last = state is State.END
            if data or last:
                await send({"type": "http.response.body", "body": data, "more_body": not last})
            if last:
                return
            try:
                if data:
                    pause = _FIRST_PAUSE
                    data, state = await in_thread(self._threads.files, lambda: blob.available(CHUNK))
                else:
                    pause = await _pause(pause, gone)
                    data, state = blob.available(CHUNK)  # just written by the one who fills: it does not wait for a disk
            except CaseusError:
                return


class _Bounds(NamedTuple):
    start: int
    stop: int
    size: int


class _Opened(NamedTuple):
    """A blob with what was first read of it; `partial`: it answers a range."""

    blob: Blob
    data: bytes
    state: State
    partial: bool = False

    @property
    def etag(self) -> str | None:
        return f'"{self.blob.sha256}"' if self.blob.sha256 else None

    def bounds(self) -> _Bounds | None:
        """What will be read, None while the size is unknown."""
        size, stop = self.blob.size, self.blob.stop
        if size is None:
            return None
        return _Bounds(self.blob.start, size if stop is None else min(stop, size), size)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _pause(seconds: float, gone: asyncio.Task[None]) -> float:
    """Waits so long, or until the client leaves; gives the next pause."""
    await asyncio.wait([gone], timeout=seconds)
    return min(seconds * 1.5, _LONGEST_PAUSE)
