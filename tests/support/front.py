"""A tiny proxy before a real index: under a prefix, with TLS, and with every fault that a test asks for.

    with Front(server.url, prefix="/python", fault=faults.no_ranges) as front:
        front.url                                       # "http://127.0.0.1:PORT/python/"

A fault is a function of the request and of `forward`, which asks the index behind.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """A request; `path` without the prefix, with its query, names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""

    def with_headers(self, **headers: str | None) -> Asked:
        """The same with other headers; None takes one away."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name not in changed}
        return replace(self, headers=kept | {name: value for name, value in changed.items() if value is not None})


@dataclass(frozen=True)
class Answer:
    """`headers`: names in lower case, without Content-Length, which is told by `length` or else by the body."""

    status: int
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: str | None = None

    def with_headers(self, **headers: str | None) -> Answer:
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name not in changed}
        return replace(self, headers=kept | {name: value for name, value in changed.items() if value is not None})


Forward = Callable[[Asked], Answer]
Fault = Callable[[Asked, Forward], Answer]


def sound(asked: Asked, forward: Forward) -> Answer:
    """No fault at all."""
    return forward(asked)


class Front:
    """A threaded HTTP/1.1 server; use it as a context manager. `fault` may be set at any time."""

    def __init__(
        self,
        target: str,
        *,
        prefix: str = "",
        strips: bool = True,
        fault: Fault = sound,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`strips`: whether the index behind gets the path without the prefix."""
        self.prefix, self.fault = prefix, fault
        self.asked: list[Asked] = []
        parts = urlsplit(target)
        host, port = parts.hostname or "", parts.port

        def forward(asked: Asked) -> Answer:
            connection = http.client.HTTPConnection(host, port, timeout=30)
            try:
                path = asked.path if strips else f"{prefix}{asked.path}"
                connection.putrequest(asked.method, path, skip_host=True, skip_accept_encoding=True)
                for name, value in asked.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(asked.body)
                response = connection.getresponse()
                headers = {name.lower(): value for name, value in response.getheaders()}
                length = headers.pop("content-length", None)
                headers.pop("connection", None)
                return Answer(
                    response.status,
                    response.reason,
                    headers,
                    response.read(),
                    length if asked.method == "HEAD" else None,
                )
            finally:
                connection.close()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *args: object) -> None:
                pass

            def answer(handler) -> None:
                body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in handler.headers.items()}
                if not handler.path.startswith(f"{self.prefix}/"):
                    self.send(handler, Answer(404))
                    return
                asked = Asked(handler.command, handler.path.removeprefix(self.prefix), headers, body)
                self.asked.append(asked)
                self.send(handler, self.fault(asked, forward))

            do_GET = do_HEAD = do_POST = answer

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that leaves in the middle is nothing to tell."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.origin = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.origin}{prefix}/"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01))

    @staticmethod
    def send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        handler.send_response_only(answer.status, answer.reason or None)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.status not in (204, 304):
            handler.send_header("Content-Length", answer.length or str(len(answer.body)))
        handler.end_headers()
        if handler.command != "HEAD" and answer.status != 304:
            handler.wfile.write(answer.body)
        handler.close_connection = answer.headers.get("connection") == "close"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
