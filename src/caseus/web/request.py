"""One request as the handlers see it: its head, its body, and what is logged of it."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from caseus.web.forwarded import Origin, TrustedProxies, peer_of
from caseus.web.negotiate import ALIASES

CacheMark = Literal["hit", "miss", "stale", "-"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_SHOWN = frozenset({*(("format", name) for name in ALIASES), (":action", "file_upload")})
_MAX_SHOWN = 500


class Pace(NamedTuple):
    """What a client must keep up while its body is waited for; our own work with what came does not count."""

    idle: float = 60.0
    """Seconds for which nothing may come."""
    patience: float = 30.0
    """Seconds for which it may be slower than `rate`."""
    rate: float = 1024.0
    """Bytes a second."""


class Body:
    """The request's body, read once. `complete`: nothing of it is left."""

    pace: ClassVar[Pace] = Pace()

    def __init__(self, receive: Receive, *, waits: bool, pace: Pace | None = None) -> None:
        self._receive = receive
        self._pace = pace or self.pace
        self._waited = 0.0
        self._received = 0
        self._stalled = False
        self.waits = waits
        """The client sends nothing before it is told to (Expect: 100-continue), which the first read does."""
        self.complete = False
        self.started = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """ClientDisconnect if it breaks off; TimeoutError, which tells why, if it does not keep up its pace."""
        while not self.complete:
            self.started = True
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.complete = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                self._received += len(chunk)
                yield chunk

    async def _next(self) -> Message:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._pace.idle):
                message = await self._receive()
        except TimeoutError:
            self._stalled = True
            raise TimeoutError("the upload stopped coming in: nothing for a minute; send it again") from None
        self._waited += time.monotonic() - began
        if self._received < (self._waited - self._pace.patience) * self._pace.rate:
            self._stalled = True
            raise TimeoutError(f"the upload comes in too slowly: less than {self._pace.rate:.0f} bytes a second")
        return message

    async def drop(self, *, limit: int = 64 << 20, seconds: float = 10.0) -> None:
        """Read and forget what is left, up to the limits: twine sends all of it before it looks at the answer, and a
        connection closed meanwhile shows it a reset instead of the reason."""
        if self._stalled or (self.waits and not self.started):
            return
        dropped = 0
        try:
            async with asyncio.timeout(seconds):
                async for chunk in self.chunks():
                    dropped += len(chunk)
                    if dropped > limit:
                        return
        except (TimeoutError, ClientDisconnect):
            return


@dataclass
class Request:
    """`headers`: names in lower case, repeated ones joined by `, `, values in latin-1."""

    method: str
    raw_path: bytes
    query: bytes
    headers: dict[str, str]
    origin: Origin
    id: str
    body: Body
    server: tuple[str, int | None] | None
    began: float = field(default_factory=time.monotonic)
    cache: CacheMark = "-"
    user: str | None = None
    failure: str | None = None
    """Why an answer was broken off, for the log."""

    @property
    def head(self) -> bool:
        return self.method == "HEAD"

    @property
    def base(self) -> str:
        """`scheme://host/` as the client sees it; our own address where its Host is missing or no host."""
        host = self.origin.host
        if host is None:
            name, port = self.server or ("", None)
            name = name if port else "localhost"  # of a unix socket the name is its path
            host = (f"[{name}]" if ":" in name else name) + (f":{port}" if port else "")
        return f"{self.origin.scheme}://{host}/"

    @classmethod
    def read(cls, scope: Scope, receive: Receive, trusted: TrustedProxies) -> Request:
        """From ASGI's scope."""
        headers = joined(scope["headers"])
        origin = trusted.origin(peer_of(scope.get("client"), scope.get("server")), scope.get("scheme", "http"), headers)
        given = headers.get("x-request-id", "") if origin.trusted else ""
        return cls(
            method=scope["method"],
            raw_path=scope.get("raw_path") or scope["path"].encode(),
            query=scope.get("query_string", b""),
            headers=headers,
            origin=origin,
            id=given if _REQUEST_ID.match(given) else _new_id(),
            body=Body(receive, waits=headers.get("expect", "").lower() == "100-continue"),
            server=scope.get("server"),
        )

    def shown_path(self) -> str:
        """Path and query for the log."""
        return shown(self.raw_path, self.query)


def _new_id() -> str:
    """No secret, so it need not be asked of the system, which would let another thread in."""
    return f"{random.getrandbits(64):016x}"


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers (names in lower case) as `Request` has them."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def shown(raw_path: bytes, query: bytes) -> str:
    """As the log has it: of the query only what means something here, as anything else may be a secret."""
    text = raw_path.decode("latin-1")
    if query:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        text += "?" + "&".join("=".join(pair) if pair in _SHOWN else "***" for pair in pairs)
    printable = "".join(char if " " <= char <= "~" else "?" for char in text)
    return printable if len(printable) <= _MAX_SHOWN else printable[:_MAX_SHOWN] + "…"
