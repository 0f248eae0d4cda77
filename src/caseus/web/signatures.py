"""`/gpgupdate/P/`: fetches what signatures are missing, and tells what came of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from packaging.utils import NormalizedName

from caseus.errors import Busy
from caseus.render import signatures_html, signatures_text
from caseus.web.answers import LOCKED_POLICY, PAGE_SECURITY, Answer, text_answer
from caseus.web.negotiate import parse_weighted
from caseus.web.request import Request
from caseus.web.threads import Threads, in_thread

if TYPE_CHECKING:
    from caseus.signatures import Signatures

_MOST_WAITING: Final = 4
"""Each is a request to an upstream for every file of a project."""


class SignatureUpdates:
    """Answers them, one after the other."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._waiting = 0

    async def answer(self, request: Request, signatures: Signatures, project: NormalizedName) -> Answer:
        """HTML for who asks for it by name, plain text for all others. NotFound, Unavailable, Busy."""
        if self._waiting >= _MOST_WAITING:
            raise Busy("signatures of other projects are being fetched: try again", retry_after=10)
        self._waiting += 1
        try:
            found = await in_thread(self._threads.signatures, lambda: signatures.update(project))
        finally:
            self._waiting -= 1
        if not _wants_html(request.headers.get("accept")):
            return text_answer(HTTPStatus.OK, signatures_text(found).decode())
        headers = (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", LOCKED_POLICY),
            *PAGE_SECURITY,
        )
        return Answer(HTTPStatus.OK, headers, signatures_html(project, found))


def _wants_html(accept: str | None) -> bool:
    return any(item.value == "text/html" and item.q > 0 for item in parse_weighted(accept or ""))
