"""POST of a file, as twine, uv, poetry, flit, hatch and pdm send it (the legacy upload API)."""

from __future__ import annotations

import re
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from caseus.checks.form import Form
from caseus.errors import Invalid
from caseus.publication import QUICK
from caseus.storage import Staged
from caseus.web.answers import Answer, text_answer
from caseus.web.errors import Refusal
from caseus.web.intake import Intake, body_limit, boundary_of, too_large
from caseus.web.request import Body, Request
from caseus.web.threads import Threads, in_thread, in_thread_and_on

if TYPE_CHECKING:
    from caseus.access import Principal
    from caseus.publication import Outcome
    from caseus.publish import Publisher

_BATCH: Final = 256 << 10
"""Bytes written and hashed at a time, in a thread: fewer would cost more in hops than in work."""

_LENGTH = re.compile(r"[0-9]{1,30}\Z", re.ASCII)
_GONE = frozenset({"submit", "submit_pkg_info", "doc_upload"})


class Uploads:
    """Takes uploads in constant memory: what comes in is written on, a quarter of a MiB at a time."""

    def __init__(self, threads: Threads, *, max_file_bytes: int) -> None:
        self._threads = threads
        self._max_file_bytes = max_file_bytes

    async def take(self, request: Request, publisher: Publisher, principal: Principal) -> Answer:
        """The answer to an upload by who was already found to have the right. Every error leaves nothing behind."""
        intake = Intake(self._check_head(request), max_file_bytes=self._max_file_bytes)
        staging = _Staging(publisher)
        try:
            await self._receive(request.body, intake, staging)
            _check_action(action_of(request.query) or _last(intake.pairs, ":action"))
            if intake.filename is None:
                raise Invalid("malformed upload: there is no part 'content'; upload a wheel or an sdist")
            filename, signature, actor = intake.filename, intake.signature, principal.name or ""

            def begin() -> Future[Outcome]:
                staged = staging.write(intake.take())
                form = Form.parse(intake.pairs)
                return publisher.begin(staged, form, filename=filename, signature=signature, actor=actor)

            submit = publisher.prepare if intake.received <= QUICK else self._threads.uploads.submit
            outcome = await in_thread_and_on(submit, begin)
        finally:
            if staging.is_large:
                await in_thread(self._threads.uploads, staging.close)
            else:
                staging.close()
        told = "is published" if outcome == "published" else "was here already, with the same bytes: unchanged"
        return text_answer(HTTPStatus.OK, f"{filename} {told}\n")

    def _check_head(self, request: Request) -> bytes:
        """What can be refused before the body; the boundary."""
        _check_action(action_of(request.query) or "file_upload")
        length = request.headers.get("content-length")
        if length is not None and _LENGTH.match(length) and int(length) > body_limit(self._max_file_bytes):
            raise too_large(self._max_file_bytes)
        boundary = boundary_of(request.headers.get("content-type"))
        if boundary is None:
            raise Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "an upload is a multipart/form-data form: use twine, uv publish or a like client",
            )
        return boundary

    async def _receive(self, body: Body, intake: Intake, staging: _Staging) -> None:
        """All of it; of the file what is left behind the last whole batch is still to be taken."""
        try:
            async for chunk in body.chunks():
                intake.feed(chunk)
                if intake.pending >= _BATCH:
                    data = intake.take()
                    await in_thread(self._threads.uploads, partial(staging.write, data))
        except TimeoutError as error:
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, str(error)) from None
        intake.finish()


class _Staging:
    """Where the file goes; it is opened with the first bytes. Its methods block."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._staged: Staged | None = None

    @property
    def is_large(self) -> bool:
        """Whether to forget it may take time."""
        return self._staged is not None and self._staged.size > _BATCH

    def write(self, data: bytes) -> Staged:
        if self._staged is None:
            self._staged = self._publisher.stage()
        if data:
            self._staged.write(data)
        return self._staged

    def close(self) -> None:
        if self._staged is not None:
            self._staged.close()


def action_of(query: bytes) -> str | None:
    """`:action` of the query, where some clients put it."""
    return _last(parse_qsl(query.decode("latin-1")), ":action")


def _check_action(action: str | None) -> None:
    if action in _GONE:
        raise Refusal(
            HTTPStatus.GONE, f"the action {action} is no longer supported: upload files, metadata is read from them"
        )
    if action != "file_upload":
        raise Invalid("the field :action must be file_upload")


def _last(pairs: list[tuple[str, str]], name: str) -> str | None:
    return next((value for key, value in reversed(pairs) if key == name), None)
