"""The client of one other index: its pages, its files, and nothing that it may not contact."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import msgspec
import structlog
import urllib3
from packaging.utils import NormalizedName
from urllib3.exceptions import NameResolutionError, NewConnectionError, ProtocolError, ProxySchemeUnknown

from caseus import __version__
from caseus.errors import Unavailable
from caseus.upstream.circuit import Circuit, Unreachable
from caseus.upstream.contact import Contact, NotContacted, pooled, resolve_host
from caseus.upstream.credentials import Credentials, Pair, nobody
from caseus.upstream.deadline import BoundedResolve, Resolve, within
from caseus.upstream.formats import parse_page
from caseus.upstream.lists import parse_list
from caseus.upstream.pages import Page
from caseus.upstream.response import Response, told
from caseus.upstream.tls import PLAIN, Tls, make_context
from caseus.upstream.urls import Origin, origin_of, request_target, shown, upstream_name, userinfo, without_userinfo

PAGE_LIMIT = 64 * 1024 * 1024
"""Decoded bytes of one page."""

LIST_LIMIT = 256 * 1024 * 1024
"""Decoded bytes of the list of projects: the public index's is a tenth of that."""

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.1, text/html;q=0.01"
"""What pip sends: indexes are known to answer this one well."""

_REDIRECTS = 5
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_ATTEMPTS = 2
_POOLS = 20
_CONNECTIONS = 32  # kept open to one host
_MOST_ORIGINS = 256  # that are remembered, of all that pages ever linked

log: Any = structlog.get_logger(__name__)


class Timeouts(NamedTuple):
    """Seconds: to connect, for each wait while reading, for a whole page or the head of a file, to look a name up."""

    connect: float = 5.0
    read: float = 10.0
    page: float = 30.0
    lookup: float = 10.0


TIMEOUTS = Timeouts()


class NotModified(msgspec.Struct, frozen=True):
    """The page is still what its ETag said."""


