"""The fast lane: a request whose bytes were seen before is answered by bytes that are ready.

A request's head is two halves. The request line says what is asked for; the rest, up to the blank line, says how the
client wants it. Each half, byte for byte, leads to what llhttp and the application made of the same bytes before. What
they lead to is looked for among the ready pages and files, which are judged at each request: the lane answers only what
is known to be right at that moment, and leaves everything else to the application.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from caseus.recent import Recent
from caseus.server.access_log import AccessLog, Shown
from caseus.web.conditional import parse_tags
from caseus.web.negotiate import choose_coding, choose_type, format_of
from caseus.web.pages import CONTENT_TYPES, Key
from caseus.web.paths import Route
from caseus.web.ready_files import FileKey, ReadyFile
from caseus.web.request import CacheMark, joined, shown

if TYPE_CHECKING:
    from caseus.access import Principal
    from caseus.render import ContentType
    from caseus.web.app import App
    from caseus.web.negotiate import Coding

READ_AT_ONCE: Final = 256 << 10
"""Bytes of the longest file that is read in one go: for a client that does not take them they stay in memory."""

_MOST_LINES: Final = 8192
_MOST_RESTS: Final = 2048
_MOST_PROXIES: Final = 1024
_LONGEST_LINE: Final = 512  # bytes; also of names that nobody knows there may be as many as fit
_LONGEST_REST: Final = 2048
_END: Final = b"\r\n\r\n"
_NEVER: Final = frozenset(
    {b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"x-request-id"}
)
_SECRETS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})
_RANGES: Final = frozenset({"range", "if-range"})

RawHeaders = Sequence[tuple[bytes, bytes]]


class Line:
    """A request line that asks for a page or a file. `format`: as `?format=` says, None if the rest has to."""

    __slots__ = ("file", "format", "head", "keys", "shown")

    def __init__(self, index_name: str, route: Route, method: str, target: bytes) -> None:
        path, _, query = target.partition(b"?")
        self.keys = {content_type: Key(index_name, route.project, content_type) for content_type in CONTENT_TYPES}
        self.file = FileKey(index_name, route.project, route.filename) if route.kind == "file" else None
        self.format: ContentType | None = format_of(query) or None
        self.head = method == "HEAD"
        self.shown = Shown(method, shown(path, query))


class Rest(NamedTuple):
    """What follows the request line. `login`: what stands for its Authorization; `client`: None is the peer."""

    accepted: ContentType | None
    coding: Coding
    tags: Container[str]
    ranged: bool
    login: bytes | None
    client: str | None


class Reply(NamedTuple):
    """An answer: `head`, then `body` (b"": none), or `size` bytes of `file`."""

    head: bytes
    body: bytes | bytearray
    file: ReadyFile | None
    status: int
    size: int
    shown: Shown
    request_id: str
    client: str
    cache: CacheMark
    user: str | None


class Lane:
    """Of one process. Knows no connection."""

    def __init__(self, app: App, log: AccessLog) -> None:
        self.answered = 0
        self.threads = app.threads.files
        self.busy = app.busy
        self.log = log
        self._app = app
        self._pages, self.files = app.pages, app.files.ready
        self._clock = app.clock
        self._lines: Recent[bytes, Line] = Recent(_MOST_LINES)
        self.rests: Recent[bytes, Rest] = Recent(_MOST_RESTS)
        self._proxies: Recent[str, bool] = Recent(_MOST_PROXIES)
        self._trusts = bool(app.trusted.networks)
        self._key = secrets.token_bytes(32)
        self._ids = itertools.count((1 << 63) + secrets.randbits(62))  # so that each has 16 digits
        self._defaults: object = None
        self._started: dict[int, bytes] = {}

    # What was learnt

    def find(self, data: bytes, client: str, defaults: RawHeaders) -> Reply | None:
        """The answer to these bytes, None if it is not for the lane. `defaults`: headers of every answer."""
        end = data.find(b"\r\n")
        line = self._lines.get(data[:end])
        if line is None:
            return None
        half = data[end:] if not self._trusts else self._told_by(client, data[end:])
        rest = self.rests.get(half) or self.rests.get(self._hidden(half))
        if rest is None:
            return None
        user = None
        if self._app.private:
            principal = self._principal(rest)
            if principal is None:
                return None
            user = principal.name
        if rest.client is not None:
            client = rest.client
        if defaults is not self._defaults:
            self._restart(defaults)
        if line.file is not None:
            return self._file(line, line.file, rest, client, user)
        return self._page(line, rest, client, user)

    def _page(self, line: Line, rest: Rest, client: str, user: str | None) -> Reply | None:
        content_type = line.format or rest.accepted
        if content_type is None:
            return None
        ready = self._pages.at_once(line.keys[content_type])
        if ready is None:
            return None
        variant = ready.variants.get(rest.coding)
        if variant is None:
            return None
        told = variant.latest
        if told is None or self._clock() >= told.until:
            told = variant.told(ready, self._clock())
        mark: CacheMark = "stale" if ready.validity.stale else "hit"
        request_id = hex(next(self._ids))[2:]
        if variant.etag in rest.tags:
            parts = (self._started[304], told.unchanged_lines, b"x-request-id: ", request_id.encode(), _END)
            return Reply(b"".join(parts), b"", None, 304, 0, line.shown, request_id, client, mark, user)
        body = variant.body
        size = len(body)
        head = b"%b%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (
            self._started[200], told.full_lines, request_id.encode(), size,
        )  # fmt: skip
        if line.head:
            return Reply(head, b"", None, 200, 0, line.shown, request_id, client, mark, user)
        return Reply(head, body, None, 200, size, line.shown, request_id, client, mark, user)

    def _file(self, line: Line, key: FileKey, rest: Rest, client: str, user: str | None) -> Reply | None:
        if rest.ranged:
            return None
        ready = self.files.at_once(key)
        if ready is None:
            return None
        request_id = hex(next(self._ids))[2:]
        told, size = ready.told, ready.size
        if ready.etag in rest.tags:
            head = b"%b%b\r\n" % (self._started[304], told.unchanged_lines)
            return Reply(head, b"", None, 304, 0, line.shown, request_id, client, "hit", user)
        head = b"%b%bcontent-length: %d\r\n\r\n" % (self._started[200], told.full_lines, size)
        if line.head:
            return Reply(head, b"", None, 200, 0, line.shown, request_id, client, "hit", user)
        data = ready.read_at_once(0, size) if size <= READ_AT_ONCE else None
        if data is None:
            return Reply(head, b"", ready, 200, size, line.shown, request_id, client, "hit", user)
        return Reply(head, data, None, 200, size, line.shown, request_id, client, "hit", user)

    def _principal(self, rest: Rest) -> Principal | None:
        """Who asks, if it was verified lately and may read."""
        principal = self._app.access.recall_by(rest.login) if rest.login is not None else None
        return principal if principal is not None and "read" in principal.rights else None

    def _restart(self, defaults: RawHeaders) -> None:
        """The defaults hold the date: they are others each second."""
        lines = b"".join(b"%b: %b\r\n" % pair for pair in defaults)
        self._started = {200: b"HTTP/1.1 200 OK\r\n" + lines, 304: b"HTTP/1.1 304 Not Modified\r\n" + lines}
        self._defaults = defaults

    def _told_by(self, client: str, half: bytes) -> bytes:
        """What stands for the half: a proxy that is trusted says with it whose request it hands on, others do not."""
        trusted = self._proxies.get(client)
        if trusted is None:
            trusted = client in self._app.trusted
            self._proxies.put(client, trusted)
        return client.encode() + half if trusted else half

    def _hidden(self, rest: bytes) -> bytes:
        """What stands for a rest with credentials."""
        return hashlib.blake2b(rest, key=self._key, digest_size=16).digest()

    # Learning

    def learn(self, data: bytes, method: str, target: bytes, headers: RawHeaders, client: str) -> None:
        """Remember both halves of a head that was accepted: `data` is exactly what led to the rest."""
        line, end, half = data.partition(b"\r\n")
        if line != b"%b %b HTTP/1.1" % (method.encode(), target) or not target.startswith(b"/"):
            return
        half = end + half
        if data.count(_END) > 1 or not data.endswith(_END):
            return
        if len(line) > _LONGEST_LINE or len(half) > _LONGEST_REST:
            return
        if self._lines.get(line) is None:
            known = self._understand(method, target)
            if known is None:
                return
            self._lines.put(line, known)
        if not any(_is_odd(name, value) for name, value in headers):
            self._learn_rest(half, headers, client)

    def _understand(self, method: str, target: bytes) -> Line | None:
        path, _, query = target.partition(b"?")
        route = self._app.find(path)
        if method not in ("GET", "HEAD") or not isinstance(route, Route) or format_of(query) is None:
            return None
        if route.kind not in ("list", "project", "file") or route.view == "refresh":
            return None
        return Line(self._app.index_of(route), route, method, target)

    def _learn_rest(self, half: bytes, headers: RawHeaders, client: str) -> None:
        fields = joined(headers)
        origin = self._app.trusted.origin(client, "http", fields)
        authorization = fields.get("authorization")
        rest = Rest(
            accepted=choose_type(fields.get("accept")),
            coding=choose_coding(fields.get("accept-encoding")),
            tags=parse_tags(fields.get("if-none-match")),
            ranged=not _RANGES.isdisjoint(fields),
            login=None if authorization is None else self._app.access.fingerprint(authorization),
            client=None if origin.client == client else origin.client,
        )
        if self._trusts:
            half = self._told_by(client, half)
        self.rests.put(half if _SECRETS.isdisjoint(fields) else self._hidden(half), rest)


def _is_odd(name: bytes, value: bytes) -> bool:
    """What changes how the rest of the connection is read, or is another each time."""
    return name in _NEVER or (name == b"connection" and value.lower() != b"keep-alive")
