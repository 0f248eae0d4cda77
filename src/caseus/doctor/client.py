"""The client: one request at a time, bounded in bytes and time, with credentials for whom they are meant only."""

from __future__ import annotations

import netrc
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, ProtocolError, SSLError, TimeoutError

from caseus import __version__
from caseus.doctor.connections import Watcher, pool_classes
from caseus.doctor.exchange import PAGE_LIMIT, Exchange
from caseus.errors import Invalid, Unavailable
from caseus.upstream.urls import Origin, basic_auth, origin_of, shown, without_userinfo

FILE_LIMIT: Final = 16 << 20
ERROR_LIMIT: Final = 64 << 10
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MOST_HOPS: Final = 5
_LONGEST_NAME: Final = 24


class Timeouts(NamedTuple):
    """Seconds: to connect, for each wait, and for a whole exchange however slowly it drips."""

    connect: float = 5.0
    read: float = 15.0
    whole: float = 60.0


class Login(NamedTuple):
    """Who asks."""

    user: str
    password: str

    @property
    def header(self) -> str:
        header = basic_auth(f"http://{quote(self.user, safe='')}:{quote(self.password, safe='')}@host/")
        return header or ""


ANONYMOUS: Final = Login("", "")
"""Sends no Authorization."""


class Unreachable(Unavailable):
    """No answer. `detail` is one line for people, without secrets."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, kind="upstream")


class Untrusted(Unreachable):
    """TLS could not be agreed on; `code` is OpenSSL's verification error, None for other faults of TLS."""

    def __init__(self, detail: str, code: int | None) -> None:
        self.code = code
        super().__init__(detail)


class Certificate(NamedTuple):
    """What the server showed, which was found good for its name. `expires` in Unix seconds."""

    names: tuple[str, ...]
    issuer: str
    expires: float
    protocol: str


