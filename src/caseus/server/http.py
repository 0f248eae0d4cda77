"""The HTTP/1.1 protocol of the server: uvicorn's, which also says the reason of an error in the status line."""

from __future__ import annotations

import re
from asyncio import Transport
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

LONGEST_PHRASE = 200

_ERROR_LINE = re.compile(rb"(HTTP/1\.1 [45]\d\d )[^\r]*")
_MESSAGE = re.compile(rb"\r\nx-error-message: ([^\r]*)")
_UNPRINTABLE = re.compile(rb"[^ -~]")


def with_phrase(head: bytes) -> bytes:
    """The response head with the text of its `x-error-message` as reason phrase: all that twine and pip print.

    RFC 9112 section 4 lets a phrase be any text; printable ASCII of at most 200 characters passes every proxy.
    """
    message = _MESSAGE.search(head)
    if message is None:
        return head
    phrase = _UNPRINTABLE.sub(b"?", message[1].strip())[:LONGEST_PHRASE]
    return _ERROR_LINE.sub(lambda line: line[1] + phrase, head, count=1)


class Protocol(HttpToolsProtocol):
    """Given to uvicorn as `http=`."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.transport = _FirstWrite(self.transport, cycle)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)


class _FirstWrite:
    """Stands for the transport until the head of the response was written, which uvicorn does in one piece."""

    __slots__ = ("_cycle", "_transport")

    def __init__(self, transport: Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
        self._cycle = cycle

    def write(self, data: bytes) -> None:
        if data[9] != ord("1"):  # not "HTTP/1.1 100 Continue", after which the head is still to come
            self._cycle.transport = self._transport
            if data[9] > ord("3"):
                data = with_phrase(data)
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()
