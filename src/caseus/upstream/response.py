"""One answer of an upstream: its head, its bytes, and its faults told as ours."""

from __future__ import annotations

import errno
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Self

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from caseus.errors import NotFound, Unavailable
from caseus.upstream.circuit import Circuit, Unreachable
from caseus.upstream.tls import WrongKey
from caseus.upstream.urls import shown

_CHUNK = 262_144
_OWN = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # it is we who lack something, not the upstream
_DRAINED = 65_536  # bytes of an error's text that are read so that the connection can be used again
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")


class Unauthorized(Unavailable):
    """It wants other credentials, or none at all (401, 403): to ask again is no use."""


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turns what urllib3 raises into Unavailable that says what happened with which URL."""
    try:
        yield
    except HTTPError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OWN:
            reason = error.__cause__.strerror or "unknown error"
            raise Unavailable(f"no connection can be opened here ({reason}): try again", kind="local") from error
        # urllib3 counts a refused connection as a kind of ConnectTimeoutError.
        if isinstance(error, ConnectTimeoutError | ReadTimeoutError) and not isinstance(error, NewConnectionError):
            raise Unreachable(f"the upstream took too long: {shown(url)}", kind="timeout") from error
        raise Unreachable(f"the upstream {_reason(error)}: {shown(url)}", kind="upstream") from error


def _reason(error: HTTPError) -> str:
    if isinstance(error, ProxyError) and isinstance(error.original_error, WrongKey):
        error = error.original_error  # it was the tunnel's other end
    if isinstance(error, ProxyError):
        return "can't be reached through the configured proxy"
    if isinstance(error, NameResolutionError):
        return "has a name that can't be resolved"
    if isinstance(error, NewConnectionError):
        return "can't be reached"
    if isinstance(error, WrongKey):
        return "shows another key than spki_sha256 names"
    if isinstance(error, SSLError):
        return "has no certificate that this machine trusts, or no TLS that it speaks"
    return "broke the connection off"


class Response:
    """A context manager that gives the connection back. `url` is the final one, after redirects.

    `circuit`: its origin's, which hears how the answer went.
    """

    def __init__(
        self, raw: BaseHTTPResponse, url: str, circuit: Circuit, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._raw = raw
        self._clock = clock
        self._circuit = circuit
        self.url = url
        self.status = raw.status
        self._tell_circuit()

    def header(self, name: str) -> str | None:
        return self._raw.headers.get(name)

    @property
    def etag(self) -> str | None:
        """As it was sent, weak or strong."""
        return self.header("ETag")

    @property
    def strong_etag(self) -> str | None:
        """One that If-Range may carry (RFC 9110 section 13.1.5)."""
        etag = self.etag
        return etag if etag and etag.startswith('"') else None

    @property
    def media_type(self) -> str:
        return (self.header("Content-Type") or "").partition(";")[0].strip().lower()

    @property
    def start(self) -> int:
        """First byte of the file that the body holds."""
        return self._range()[0] if self.status == 206 else 0

    @property
    def size(self) -> int | None:
        """Bytes of the whole file, where the head tells."""
        if self.status == 206:
            return self._range()[1]
        length = self.header("Content-Length") or ""
        return int(length) if length.isascii() and length.isdigit() else None

    @property
    def modified(self) -> float | None:
        """Last-Modified in Unix seconds."""
        try:
            return parsedate_to_datetime(self.header("Last-Modified") or "").timestamp()
        except (ValueError, OverflowError):
            return None

    @property
    def retry_after(self) -> float | None:
        """Seconds, from Retry-After in either form."""
        value = (self.header("Retry-After") or "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - self._clock())
        except (ValueError, OverflowError):
            return None

    def check(self, what: str) -> None:
        """Raises unless the status is one of success: NotFound for 404 and 410, else Unavailable."""
        if self.status in (404, 410):
            raise NotFound(f"the upstream has no {what}")
        if self.status not in (200, 206):
            raise self._failure(Unauthorized if self.status in (401, 403) else Unavailable)

    def chunks(self, size: int = _CHUNK) -> Iterator[bytes]:
        """The body as it was sent (nothing is decoded), in pieces as they come in."""
        try:
            with told(self.url):
                while data := self._raw.read1(size, decode_content=False):
                    yield data
        except Unreachable as error:
            self._circuit.failed(error)
            raise
        if self.status in (200, 206):
            self._circuit.answered()

    def body(self, limit: int, deadline: float | None = None) -> bytes:
        """The whole body, decoded from gzip; Unavailable beyond `limit` bytes or the deadline (monotonic seconds)."""
        encoding = (self.header("Content-Encoding") or "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise Unavailable(
                f"the upstream sends an encoding that was not asked for: {shown(self.url)}", kind="upstream"
            )
        chunks = self._until(deadline)
        body = bytearray()
        for piece in chunks if encoding == "identity" else _gunzip(chunks, limit, self.url):
            body += piece
            if len(body) > limit:
                raise _too_long(limit, self.url)
        return bytes(body)

    def close(self) -> None:
        if self.status >= 300 and (self.size or _DRAINED + 1) <= _DRAINED:
            self._raw.drain_conn()
        else:
            self._raw.close()  # of a body that was read to its end the connection is back in the pool already
        self._raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _until(self, deadline: float | None) -> Iterator[bytes]:
        for chunk in self.chunks():
            if deadline is not None and time.monotonic() > deadline:
                raise Unavailable(f"the upstream took too long: {shown(self.url)}", kind="timeout")
            yield chunk

    def _tell_circuit(self) -> None:
        """What the head says of the origin as a whole. A good one is a whole answer only with its body."""
        if self.status == 429 or (self.status == 503 and self.retry_after is not None):
            self._circuit.told_to_wait(self.retry_after, self._failure(Unavailable))
        elif self.status >= 500:
            self._circuit.failed(self._failure(Unavailable), self.url)
        elif self._circuit.is_open or self.status not in (200, 206):
            self._circuit.answered()

    def _failure(self, kind: type[Unavailable]) -> Unavailable:
        return kind(
            f"the upstream answers {self.status} for {shown(self.url)}", kind="upstream", retry_after=self.retry_after
        )

    def _range(self) -> tuple[int, int]:
        match = _CONTENT_RANGE.match(self.header("Content-Range") or "")
        if not match:
            raise Unavailable(f"the upstream sends a range without saying which: {shown(self.url)}", kind="upstream")
        return int(match[1]), int(match[3])


def _too_long(limit: int, url: str) -> Unavailable:
    return Unavailable(f"the upstream's answer is longer than {limit} bytes: {shown(url)}", kind="upstream")


def _gunzip(chunks: Iterator[bytes], limit: int, url: str) -> Iterator[bytes]:
    """Inflates piece by piece, so that a bomb is noticed at the limit and not after it went off."""
    inflater = zlib.decompressobj(31)
    try:
        for chunk in chunks:
            while chunk:
                if inflater.eof:  # RFC 1952 section 2.2: members may follow one another
                    inflater = zlib.decompressobj(31)
                yield inflater.decompress(chunk, min(limit, 1 << 20))
                chunk = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    except zlib.error:
        raise Unavailable(f"the upstream sends broken gzip: {shown(url)}", kind="upstream") from None
    if not inflater.eof:
        raise Unavailable(f"the upstream's answer is cut off: {shown(url)}", kind="upstream")
