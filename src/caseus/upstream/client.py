"""The client of one other index: its pages, its files, and nothing that it may not contact."""

from __future__ import annotations

import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import msgspec
import structlog
import urllib3
from packaging.utils import NormalizedName
from urllib3.exceptions import NameResolutionError, NewConnectionError, ProtocolError, ProxySchemeUnknown

from caseus import __version__
from caseus.errors import Unavailable
from caseus.upstream.contact import Contact, Resolve, pool_manager, resolve_host
from caseus.upstream.formats import parse_page
from caseus.upstream.lists import parse_list
from caseus.upstream.pages import Page
from caseus.upstream.response import Response, told
from caseus.upstream.urls import Origin, basic_auth, origin_of, request_target, shown, upstream_name, without_userinfo

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

log: Any = structlog.get_logger(__name__)


class Timeouts(NamedTuple):
    """Seconds: to connect, for each wait while reading, and for a whole page."""

    connect: float = 5.0
    read: float = 10.0
    page: float = 30.0


TIMEOUTS = Timeouts()


class NotModified(msgspec.Struct, frozen=True):
    """The page is still what its ETag said."""


class Upstream:
    """One other index; knows no catalog. Thread-safe.

    `url` is absolute and ends in "/"; user and password in it are sent to its own origin only and shown nowhere.
    `proxies` maps schemes to proxy URLs as the environment does (`https`, `http`, `all`, `no`), by default from it.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        timeouts: Timeouts = TIMEOUTS,
        resolve: Resolve = resolve_host,
        proxies: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.url = without_userinfo(url)
        self.name = upstream_name(url)
        self.timeouts = timeouts
        self._clock = clock
        self._authorization = basic_auth(url)
        self.origin = origin_of(url)
        self._contact = Contact(self.origin, resolve)
        self._proxies = dict(urllib.request.getproxies_environment() if proxies is None else proxies)
        self._pool_options: dict[str, Any] = {
            "num_pools": _POOLS,
            "maxsize": _CONNECTIONS,
            "ssl_context": ssl_context or ssl.create_default_context(),
        }
        self._direct = pool_manager(self._contact, **self._pool_options)
        self._proxied: dict[str, urllib3.ProxyManager] = {}
        self._guard = threading.Lock()

    def page(self, name: NormalizedName, etag: str | None = None) -> Page | NotModified:
        """What it says of the project now; with `etag` maybe only that nothing changed. NotFound, Unavailable."""
        deadline = time.monotonic() + self.timeouts.page
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"} | ({"If-None-Match": etag} if etag else {})
        with self._request(f"{self.url}{name}/", headers, frozenset()) as response:
            if response.status == 304 and etag:
                return NotModified()
            response.check(f"project {name}")
            body = response.body(PAGE_LIMIT, deadline)
            return msgspec.structs.replace(parse_page(name, body, response.url), etag=response.etag)

    def projects(self) -> tuple[NormalizedName, ...]:
        """The names that its list of projects tells, sorted. NotFound where it has no such list, Unavailable."""
        deadline = time.monotonic() + self.timeouts.page
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        with self._request(self.url, headers, frozenset()) as response:
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
        (status 200), and is if `etag` is no longer the file's (If-Range). NotFound, Unavailable.
        """
        headers = {"Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}" if start < 0 else f"bytes={start}-{'' if stop is None else stop - 1}"
            if etag:
                headers["If-Range"] = etag
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
        for manager in (self._direct, *self._proxied.values()):
            manager.clear()

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
        """One request; again (GET is safe) where it broke off before any answer, as a kept connection may."""
        sent = {"User-Agent": f"caseus/{__version__}"} | dict(headers)
        if self._authorization and origin == self.origin:
            sent["Authorization"] = self._authorization
        url = without_userinfo(url)
        with told(url):
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return Response(self._send(url, origin, sent), url, clock=self._clock)
                except (ProtocolError, NewConnectionError) as error:
                    if attempt == _ATTEMPTS or isinstance(error, NameResolutionError):
                        raise
        raise AssertionError("unreachable")

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
        pool = self._direct.connection_from_host(origin.host, origin.port, origin.scheme)
        return pool.urlopen("GET", request_target(url), **options)

    def _proxy_for(self, origin: Origin) -> urllib3.ProxyManager | None:
        """The configured proxy for the origin. It resolves names itself, so that addresses can't be judged here."""
        address = self._proxies.get(origin.scheme) or self._proxies.get("all")
        if not address or urllib.request.proxy_bypass_environment(origin.authority, self._proxies):  # type: ignore[attr-defined]
            return None
        with self._guard:
            if address not in self._proxied:
                self._proxied[address] = self._proxy_manager(address)
                log.warning(
                    "behind a proxy only names and schemes of what an upstream links are checked, not addresses",
                    upstream=self.name,
                    proxy=shown(address),
                )
            return self._proxied[address]

    def _proxy_manager(self, address: str) -> urllib3.ProxyManager:
        address = address if "://" in address else f"http://{address}"
        parts = urlsplit(address)
        headers = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = urllib3.make_headers(proxy_basic_auth=pair)
        try:
            return urllib3.ProxyManager(without_userinfo(address), proxy_headers=headers, **self._pool_options)
        except ProxySchemeUnknown:
            raise Unavailable(
                "the configured proxy can't be used: give it as http://HOST:PORT or https://HOST:PORT", kind="upstream"
            ) from None
