"""An index to fetch from, on a free loopback port, that also fails in every way a test asks for.

    wheel = make_wheel("alpha", "1.0")
    with FakeUpstream({"alpha": [wheel, (*make_sdist("alpha", "1.0"), Options(size=False))]}) as upstream:
        upstream.url                                    # "http://127.0.0.1:PORT/simple/"
        upstream.file_path("alpha", wheel[0])           # "/files/alpha/alpha-1.0-py3-none-any.whl"
        upstream.count("/simple/alpha/")                # GET requests so far
        upstream.style = "html"                         # or "json"
        upstream.fail(Fault("status", status=503), "/simple/alpha/")   # without a path: every answer
        upstream.heal()
        upstream.down(); upstream.up()                  # the same port

Projects may be replaced while it runs (`upstream.projects[...] = [...]`). All attributes may be set at any time.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Options:
    """How one file is listed. `hashes`: True for its sha256, or a mapping that is told as it is."""

    hashes: bool | Mapping[str, str] = True
    size: bool = True
    metadata: bytes | None = None  # served at FILE.metadata, and advertised with its digest
    signature: bytes | None = None  # served at FILE.asc
    gpg_sig: bool | None = None  # None: not told
    yanked: bool | str = False
    requires_python: str | None = None
    upload_time: str | None = None
    url: str | None = None  # the link, instead of the one to this server
    last_modified: str | None = "Mon, 01 Jan 2024 00:00:00 GMT"
    length: bool = True  # whether the file is sent with a Content-Length; else in chunks


Listed = tuple[str, bytes] | tuple[str, bytes, Options]

FaultKind = Literal["status", "other", "cut", "cut-chunked", "html", "slow", "hang", "redirect", "bomb", "huge", "raw"]


@dataclass(frozen=True)
class Fault:
    """What goes wrong; for the next `times` requests, else until `heal`.

    status       `status` as answer, with `retry_after` if given
    other        other bytes of the same length
    cut          Content-Length is right but the connection ends after `after` bytes (default: half)
    cut-chunked  the same with chunked encoding
    html         200 with a login page
    slow         `after` bytes (default: half), then nothing until `gate` is set
    hang         a head and then nothing, until the server stops
    redirect     302 to `url`
    bomb         gzip that grows to 1 GiB
    huge         200 with a JSON page of 200 MiB, or as many bytes as `after` says, for a project without files
    raw          200 with `body`, `content_type` and `content_encoding`
    """

    kind: FaultKind
    status: int = 500
    retry_after: int | str | None = None
    after: int | None = None
    gate: threading.Event | None = None
    url: str = ""
    body: bytes = b""
    content_type: str | None = None
    content_encoding: str | None = None
    times: int | None = None


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # names in lower case


@dataclass
class _Answer:
    body: bytes
    content_type: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: bool = True


LOGIN_PAGE = (
    b"<!doctype html><html><head><title>Sign in</title></head><body><form><input type=password></form></body></html>"
)


class FakeUpstream:
    """A threaded HTTP/1.1 server; use it as a context manager."""

    def __init__(
        self,
        projects: Mapping[str, Sequence[Listed]] | None = None,
        *,
        style: Literal["json", "html"] = "json",
        links: Literal["relative", "absolute"] = "relative",
        ranges: bool = True,
        etags: bool = True,
        content_types: bool = True,
    ) -> None:
        self.projects: dict[str, Sequence[Listed]] = dict(projects or {})
        self.style: Literal["json", "html"] = style
        self.links: Literal["relative", "absolute"] = links
        self.ranges = ranges
        self.etags = etags
        self.content_types = content_types
        self.etag: str | None = None  # told of every answer, whatever its bytes
        self.requests: list[Request] = []
        self.connections: list[tuple[str, int]] = []  # every one that was accepted: the peer's address
        self.sent = 0  # bytes of bodies that went out
        self._faults: dict[str | None, Fault] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    # what tests use

    @property
    def port(self) -> int:
        return self._port

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/simple/"

    def file_path(self, project: str, filename: str) -> str:
        return f"/files/{project}/{filename}"

    def count(self, path: str, method: str = "GET") -> int:
        with self._changed:
            return sum(1 for request in self.requests if request.path == path and request.method == method)

    def forget(self) -> None:
        """Empties the log."""
        with self._changed:
            self.requests.clear()
            self.sent = 0

    def wait_for(self, path: str, count: int = 1, timeout: float = 30) -> None:
        """Until that many GET requests of the path have come in."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: sum(1 for r in self.requests if r.path == path and r.method == "GET") >= count, timeout
            )
        assert done, f"no request for {path} came in"

    def fail(self, fault: Fault, path: str | None = None) -> None:
        """From now on, for this path or for every path that has no fault of its own."""
        if fault.kind == "bomb":
            _bomb()  # now: a busy machine may need longer for it than a client waits
        self._faults[path] = fault

    def heal(self, path: str | None = None) -> None:
        """Takes the path's fault away, or all."""
        if path is None:
            self._faults.clear()
        else:
            self._faults.pop(path, None)

    def up(self) -> None:
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def down(self) -> None:
        """Closes the listener and every open connection."""
        if self._server is None or self._thread is None:
            return
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._sockets):
            _shut(connection)
        self._server.server_close()
        self._server = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *exc: object) -> None:
        self.down()

    # what the handler uses

    def log(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def fault(self, path: str) -> Fault | None:
        """The fault for one request that came in."""
        with self._changed:
            key = path if path in self._faults else None
            fault = self._faults.get(key)
            if fault is not None and fault.times is not None:
                self._faults[key] = replace(fault, times=fault.times - 1)
                if fault.times <= 1:
                    del self._faults[key]
            return fault

    def answer(self, path: str) -> _Answer:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if path == "/simple/":
            return self._list()
        if len(parts) == 2 and parts[0] == "simple" and parts[1] in self.projects:
            if not path.endswith("/"):
                return _Answer(b"", status=301, headers={"Location": f"/simple/{parts[1]}/"})
            return self._page(parts[1], self.projects[parts[1]])
        if len(parts) == 3 and parts[0] == "files":
            return self._file(parts[1], parts[2])
        return _Answer(b"not here\n", "text/plain", 404)

    def _file(self, project: str, filename: str) -> _Answer:
        for name, data, options in map(_full, self.projects.get(project, ())):
            headers = {"Last-Modified": options.last_modified} if options.last_modified else {}
            if filename == name:
                return _Answer(data, "application/octet-stream", headers=headers, length=options.length)
            if filename == f"{name}.metadata" and options.metadata is not None:
                return _Answer(options.metadata, "text/plain", headers=headers)
            if filename == f"{name}.asc" and options.signature is not None:
                return _Answer(options.signature, "text/plain", headers=headers)
        return _Answer(b"not here\n", "text/plain", 404)

    def _list(self) -> _Answer:
        names = sorted(self.projects)
        if self.style == "json":
            page = {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names]}
            return _Answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
        anchors = "".join(f'<a href="{name}/">{name}</a>\n' for name in names)
        return _Answer(f"<!DOCTYPE html><title>Simple index</title>\n{anchors}".encode(), "text/html; charset=utf-8")

    def _page(self, project: str, files: Sequence[Listed]) -> _Answer:
        if self.style == "json":
            listed = [self._json_file(project, *_full(entry)) for entry in files]
            page = {"meta": {"api-version": "1.1"}, "name": project, "files": listed}
            return _Answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
        anchors = "".join(self._anchor(project, *_full(entry)) for entry in files)
        head = '<meta name="pypi:repository-version" content="1.1"><title>Links for it</title>'
        body = f"<!DOCTYPE html><html><head>{head}</head><body>\n{anchors}</body></html>"
        return _Answer(body.encode(), "text/html; charset=utf-8")

    def _link(self, project: str, filename: str, options: Options) -> str:
        base = "../.." if self.links == "relative" else self.origin
        return options.url or base + self.file_path(project, filename)

    def _json_file(self, project: str, filename: str, data: bytes, options: Options) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "filename": filename,
            "url": self._link(project, filename, options),
            "hashes": _hashes(data, options),
            "yanked": options.yanked,
        }
        optional = {
            "size": len(data) if options.size else None,
            "requires-python": options.requires_python,
            "upload-time": options.upload_time,
            "gpg-sig": options.gpg_sig,
            "core-metadata": {"sha256": _sha256(options.metadata)} if options.metadata is not None else None,
        }
        return entry | {key: value for key, value in optional.items() if value is not None}

    def _anchor(self, project: str, filename: str, data: bytes, options: Options) -> str:
        fragment = "&".join(f"{name}={value}" for name, value in _hashes(data, options).items())
        href = self._link(project, filename, options) + (f"#{fragment}" if fragment else "")
        yanked = "" if options.yanked is True else options.yanked or None
        attributes = {
            "href": href,
            "data-requires-python": options.requires_python,
            "data-yanked": yanked,
            "data-upload-time": options.upload_time,
            "data-gpg-sig": None if options.gpg_sig is None else str(options.gpg_sig).lower(),
            "data-core-metadata": None if options.metadata is None else f"sha256={_sha256(options.metadata)}",
        }
        told = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items() if value is not None)
        return f"<a {told}>{filename}</a><br>\n"


