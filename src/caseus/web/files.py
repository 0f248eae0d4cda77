"""Files and their sidecars: ranges, validators, and bytes that may still be on their way from an upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec
from packaging.utils import NormalizedName
from starlette.types import Receive, Send

from caseus.errors import BadRange, CaseusError, NotFound
from caseus.index import Index
from caseus.storage import Blob, State
from caseus.web.answers import Answer, encode, send_answer
from caseus.web.conditional import Range, not_modified, parse_range, range_allowed
from caseus.web.file_headers import file_headers
from caseus.web.pages import Pages
from caseus.web.ready_files import FileKey, ReadyFiles, open_ready
from caseus.web.request import Request
from caseus.web.threads import Threads, in_thread

CHUNK: Final = 256 << 10
_WHOLE: Final = Range(0, None)
_FIRST_PAUSE: Final = 0.010
_LONGEST_PAUSE: Final = 0.050


class Asked(msgspec.Struct, frozen=True):
    """One file of one project of one index, `name` of it; `once`: nothing of it shall be made ready."""

    index: Index
    name: str
    project: NormalizedName
    filename: str
    once: bool = False

    @property
    def key(self) -> FileKey:
        return FileKey(self.name, self.project, self.filename)


class Files:
    """Serves files. What is asked for again is made ready, beside the answers."""

    def __init__(
        self, threads: Threads, ready: ReadyFiles, pages: Pages, *, clock: Callable[[], float], private: bool
    ) -> None:
        self.ready = ready
        self._threads = threads
        self._pages = pages
        self._clock = clock
        self._private = private
        self._making: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close what is ready."""
        for task in self._making:
            task.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)
        self.ready.close()

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
            request.cache = "hit" if opened.blob.stored else "miss"
            try:
                await self._answer(request, asked.filename, opened, gone, send)
            finally:
                await self._close(opened.blob)
            if opened.blob.stored and not opened.partial and not asked.once and self.ready.is_wanted(asked.key):
                self._begin_making(asked)
        finally:
            gone.cancel()

    def _begin_making(self, asked: Asked) -> None:
        task = asyncio.create_task(self._make_ready(asked))
        self._making.add(task)
        task.add_done_callback(self._making.discard)

    async def _make_ready(self, asked: Asked) -> None:
        known = self._pages.known(asked.name, asked.project)
        ready = await in_thread(
            self._threads.opens,
            lambda: open_ready(asked.index, asked.key, known, self._clock(), private=self._private),
            undo=lambda opened: opened.drop() if opened is not None else None,
        )
        if ready is not None:
            self.ready.keep(asked.key, ready)

    async def _open(
        self, asked: Asked, wanted: Range | None, if_range: str | None, gone: asyncio.Task[None]
    ) -> _Opened | None:
        """The blob, no longer waiting; None if the client left."""
        if wanted is None:
            return await self._begin(asked, _WHOLE, gone)
        try:
            opened = await self._begin(asked, wanted, gone)
            if opened is None:
                return None
            opened = await self._judged(opened, if_range)
            if opened is not None:
                return opened
        except BadRange:
            if if_range is None:
                raise
        # Another file than the client has a part of, or one whose end is not known: all of it.
        opened = await self._begin(asked, _WHOLE, gone)
        if opened is not None and if_range is not None and range_allowed(if_range, opened.etag):
            await self._close(opened.blob)
            raise BadRange(opened.blob.size)
        return opened

    async def _judged(self, opened: _Opened, if_range: str | None) -> _Opened | None:
        """The blob as the answer to a range; None, and closed, where the whole file is to be sent."""
        bounds = opened.bounds()
        if bounds is not None and range_allowed(if_range, opened.etag):
            if bounds.start < bounds.stop:
                return opened._replace(partial=True)
            await self._close(opened.blob)
            raise BadRange(bounds.size)
        await self._close(opened.blob)
        return None

    async def _begin(self, asked: Asked, wanted: Range, gone: asyncio.Task[None]) -> _Opened | None:
        blob = await in_thread(
            self._threads.opens,
            lambda: asked.index.open(asked.project, asked.filename, wanted.start, wanted.stop),
            undo=lambda opened: opened.close(),
        )
        try:
            data, state = await in_thread(self._threads.files, lambda: blob.available(CHUNK))
            pause = _FIRST_PAUSE
            while state is State.WAITING and not gone.done():
                pause = await _pause(pause, gone)
                data, state = blob.available(CHUNK)
        except BaseException:
            await self._close(blob)
            raise
        if gone.done():
            await self._close(blob)
            return None
        return _Opened(blob, data, state)

    async def _close(self, blob: Blob) -> None:
        await in_thread(self._threads.files, blob.close)

    async def _answer(
        self, request: Request, filename: str, opened: _Opened, gone: asyncio.Task[None], send: Send
    ) -> None:
        etag = opened.etag
        headers, unchanged = file_headers(filename, etag, private=self._private)
        if not_modified(request.headers.get("if-none-match"), etag):
            await send_answer(send, Answer(HTTPStatus.NOT_MODIFIED, unchanged))
            return
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
            request.failure = await self._send_body(opened, bounds, gone, send)

    async def _send_body(
        self, opened: _Opened, bounds: _Bounds | None, gone: asyncio.Task[None], send: Send
    ) -> str | None:
        """None, or why it was broken off: by returning without the last message, upon which the server closes the
        connection in the middle. `send` holds us back while the client is slow; a pause is taken on the loop, so no
        thread waits for a fill.
        """
        blob, data, state = opened.blob, opened.data, opened.state
        left = None if bounds is None else bounds.stop - bounds.start
        pause = _FIRST_PAUSE
        while not gone.done():
            if left is not None:
                left -= len(data)
                if left < 0 or (state is State.END and left > 0):
                    return "the file's length is not what was announced"
            last = state is State.END
            if data or last:
                await send({"type": "http.response.body", "body": data, "more_body": not last})
            if last:
                return None
            try:
                if data:
                    pause = _FIRST_PAUSE
                    data, state = await in_thread(self._threads.files, lambda: blob.available(CHUNK))
                else:
                    pause = await _pause(pause, gone)
                    data, state = blob.available(
                        CHUNK
                    )  # just written by the one who fills: it does not wait for a disk
            except CaseusError as error:
                return str(error)
        return "the client left"


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