class Client:
    """Not thread-safe. `login` goes to the origin of `url` only; others get what netrc has for them, as with pip."""

    def __init__(
        self,
        url: str,
        login: Login | None = None,
        *,
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.origin = origin_of(url)
        self.certificate: Certificate | None = None
        self._watcher = Watcher()
        self._timeouts = timeouts or Timeouts()
        self._netrc = _read_netrc()
        self._logins: dict[Origin, Login] = {}
        self._sent: set[Login] = set()
        if login is None:
            login = _of_url(url)
        if login is not None:
            self._logins[self.origin] = login
        self._proxies = urllib.request.getproxies_environment()
        self._context = ssl_context or ssl.create_default_context()
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for pool in self._pools.values():
            pool.clear()

    @property
    def connections(self) -> int:
        """How many were opened so far."""
        return self._watcher.count

    def login_for(self, url: str) -> Login | None:
        """What is sent to the URL: the login of its origin, else that of netrc for its host."""
        origin = origin_of(url)
        return self._logins.get(origin) or self._netrc.get(origin.host) or self._netrc.get("")

    def trust(self, url: str) -> None:
        """The URL was named by the person, so it gets the login as the index does."""
        if self.origin in self._logins:
            self._logins.setdefault(origin_of(url), self._logins[self.origin])

    def redact(self, text: str) -> str:
        """The text without what could be a secret of ours, whoever wrote it there."""
        for login in self._sent:
            # A user name that is long, or has no password, is a token.
            token = login.user if not login.password or len(login.user) > _LONGEST_NAME else ""
            for secret in (login.header.partition(" ")[2], login.password, token):
                for spelling in {secret, quote(secret, safe="")} - {""}:
                    text = text.replace(spelling, "***")
        return text

    def get(self, url: str, accept: str | None = None, **options: Any) -> Exchange:
        """As `ask`, for a GET of a page."""
        headers = {"Accept-Encoding": "gzip"} | ({} if accept is None else {"Accept": accept})
        return self.ask("GET", url, headers=headers | options.pop("headers", {}), **options)

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = PAGE_LIMIT,
        login: Login | None = None,
        follow: bool = True,
    ) -> Exchange:
        """The answer, that after redirects unless `follow` is false. Unreachable if none comes.

        `login`: whom to be, ANONYMOUS for nobody; else who `login_for` says. It is judged anew at each redirect; a
        given one goes no further than the first origin.
        """
        first = origin_of(url)
        hops: list[str] = []
        while True:
            origin = origin_of(url)
            whom = self.login_for(url) if login is None else login if origin == first else ANONYMOUS
            sent = {"User-Agent": f"caseus-doctor/{__version__}"} | dict(headers or {})
            if whom is not None and whom != ANONYMOUS:
                sent["Authorization"] = whom.header
                self._sent.add(whom)
            exchange = self._exchange(method, without_userinfo(urldefrag(url).url), sent, body, limit)
            location = exchange.headers.get("Location")
            if not follow or exchange.status not in _REDIRECTS or location is None:
                return replace(exchange, hops=tuple(hops))
            if len(hops) == _MOST_HOPS:
                raise Unreachable(f"redirects in circles: {shown(url)}")
            hops.append(exchange.url)
            try:
                url = urljoin(exchange.url, location)
                origin_of(url)
            except (ValueError, Invalid):
                raise Unreachable(f"{shown(hops[-1])} redirects to what is not a URL") from None

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: int) -> Exchange:
        """One request; again, where that is harmless, if a connection that was kept had been closed meanwhile."""
        for attempt in (1, 2):
            opened = self.connections
            try:
                return self._once(method, url, headers, body, limit)
            except ProtocolError as error:
                if method == "POST" or attempt == 2 or self.connections > opened:
                    raise Unreachable(f"the connection was broken off: {shown(url)}") from error
            except HTTPError as error:
                raise _told(error, url) from error
        raise AssertionError("unreachable")

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: int) -> Exchange:
        pool = self._pool_for(url)
        began = time.monotonic()
        timer = threading.Timer(self._timeouts.whole, self._watcher.cut_off)
        timer.daemon = True
        timer.start()
        try:
            response = pool.request(
                method,
                url,
                headers=dict(headers),
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self._timeouts.connect, read=self._timeouts.read),
            )
            first_byte = time.monotonic() - began
            self._note_certificate(response, url)
            raw, cut = _read(response, limit, began + self._timeouts.whole, url)
            if time.monotonic() - began >= self._timeouts.whole:  # a head that is cut off reads as a shorter one
                raise Unreachable(f"took too long: {shown(url)}")
        finally:
            timer.cancel()
        reason, told = response.reason or "", response.headers
        return Exchange(method, url, response.status, reason, told, raw, cut, first_byte)

    def _note_certificate(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        line = getattr(response.connection, "sock", None)
        if self.certificate is None and origin_of(url) == self.origin and isinstance(line, ssl.SSLSocket):
            shown_by_server = line.getpeercert() or {}
            issuer: Any = shown_by_server.get("issuer", ())
            alternatives: Any = shown_by_server.get("subjectAltName", ())
            fields = {key: value for part in issuer for key, value in part}
            self.certificate = Certificate(
                tuple(str(value) for _, value in alternatives),
                str(fields.get("organizationName") or fields.get("commonName") or "?"),
                ssl.cert_time_to_seconds(str(shown_by_server.get("notAfter"))),
                line.version() or "",
            )

    def _pool_for(self, url: str) -> urllib3.PoolManager:
        origin = origin_of(url)
        proxy = self._proxies.get(origin.scheme) or self._proxies.get("all")
        if proxy and urllib.request.proxy_bypass_environment(origin.authority, self._proxies):  # type: ignore[attr-defined]
            proxy = None
        if proxy not in self._pools:
            self._pools[proxy] = self._make_pool(proxy)
        return self._pools[proxy]

    def _make_pool(self, proxy: str | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": 1, "ssl_context": self._context}
        if proxy:
            proxy = proxy if "://" in proxy else f"http://{proxy}"
            login = _of_url(proxy)
            pair = None if login is None else f"{login.user}:{login.password}"
            secret = urllib3.make_headers(proxy_basic_auth=pair) if pair else None
            manager: urllib3.PoolManager = urllib3.ProxyManager(
                without_userinfo(proxy), proxy_headers=secret, **options
            )
        else:
            manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = pool_classes(self._watcher)
        return manager


def _read(response: urllib3.BaseHTTPResponse, limit: int, deadline: float, url: str) -> tuple[bytes, bool]:
    """The body up to the limit, and whether there was more; then the connection is closed, else kept."""
    body = bytearray()
    try:
        while data := response.read1(256 << 10, decode_content=False):
            body += data
            if len(body) > limit:
                return bytes(body[:limit]), True
            if time.monotonic() > deadline:
                raise Unreachable(f"took too long: {shown(url)}")
        return bytes(body), False
    finally:
        if not response.closed:
            response.close()
        response.release_conn()


def _told(error: HTTPError, url: str) -> Unreachable:
    """What happened, as a person says it."""
    if isinstance(error, SSLError):
        cause = error.args[0] if error.args else None
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Untrusted(f"the certificate is not good: {cause.verify_message}", cause.verify_code)
        return Untrusted(f"TLS can't be agreed on: {getattr(cause, 'reason', None) or 'the server speaks none'}", None)
    if isinstance(error, NameResolutionError):
        return Unreachable(f"the name of the host can't be resolved: {shown(url)}")
    if isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError):
        return Unreachable(f"took too long: {shown(url)}")
    return Unreachable(f"can't be reached: {shown(url)}")


def _of_url(url: str) -> Login | None:
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return None
    return Login(unquote(parts.username or ""), unquote(parts.password or ""))


def _read_netrc() -> dict[str, Login]:
    """Host to login, "" for the default one; nothing where there is none that can be read, as pip does it."""
    try:
        path = os.path.expanduser(os.environ.get("NETRC", "~/.netrc"))
        hosts = netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}
    return {"" if host == "default" else host: Login(found[0], found[2] or "") for host, found in hosts.items()}