def _full(listed: Listed) -> tuple[str, bytes, Options]:
    return listed if len(listed) == 3 else (*listed, Options())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hashes(data: bytes, options: Options) -> Mapping[str, str]:
    if isinstance(options.hashes, bool):
        return {"sha256": _sha256(data)} if options.hashes else {}
    return options.hashes


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], upstream: FakeUpstream) -> None:
        self.upstream = upstream
        self.closing = upstream._closing
        super().__init__(address, _Handler)

    def server_bind(self) -> None:  # without the look-up of the host's name
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.upstream._sockets.add(request)
        self.upstream.connections.append(client_address)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.upstream._sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away in tests on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are sent apart: the body would wait 40 ms for an ACK
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """The log is `requests`."""

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def _handle(self) -> None:
        upstream = self.server.upstream
        path = urlsplit(self.path).path
        upstream.log(Request(self.command, path, {name.lower(): value for name, value in self.headers.items()}))
        fault = upstream.fault(path)
        if fault is not None and fault.kind == "huge":
            return self._send_huge(fault)
        answer = upstream.answer(path)
        if fault is not None and fault.kind in ("status", "other", "html", "redirect", "bomb", "raw"):
            answer = _broken(answer, fault)
            fault = None
        if not upstream.content_types:
            answer.content_type = None
        self._validators(answer)
        if answer.status != 200:
            return self._send(answer, answer.body, fault)
        if answer.headers.get("ETag") and self.headers.get("If-None-Match") == answer.headers["ETag"]:
            answer.status = 304
            return self._send(answer, b"", None)
        return self._send(answer, self._slice(answer, path), fault)

    def _validators(self, answer: _Answer) -> None:
        if self.server.upstream.etags and answer.status == 200:
            answer.headers["ETag"] = self.server.upstream.etag or f'"{hashlib.md5(answer.body).hexdigest()}"'
        if self.server.upstream.ranges and answer.status == 200:
            answer.headers["Accept-Ranges"] = "bytes"

    def _slice(self, answer: _Answer, path: str) -> bytes:
        """The body, or the range of it that is asked for."""
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        whole = condition is not None and condition != answer.headers.get("ETag")
        if not wanted or whole or not self.server.upstream.ranges or not path.startswith("/files/"):
            return answer.body
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        size = len(answer.body)
        start = int(first) if first else max(0, size - int(last))
        stop = min(int(last) + 1, size) if first and last else size
        if start >= size:
            answer.status, answer.headers["Content-Range"] = 416, f"bytes */{size}"
            return b""
        answer.status, answer.headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size}"
        return answer.body[start:stop]

    def _send(self, answer: _Answer, body: bytes, fault: Fault | None) -> None:
        chunked = not answer.length or (fault is not None and fault.kind == "cut-chunked")
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.content_type is not None:
            self.send_header("Content-Type", answer.content_type)
        if answer.status != 304:
            self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))))
        self.end_headers()
        if self.command == "HEAD" or answer.status == 304:
            return
        if fault is None:
            self._write(body, chunked)
        else:
            after = len(body) // 2 if fault.after is None else fault.after
            if fault.kind == "hang" or not self._partly(body[:after], chunked, fault):
                self._drop(fault)
                return
            self._write(body[after:], chunked)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _send_huge(self, fault: Fault) -> None:
        """Made while it is sent, in pieces of a MiB, until the other side has enough."""
        before, after, piece = b'{"meta":{"api-version":"1.0"},"name":"x","files":[],"x":"', b'"}', b"x" * (1 << 20)
        pieces = (fault.after or 200 << 20) // len(piece)
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(before) + pieces * len(piece) + len(after)))
        self.end_headers()
        self._write(before, chunked=False)
        for _ in range(pieces):
            self._write(piece, chunked=False)
        self._write(after, chunked=False)

    def _partly(self, data: bytes, chunked: bool, fault: Fault) -> bool:
        """Sends the first part; whether the rest follows."""
        self._write(data, chunked)
        if fault.kind != "slow" or fault.gate is None:
            return False
        while not fault.gate.wait(0.01):
            if self.server.closing.is_set():
                return False
        return True

    def _drop(self, fault: Fault) -> None:
        """Ends the connection; a hanging one when the server stops."""
        if fault.kind == "hang":
            self.server.closing.wait()
        self.close_connection = True
        _shut(self.connection)

    def _write(self, data: bytes, chunked: bool) -> None:
        for at in range(0, len(data), 65_536):
            piece = data[at : at + 65_536]
            self.server.upstream.sent += len(piece)  # first: a client may be done before we go on
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)


def _broken(answer: _Answer, fault: Fault) -> _Answer:
    if fault.kind == "status":
        headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        return _Answer(b"broken\n", "text/plain", fault.status, headers)
    if fault.kind == "other":
        return _Answer(bytes(byte ^ 0xFF for byte in answer.body), answer.content_type, answer.status, answer.headers)
    if fault.kind == "html":
        return _Answer(LOGIN_PAGE, "text/html")
    if fault.kind == "redirect":
        return _Answer(b"", status=302, headers={"Location": fault.url})
    if fault.kind == "bomb":
        return _Answer(_bomb(), answer.content_type, headers={"Content-Encoding": "gzip"})
    headers = {"Content-Encoding": fault.content_encoding} if fault.content_encoding else {}
    return _Answer(fault.body, fault.content_type, headers=headers)


@cache
def _bomb() -> bytes:
    return gzip.compress(b"{" + bytes(1 << 20), 9) * 1024  # members may follow one another (RFC 1952 section 2.2)
