"""Whom we may contact on an upstream's behalf, and connections to nobody else.

An upstream's pages and redirects are words of a stranger. What they name is contacted only if it is the upstream's own
origin, or https to an origin that its page links; and an address in private or reserved ranges only if it is the
upstream's own origin's, or if the upstream is https and itself has such an address (some networks map the public index
to one). The name is resolved once, the answers are judged, and the connection goes to a judged address: between check
and use no second look-up can answer otherwise (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Collection

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from caseus.errors import Invalid, Unavailable
from caseus.upstream import deadline
from caseus.upstream.deadline import Resolve
from caseus.upstream.tls import WrongKey, check_pin
from caseus.upstream.urls import Origin, origin_of, shown

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")  # Linux connects 0.0.0.0 to itself
_TRIED = 4  # addresses of one host


def resolve_host(host: str) -> list[str]:
    """By the system's resolver."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class NotContacted(Unavailable):
    """Refused by the rules above: to ask again is no use."""


class Contact:
    """Judges URLs and addresses for one upstream; `own` is its origin."""

    def __init__(self, own: Origin, resolve: Resolve = resolve_host) -> None:
        self.own = own
        self._resolve = resolve

    def check(self, url: str, linked: Collection[Origin]) -> Origin:
        """The URL's origin if its scheme, name or literal address may be contacted, else Unavailable."""
        try:
            origin = origin_of(url)
        except Invalid as error:
            raise NotContacted(f"the upstream {self.own.authority} links what is {error}", kind="upstream") from None
        if origin != self.own and not (origin.scheme == "https" and origin in linked):
            raise NotContacted(
                f"the upstream {self.own.authority} leads to {shown(url)}, which is neither its own origin nor an "
                "https host that its page links: not contacted",
                kind="upstream",
            )
        try:
            literal = ipaddress.ip_address(origin.host)
        except ValueError:
            return origin
        self._check_address(origin, literal)
        return origin

    def addresses(self, origin: Origin) -> list[str]:
        """The host's addresses, if every one may be contacted, else Unavailable. OSError from the look-up."""
        addresses = list(self._resolve(origin.host))
        for address in addresses:
            self._check_address(origin, ipaddress.ip_address(address))
        return addresses

    def _of_proxy(self, host: str) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            return list(self._resolve(host))

    def _check_address(self, origin: Origin, address: Address) -> None:
        if origin != self.own and not self._permits(_unwrap(address)):
            raise NotContacted(
                f"the upstream {self.own.authority} leads to {origin.authority}, which has the private or reserved "
                f"address {address}: not contacted",
                kind="upstream",
            )

    def _permits(self, address: Address) -> bool:
        if address.is_multicast:
            return False
        if address.is_global:
            return True
        if address.is_loopback or address.is_link_local or address.is_unspecified or address in _THIS_NETWORK:
            return False
        return self.own.scheme == "https" and self._own_is_reserved()

    def _own_is_reserved(self) -> bool:
        try:
            addresses = self._resolve(self.own.host)
        except OSError:
            return False
        return any(not _unwrap(ipaddress.ip_address(address)).is_global for address in addresses)

    def connect(self, origin: Origin, connection: HTTPConnection, *, judged: bool = True) -> socket.socket:
        """A socket to a judged address of the origin, in place of urllib3's own; to a configured proxy, to any."""
        failure: OSError = OSError("the host has no address")
        timeout = connection.timeout if isinstance(connection.timeout, int | float) else None
        try:
            addresses = self.addresses(origin) if judged else self._of_proxy(origin.host)
        except TimeoutError as error:
            addresses, failure = [], error
        except OSError as error:
            raise NameResolutionError(origin.host, connection, _as_gaierror(error)) from error
        for address in addresses[:_TRIED]:
            try:
                connected = deadline.connect(address, origin.port, timeout)
            except OSError as error:
                failure = error
                continue
            for option in connection.socket_options or ():
                connected.setsockopt(*option)
            return connected
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(connection, f"connecting to {origin.authority} took too long") from failure
        raise NewConnectionError(connection, failure.strerror or str(failure)) from failure


def _unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4, Teredo's client, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


def pooled(
    manager: PoolManager, contact: Contact, *, judged: bool = True, pins: frozenset[bytes] = frozenset()
) -> PoolManager:
    """The manager, whose connections now ask `contact` for every socket, and TLS ones for one of the pinned keys.

    Not `judged`: the sockets go to a configured proxy.
    """

    class ContactHTTPConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return contact.connect(_origin_of_connection("http", self), self, judged=judged)

    class ContactHTTPSConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return contact.connect(_origin_of_connection("https", self), self, judged=judged)

        def connect(self) -> None:
            super().connect()
            try:
                if pins and isinstance(self.sock, ssl.SSLSocket):
                    check_pin(self.sock, pins)  # before the request: its credentials are for the right server only
                elif pins:
                    raise WrongKey("behind a proxy that is spoken to over TLS no key can be seen")
            except BaseException:
                self.close()
                raise

    class ContactHTTPPool(HTTPConnectionPool):
        ConnectionCls = ContactHTTPConnection

    class ContactHTTPSPool(HTTPSConnectionPool):
        ConnectionCls = ContactHTTPSConnection

    manager.pool_classes_by_scheme = {"http": ContactHTTPPool, "https": ContactHTTPSPool}
    return manager


def _as_gaierror(error: OSError) -> socket.gaierror:
    return error if isinstance(error, socket.gaierror) else socket.gaierror(socket.EAI_FAIL, str(error))


def _origin_of_connection(scheme: str, connection: HTTPConnection) -> Origin:
    port = connection.port or (443 if scheme == "https" else 80)
    return Origin(scheme, connection.host.strip("[]").lower().rstrip("."), port)