class Upstream:
    """One other index; knows no catalog. Thread-safe.

    `url` is absolute and ends in "/"; `credentials`, or user and password in the URL, are sent to its own origin only
    and shown nowhere. `proxies` maps schemes to proxy URLs as the environment does (`https`, `http`, `all`, `no`), by
    default from it. `leaves_alone`: whether origins that fail in a row, or say so, are not asked for a while
    (LeftAlone). Invalid if the files that `tls` names can't be used.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        timeouts: Timeouts = TIMEOUTS,
        resolve: Resolve = resolve_host,
        proxies: Mapping[str, str] | None = None,
        tls: Tls = PLAIN,
        credentials: Credentials | None = None,
        leaves_alone: bool = False,
    ) -> None:
        self.url = without_userinfo(url)
        self.name = upstream_name(url)
        self.timeouts = timeouts
        self._clock = clock
        own = userinfo(url)
        self._credentials = credentials or Credentials((lambda: Pair(*own)) if own is not None else nobody)
        self.origin = origin_of(url)
        self._contact = Contact(self.origin, BoundedResolve(resolve, timeouts.lookup))
        self._leaves_alone = leaves_alone
        self._circuits: dict[Origin, Circuit] = {}
        self._proxies = dict(urllib.request.getproxies_environment() if proxies is None else proxies)
        self._tls = tls
        others = make_context(tls, own=False)
        self._contexts = {False: others, True: make_context(tls, own=True) if tls.client_cert else others}
        self._direct = {own: self._pooled(urllib3.PoolManager(**self._pool_options(own)), own) for own in (True, False)}
        self._proxied: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._guard = threading.Lock()

    def page(self, name: NormalizedName, etag: str | None = None) -> Page | NotModified:
        """What it says of the project now; with `etag` maybe only that nothing changed. NotFound, Unavailable."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"} | ({"If-None-Match": etag} if etag else {})
        with (
            self._named(),
            within(self.timeouts.page) as deadline,
            self._request(f"{self.url}{name}/", headers, frozenset()) as response,
        ):
            if response.status == 304 and etag:
                return NotModified()
            response.check(f"project {name}")
            body = response.body(PAGE_LIMIT, deadline)
            return msgspec.structs.replace(parse_page(name, body, response.url), etag=response.etag)

    def projects(self) -> tuple[NormalizedName, ...]:
        """The names that its list of projects tells, sorted. NotFound where it has no such list, Unavailable."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        with within(self.timeouts.page) as deadline, self._request(self.url, headers, frozenset()) as response:
            response.check("list of projects")
            return parse_list(response.body(LIST_LIMIT, deadline), response.url)

    def fetch(
        self,
        url: str,
        linked: frozenset[Origin] = frozenset(),
        *,
        start: int = 0,
        stop: int | None = None,
        etag: str | None = None,
    ) -> Response:
        """A file, or of it the bytes from `start` to `stop`; a negative start counts from the end.

        `linked`: the https origins that the project's page links. The answer may be the whole file all the same
        (status 200), and is if `etag` is no longer the file's (If-Range). NotFound, Unavailable; so for no URL at all.
        """
        if not url:
            raise NotContacted("where the file is will be known when the upstream answers: try again", kind="upstream")
        headers = {"Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}" if start < 0 else f"bytes={start}-{'' if stop is None else stop - 1}"
            if etag:
                headers["If-Range"] = etag
        with within(self.timeouts.page):
            response = self._request(url, headers, linked)
        try:
            response.check("such file")
            if response.status == 206 and start >= 0 and response.start != start:
                raise Unavailable(f"the upstream sends another range than asked for: {shown(url)}", kind="upstream")
        except BaseException:
            response.close()
            raise
        return response

    def close(self) -> None:
        for manager in (*self._direct.values(), *self._proxied.values()):
            manager.clear()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Where there are several upstreams, an error must tell whose it is."""
        try:
            yield
        except Unavailable as error:
            if self.origin.authority in str(error):
                raise
            told = f"{error} ({self.origin.authority})"
            raise type(error)(told, kind=error.kind, retry_after=error.retry_after) from error

    def _request(self, url: str, headers: Mapping[str, str], linked: frozenset[Origin]) -> Response:
        """The first answer that is no redirect; each hop is judged anew."""
        for _ in range(_REDIRECTS + 1):
            origin = self._contact.check(url, linked)
            response = self._ask(url, origin, headers)
            location = response.header("Location")
            if response.status not in _REDIRECT_STATUSES or location is None:
                return response
            response.close()
            try:
                url = urldefrag(urljoin(url, location)).url
            except ValueError:
                raise Unavailable(f"{shown(url)} redirects to what is not a URL", kind="upstream") from None
        raise Unavailable(f"the upstream redirects in circles: {shown(url)}", kind="upstream")

    def _ask(self, url: str, origin: Origin, headers: Mapping[str, str]) -> Response:
        """One request; once more where the upstream refused credentials for which there are newer ones by now."""
        own = origin == self.origin
        authorization = self._credentials.header() if own else None
        response = self._ask_as(authorization, url, origin, headers)
        if own and response.status == 401 and (renewed := self._credentials.renewed(authorization)) is not None:
            response.close()
            response = self._ask_as(renewed, url, origin, headers)
        return response

    def _ask_as(self, authorization: str | None, url: str, origin: Origin, headers: Mapping[str, str]) -> Response:
        """One request; again (GET is safe) where it broke off before any answer, as a kept connection may."""
        sent = {"User-Agent": f"caseus/{__version__}"} | dict(headers)
        if authorization is not None:
            sent["Authorization"] = authorization
        url, circuit = without_userinfo(url), self._circuit(origin)
        if self._leaves_alone:
            circuit.enter()
        try:
            with told(url):
                for attempt in range(1, _ATTEMPTS + 1):
                    try:
                        return Response(self._send(url, origin, sent), url, circuit, clock=self._clock)
                    except (ProtocolError, NewConnectionError) as error:
                        if attempt == _ATTEMPTS or isinstance(error, NameResolutionError):
                            raise
        except Unreachable as error:
            circuit.failed(error)
            raise
        raise AssertionError("unreachable")

    def _circuit(self, origin: Origin) -> Circuit:
        with self._guard:
            if len(self._circuits) >= _MOST_ORIGINS:
                self._circuits.clear()
            return self._circuits.setdefault(origin, Circuit(origin.authority, self._clock))

    def _send(self, url: str, origin: Origin, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        options: dict[str, Any] = {
            "headers": headers,
            "redirect": False,
            "retries": False,
            "preload_content": False,
            "decode_content": False,
            "timeout": urllib3.Timeout(connect=self.timeouts.connect, read=self.timeouts.read),
        }
        proxy = self._proxy_for(origin)
        if proxy is not None:
            return proxy.urlopen("GET", url, **options)
        pool = self._direct[origin == self.origin].connection_from_host(origin.host, origin.port, origin.scheme)
        return pool.urlopen("GET", request_target(url), **options)

    def _proxy_for(self, origin: Origin) -> urllib3.PoolManager | None:
        """The configured proxy for the origin. It resolves names itself, so that addresses can't be judged here."""
        address = self._proxies.get(origin.scheme) or self._proxies.get("all")
        if not address or urllib.request.proxy_bypass_environment(origin.authority, self._proxies):  # type: ignore[attr-defined]
            return None
        with self._guard:
            own = origin == self.origin
            if (address, own) not in self._proxied:
                if (address, not own) not in self._proxied:
                    log.warning(
                        "behind a proxy only names and schemes of what an upstream links are checked, not addresses",
                        upstream=self.name,
                        proxy=shown(address),
                    )
                self._proxied[address, own] = self._proxy_manager(address, own)
            return self._proxied[address, own]

    def _proxy_manager(self, address: str, own: bool) -> urllib3.PoolManager:
        address = address if "://" in address else f"http://{address}"
        parts = urlsplit(address)
        headers = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = urllib3.make_headers(proxy_basic_auth=pair)
        try:
            manager = urllib3.ProxyManager(without_userinfo(address), proxy_headers=headers, **self._pool_options(own))
        except ProxySchemeUnknown:
            raise Unavailable(
                "the configured proxy can't be used: give it as http://HOST:PORT or https://HOST:PORT", kind="upstream"
            ) from None
        return self._pooled(manager, own, judged=False)

    def _pool_options(self, own: bool) -> dict[str, Any]:
        """`own`: for the upstream's own origin, which alone sees a client certificate and has pins."""
        return {"num_pools": _POOLS, "maxsize": _CONNECTIONS, "ssl_context": self._contexts[own]}

    def _pooled(self, manager: urllib3.PoolManager, own: bool, *, judged: bool = True) -> urllib3.PoolManager:
        return pooled(manager, self._contact, judged=judged, pins=self._tls.pins if own else frozenset())
