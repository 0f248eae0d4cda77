"""Who asks and by which address: X-Forwarded-* counts only where a trusted proxy says it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::[0-9]{1,5})?\Z"
)


UNIX = "unix"
"""Who connects by a unix socket, and has no address."""


class Origin(msgspec.Struct, frozen=True):
    """`client`: address, `unix` or ""; `host`: valid `name[:port]` or None; `trusted`: a trusted proxy handed it on."""

    client: str
    scheme: str
    host: str | None
    trusted: bool


def peer_of(client: Sequence[object] | None, server: Sequence[object] | None) -> str:
    """Who connected, by ASGI's words for both ends: an address, UNIX, or "" for a TCP client that is gone already."""
    if client:
        return str(client[0])
    return UNIX if server and server[1] is None else ""


class TrustedProxies:
    """Addresses and networks whose X-Forwarded-* headers are believed, and `unix`."""

    def __init__(self, networks: Iterable[str]) -> None:
        told = tuple(networks)
        self._unix = UNIX in told
        self.networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(net, strict=False) for net in told if net != UNIX
        )

    def __bool__(self) -> bool:
        """Whether anybody is believed."""
        return self._unix or bool(self.networks)

    def __contains__(self, address: str) -> bool:
        if address == UNIX:
            return self._unix
        if not self.networks:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self.networks)

    def origin(self, peer: str, scheme: str, headers: Mapping[str, str]) -> Origin:
        """The origin of a request; `headers` by lower-case names, repeated ones joined by commas.

        The client is the last address of the chain that no trusted proxy vouches for: what stands before it was
        written by the client itself.
        """
        host = valid_host(headers.get("host"))
        if peer not in self:
            return Origin(peer, scheme, host, trusted=False)
        client = peer
        for hop in reversed(_items(headers.get("x-forwarded-for"))):
            address = _address(hop)
            if address is None:
                break
            client = address
            if address not in self:
                break
        protocols = _items(headers.get("x-forwarded-proto"))
        if protocols and protocols[-1].lower() in ("http", "https"):
            scheme = protocols[-1].lower()
        hosts = _items(headers.get("x-forwarded-host"))
        return Origin(client, scheme, (valid_host(hosts[-1]) if hosts else None) or host, trusted=True)


def valid_host(host: str | None) -> str | None:
    """The Host if it is a name or address with an optional port, else None."""
    return host if host is not None and len(host) <= 260 and _HOST.match(host) else None


def _items(header: str | None) -> list[str]:
    return [item.strip() for item in (header or "").split(",") if item.strip()]


def _address(hop: str) -> str | None:
    bare = hop[1:].partition("]")[0] if hop.startswith("[") else hop
    if bare.count(":") == 1:  # some proxies add the port
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return None
