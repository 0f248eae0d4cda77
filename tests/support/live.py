"""An application behind a real server, and requests to it as bytes."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        values = self.headers.get_all(name)
        return None if values is None else ", ".join(values)

    @property
    def problem(self) -> dict[str, Any]:
        assert self["Content-Type"] == "application/problem+json"
        return cast(dict[str, Any], json.loads(self.body))


class LiveServer:
    """An ASGI application behind uvicorn on a free loopback port; `changes` of uvicorn's configuration."""

    def __init__(self, app: ASGIApp, **changes: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}/"
        ready = threading.Event()

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                ready.set()

        told: dict[str, Any] = {
            "http": "httptools", "ws": "none", "lifespan": "on", "log_config": None, "access_log": False,
            "proxy_headers": False, "server_header": False, "timeout_graceful_shutdown": 2,
        }  # fmt: skip
        self._server = Server(uvicorn.Config(cast(Any, app), **(told | changes)))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        assert ready.wait(10)

    @property
    def connections(self) -> set[Any]:
        """The protocols of those that are open."""
        return set(self._server.server_state.connections)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
        assert not self._thread.is_alive()

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
    ) -> Reply:
        """One request on a connection of its own, the path as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
            chunked = body is not None and not isinstance(body, bytes)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if isinstance(body, bytes):
                connection.putheader("Content-Length", str(len(body)))
            elif chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(body, encode_chunked=chunked)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@contextmanager
def serving(app: ASGIApp, **changes: Any) -> Iterator[LiveServer]:
    server = LiveServer(app, **changes)
    try:
        yield server
    finally:
        server.close()


BOUNDARY = "1f8b00a7c5"


def form_body(
    fields: Mapping[str, str] | list[tuple[str, str]],
    *files: tuple[str, str, bytes],
    end: bool = True,
) -> bytes:
    """A multipart/form-data body: text fields, then (name, filename, bytes) of files."""
    pairs = list(fields.items()) if isinstance(fields, Mapping) else fields
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in pairs]
    parts += [
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
        + data
        for name, filename, data in files
    ]
    body = b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts)
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
