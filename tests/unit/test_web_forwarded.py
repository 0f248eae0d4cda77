"""X-Forwarded-* counts only from trusted proxies."""

from __future__ import annotations

import pytest

from caseus.web.forwarded import UNIX, Origin, TrustedProxies, valid_host

HEADERS = {
    "host": "inner:8080",
    "x-forwarded-for": "6.6.6.6, 203.0.113.9, 10.0.0.2",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "pkgs.example.com",
}


def test_a_stranger_is_not_believed() -> None:
    trusted = TrustedProxies(["10.0.0.0/8"])
    assert trusted.origin("203.0.113.5", "http", HEADERS) == Origin("203.0.113.5", "http", "inner:8080", trusted=False)
    assert TrustedProxies([]).origin("10.0.0.1", "http", HEADERS).client == "10.0.0.1"


def test_a_trusted_proxy_is_believed_up_to_the_first_unknown_hop() -> None:
    trusted = TrustedProxies(["10.0.0.0/8", "::1"])
    assert trusted.origin("10.0.0.1", "http", HEADERS) == Origin(
        "203.0.113.9", "https", "pkgs.example.com", trusted=True
    )


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("203.0.113.9:5555", "203.0.113.9"),
        ("[2001:db8::7]:1234", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ],
)
def test_chains(chain: str, client: str) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).origin("10.0.0.1", "http", {"x-forwarded-for": chain}).client == client


def test_a_mapped_address_is_its_own() -> None:
    assert "::ffff:10.0.0.1" in TrustedProxies(["10.0.0.0/8"])
    assert "testclient" not in TrustedProxies(["0.0.0.0/0"])


def test_odd_schemes_and_hosts_are_ignored() -> None:
    headers = {"host": "inner", "x-forwarded-proto": "javascript", "x-forwarded-host": 'a"><script>'}
    assert TrustedProxies(["10.0.0.1"]).origin("10.0.0.1", "http", headers) == Origin(
        "10.0.0.1", "http", "inner", trusted=True
    )


@pytest.mark.parametrize("host", ["a", "a.b-c.example", "127.0.0.1:80", "[::1]", "[::1]:8080", "pkgs.example.com."])
def test_hosts(host: str) -> None:
    assert valid_host(host) == host


@pytest.mark.parametrize(
    "host", [None, "", "a b", "a/b", "a@b", "a:b", "-a", "a..b", "a:123456", "a\n", "<a>", "[::1", "a, b", "x" * 300]
)
def test_no_hosts(host: str | None) -> None:
    assert valid_host(host) is None


def test_whoever_connects_by_a_unix_socket_is_believed_only_if_told() -> None:
    assert TrustedProxies(["10.0.0.0/8"]).origin(UNIX, "http", HEADERS).client == UNIX
    assert TrustedProxies(["10.0.0.0/8", "unix"]).origin(UNIX, "http", HEADERS).client == "203.0.113.9"
    assert TrustedProxies(["unix"]) and TrustedProxies(["::1"]) and not TrustedProxies([])
    assert "" not in TrustedProxies(["unix"])  # a TCP client that is gone already
