"""Whom an upstream's words may make us contact: tried with a canary that must never be asked."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ProtocolError

from caseus.errors import Unavailable
from caseus.names import normalize
from caseus.upstream import Origin, Page, Timeouts, Upstream
from caseus.upstream.contact import Contact
from caseus.upstream.tls import Tls
from caseus.upstream.urls import origin_of
from support.packages import make_wheel
from support.upstream import FakeUpstream, Fault

ALPHA = normalize("alpha")
WHEEL = make_wheel("alpha", "1.0")
OWN = Origin("https", "pkgs.example.com", 443)
LINKED = Origin("https", "files.example.com", 443)


def resolver(**hosts: Sequence[str]) -> Callable[[str], Sequence[str]]:
    """Answers for the first label of a host; nobody else is known."""

    def resolve(host: str) -> Sequence[str]:
        try:
            return hosts[host.partition(".")[0]]
        except KeyError:
            raise socket.gaierror(socket.EAI_NONAME, "unknown") from None

    return resolve


@pytest.fixture
def canary() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": [WHEEL]}) as server:
        yield server
        assert server.requests == []


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": [WHEEL]}) as server:
        yield server


class TestSchemesAndNames:
    def test_what_is_allowed(self) -> None:
        contact = Contact(OWN)
        for url in ("https://pkgs.example.com/a", "https://PKGS.example.com:443/b", "https://files.example.com/c"):
            contact.check(url, {LINKED})

    @pytest.mark.parametrize(
        "url",
        [
            "http://pkgs.example.com/a",
            "https://pkgs.example.com:444/a",
            "https://other.example.com/a",
            "http://files.example.com/a",
            "https://files.example.com:8443/a",
            "https://files.example.com@other.example.com/",
            "https://files.example.com\\@other.example.com/",
            "ftp://files.example.com/a",
            "file:///etc/passwd",
            "gopher://files.example.com/",
            "//files.example.com/a",
            "https://",
        ],
    )
    def test_what_is_not(self, url: str) -> None:
        with pytest.raises(Unavailable) as caught:
            Contact(OWN).check(url, {LINKED})
        assert caught.value.kind == "upstream"

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.1.2.3", "169.254.169.254"])
    def test_literal_addresses_are_judged_before_any_connection(self, host: str) -> None:
        url = f"https://{host}/a"
        with pytest.raises(Unavailable, match="private or reserved"):
            Contact(OWN, resolver(pkgs=["192.0.2.1"][:0])).check(url, {origin_of(url)})


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "0.0.0.0",
            "0.1.2.3", "::", "169.254.169.254", "fe80::1", "fe80::1%1", "224.0.0.1", "ff02::1",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("own", ["10.0.0.1", "127.0.0.1", "8.8.8.8"])
    def test_never_for_others(self, address: str, own: str) -> None:
        contact = Contact(OWN, resolver(pkgs=[own], files=[address]))
        with pytest.raises(Unavailable):
            contact.addresses(LINKED)

    @pytest.mark.parametrize(
        "address", ["10.0.0.2", "192.168.1.1", "172.16.0.1", "203.0.113.9", "100.64.0.1", "fd00::1"]
    )
    def test_reserved_ones_only_where_the_https_upstream_is_on_one(self, address: str) -> None:
        with pytest.raises(Unavailable):
            Contact(OWN, resolver(pkgs=["8.8.8.8"], files=[address])).addresses(LINKED)
        with pytest.raises(Unavailable):
            Contact(OWN, resolver(files=[address])).addresses(LINKED)
        plain = Contact(Origin("http", "pkgs.example.com", 80), resolver(pkgs=["203.0.113.7"], files=[address]))
        with pytest.raises(Unavailable):
            plain.addresses(LINKED)
        allowed = Contact(OWN, resolver(pkgs=["203.0.113.7"], files=[address]))
        assert allowed.addresses(LINKED) == [address]

    def test_public_ones_and_the_upstreams_own(self) -> None:
        contact = Contact(OWN, resolver(pkgs=["127.0.0.1"], files=["8.8.8.8", "2001:4860:4860::8888"]))
        assert contact.addresses(LINKED) == ["8.8.8.8", "2001:4860:4860::8888"]
        assert contact.addresses(OWN) == ["127.0.0.1"]

    def test_one_bad_answer_condemns_the_name(self) -> None:
        with pytest.raises(Unavailable):
            Contact(OWN, resolver(files=["8.8.8.8", "127.0.0.1"])).addresses(LINKED)

    def test_a_decimal_host_is_judged_by_what_it_resolves_to(self) -> None:
        decimal = origin_of("https://2130706433/")
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
            Contact(OWN).addresses(decimal)


class TestCanary:
    def test_a_link_to_another_port(self, upstream: FakeUpstream, canary: FakeUpstream) -> None:
        client = Upstream(upstream.url)
        for url in (canary.url, canary.url.replace("http", "https"), canary.url.replace("127.0.0.1", "2130706433")):
            with pytest.raises(Unavailable):
                client.fetch(url, frozenset({origin_of(url)}))
        client.close()

    @pytest.mark.parametrize("what", ["page", "file"])
    def test_a_redirect(self, upstream: FakeUpstream, canary: FakeUpstream, what: str) -> None:
        upstream.fail(Fault("redirect", url=f"{canary.origin}/simple/alpha/"))
        client = Upstream(upstream.url)
        with pytest.raises(Unavailable, match="not contacted"):
            client.page(ALPHA) if what == "page" else client.fetch(f"{upstream.origin}/files/alpha/{WHEEL[0]}")
        assert len(upstream.requests) == 1
        client.close()

    def test_a_name_that_changes_its_mind(self, canary: FakeUpstream) -> None:
        """DNS rebinding: the first answer is public, any later one would be the canary."""
        answers = iter([["8.8.8.8", "127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"]])
        client = Upstream("https://pkgs.example.com/simple/", resolve=lambda host: next(answers))
        url = f"https://files.example.com:{origin_of(canary.url).port}/x"
        with pytest.raises(Unavailable, match="private or reserved"):
            client.fetch(url, frozenset({origin_of(url)}))
        client.close()

    def test_credentials_stay_at_home(self, upstream: FakeUpstream) -> None:
        client = Upstream(upstream.url.replace("http://", "http://user:secret@"))
        assert isinstance(client.page(ALPHA), Page)
        assert upstream.requests[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
        assert "secret" not in client.url + client.name
        upstream.down()
        with pytest.raises(Unavailable) as caught:
            client.page(ALPHA)
        assert "secret" not in str(caught.value)
        client.close()

    def test_credentials_go_to_no_other_origin(self) -> None:
        sent: dict[str, bool] = {}

        class Recording(Upstream):
            def _send(self, url: str, origin: Origin, headers: dict[str, str]) -> BaseHTTPResponse:
                sent[url] = "Authorization" in headers
                raise ProtocolError("recorded")

        client = Recording("https://user:secret@pkgs.example.com/simple/", proxies={})
        for url in ("https://pkgs.example.com/a", "https://files.example.com/b"):
            with pytest.raises(Unavailable):
                client.fetch(url, frozenset({LINKED}))
        client.close()
        assert sent == {"https://pkgs.example.com/a": True, "https://files.example.com/b": False}

    def test_circles_end(self, upstream: FakeUpstream) -> None:
        upstream.fail(Fault("redirect", url="/simple/alpha/"))
        client = Upstream(upstream.url)
        with pytest.raises(Unavailable, match="circles"):
            client.page(ALPHA)
        assert len(upstream.requests) == 6
        client.close()

    def test_redirects_at_home_are_followed(self, upstream: FakeUpstream) -> None:
        upstream.fail(Fault("redirect", url=f"{upstream.origin}/simple/alpha/"), "/old/alpha/")
        client = Upstream(f"{upstream.origin}/old/")
        page = client.page(ALPHA)
        assert isinstance(page, Page)
        assert page.files[0].url == upstream.origin + upstream.file_path("alpha", WHEEL[0])
        client.close()


class TestProxies:
    def test_names_are_still_checked_and_the_log_says_what_is_not(
        self, upstream: FakeUpstream, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The upstream plays the proxy here: it gets the whole URL and sees that nobody resolved the name."""
        proxies = {"http": upstream.origin}
        client = Upstream("http://pkgs.example.com/simple/", proxies=proxies, resolve=resolver())
        assert isinstance(client.page(ALPHA), Page)
        client.page(ALPHA)
        with pytest.raises(Unavailable, match="not contacted"):
            client.fetch("http://other.example.com/files/alpha/x")
        with pytest.raises(Unavailable, match="private or reserved"):
            client.fetch("https://10.0.0.1/x", frozenset({origin_of("https://10.0.0.1/")}))
        assert capsys.readouterr().out.count("behind a proxy") == 1
        assert upstream.requests[0].headers["host"] == "pkgs.example.com"
        client.close()

    def test_no_proxy(self, upstream: FakeUpstream, canary: FakeUpstream) -> None:
        client = Upstream(upstream.url, proxies={"http": canary.origin, "no": "127.0.0.1"})
        assert isinstance(client.page(ALPHA), Page)
        client.close()

    def test_the_environment_is_read(
        self, upstream: FakeUpstream, canary: FakeUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", canary.origin)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        client = Upstream(upstream.url)
        assert isinstance(client.page(ALPHA), Page)
        client.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=pkgs.example.com", "-addext", "subjectAltName=DNS:pkgs.example.com",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


class TestTls:
    """One connection to a loopback listener that speaks TLS: which name it is asked for, and by which it is known."""

    @pytest.mark.parametrize("host", ["pkgs.example.com", "files.example.com"])
    def test_the_checked_address_is_verified_by_name(self, certificate: tuple[Path, Path], host: str) -> None:
        key, cert = certificate
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(cert, key)
        asked: list[str | None] = []
        server.sni_callback = lambda _socket, name, _context: asked.append(name)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=_serve_once, args=(listener, server))
            thread.start()
            client = Upstream(
                f"https://{host}:{listener.getsockname()[1]}/simple/",
                resolve=lambda _host: ["127.0.0.1"],
                tls=Tls(ca=cert),
                timeouts=Timeouts(read=5),
                proxies={},
            )
            if host == "pkgs.example.com":
                assert client.page(ALPHA) == Page(files=(), versions=())
            else:
                with pytest.raises(Unavailable, match="no certificate"):
                    client.page(ALPHA)
            client.close()
            thread.join()
        assert asked == [host]


def _serve_once(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65_536)
            tls.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{"files":[]}')
    except ssl.SSLError:
        connection.close()
