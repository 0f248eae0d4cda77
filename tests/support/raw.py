"""HTTP/1.1 byte by byte: what a client library would not send, and what exactly comes back."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
"""A good request."""


class Answer(NamedTuple):
    """`headers`: names in lower case, repeated ones joined by commas. `wire`: all its bytes."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    wire: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self.wire
        return cast(dict[str, Any], json.loads(self.body))


class Raw:
    """One connection."""

    def __init__(self, port: int, *, timeout: float = 60.0, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent apart comes apart
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """As much of it as the server takes: it may have closed already."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self, *, head: bool = False) -> Answer | None:
        """The next answer (`head`: to a HEAD), None if the connection is closed before one begins."""
        top = self._until(b"\r\n\r\n")
        if top is None:
            assert not self._buffer, self._buffer
            return None
        line, *fields = top.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        match = re.match(r"HTTP/1\.1 ([1-5]\d\d) ([ -~]*)\Z", line)
        assert match, line
        headers: dict[str, str] = {}
        for field in fields:
            name, _, value = field.partition(": ")
            assert re.match(r"[a-z][a-z0-9-]*\Z", name), field
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status = int(match[1])
        if head or status in (100, 204, 304):
            body = wire = b""
        else:
            body, wire = self._chunks() if headers.get("transfer-encoding") == "chunked" else self._length(headers)
        return Answer(status, match[2], headers, body, top + wire)

    def answers(self) -> Iterator[Answer]:
        """All that come until the server closes."""
        while (answer := self.answer()) is not None:
            yield answer

    def rest(self) -> bytes:
        """All bytes that come until the server closes."""
        while self._more():
            pass
        return self._buffer

    def is_open(self) -> bool:
        """Whether one more good request is answered well."""
        self.send(LIVE)
        answer = self.answer()
        assert answer is None or (answer.status, answer.body) == (200, b"alive\n"), answer
        return answer is not None

    def close(self) -> None:
        self.socket.close()

    def _length(self, headers: dict[str, str]) -> tuple[bytes, bytes]:
        body = self._take(int(headers["content-length"]))
        return body, body

    def _chunks(self) -> tuple[bytes, bytes]:
        body = wire = b""
        while True:
            line = self._until(b"\r\n")
            assert line is not None
            chunk = self._take(int(line, 16) + 2)
            wire += line + chunk
            if line == b"0\r\n":
                return body, wire
            body += chunk[:-2]

    def _until(self, end: bytes) -> bytes | None:
        while end not in self._buffer:
            if not self._more():
                return None
        found, _, self._buffer = self._buffer.partition(end)
        return found + end

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            assert self._more(), "closed in the middle of an answer"
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)


@contextmanager
def connected(port: int, *, timeout: float = 60.0, tls: ssl.SSLContext | None = None) -> Iterator[Raw]:
    raw = Raw(port, timeout=timeout, tls=tls)
    try:
        yield raw
    finally:
        raw.close()


def ask(port: int, request: bytes, *, head: bool = False) -> Answer:
    """The answer to one request on a connection of its own."""
    with connected(port) as raw:
        raw.send(request)
        answer = raw.answer(head=head)
        assert answer is not None, request[:200]
        return answer


def request(method: str, target: str, *headers: str, body: bytes | None = None) -> bytes:
    """A well-formed one, with a Host."""
    length = () if body is None else (f"Content-Length: {len(body)}",)
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers, *length, "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")
