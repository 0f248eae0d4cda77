"""The head of an answer, as it goes out: with the error's words in its first line, and with the body in one piece."""

from __future__ import annotations

import re
from asyncio import Handle, Transport, get_running_loop
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

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


class FirstWrite:
    """Stands for the transport until the head of the response was written, which uvicorn does in one piece.

    With what follows it at once it goes out in one piece.
    """

    __slots__ = ("_cycle", "_flush", "_head", "_transport")

    def __init__(self, transport: Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
        self._cycle = cycle
        self._head = b""
        self._flush: Handle | None = None

    def write(self, data: bytes) -> None:
        if self._flush is not None:
            head = self._let_go(self._flush)
            self._transport.writelines((head, data) if data else (head,))
        elif data[9] == ord("1"):  # "HTTP/1.1 100 Continue", after which the head is still to come
            self._transport.write(data)
        else:
            self._head = with_phrase(data) if data[9] > ord("3") else data
            self._flush = get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        if self._flush is not None:
            head = self._let_go(self._flush)
            if not self._transport.is_closing():  # the client left meanwhile; uvloop raises once it is closed
                self._transport.write(head)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def _let_go(self, flush: Handle) -> bytes:
        flush.cancel()
        self._flush = None
        self._cycle.transport = self._transport
        return self._head
