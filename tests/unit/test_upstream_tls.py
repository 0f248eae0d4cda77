"""TLS to an upstream: its own authority, a client certificate, pinned keys; and whom none of it is meant for."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from caseus.errors import Invalid, Unavailable
from caseus.names import normalize
from caseus.upstream import Page, Timeouts, Upstream
from caseus.upstream.contact import Contact
from caseus.upstream.credentials import Credentials, Pair
from caseus.upstream.tls import Tls, make_context, parse_pin, public_key
from caseus.upstream.urls import origin_of
from support.certificates import Certificates
from support.packages import make_wheel
from support.upstream import FakeUpstream

ALPHA = normalize("alpha")
HOST = "upstream.test"
WHEEL = make_wheel("alpha", "1.0")
TIMEOUTS = Timeouts(connect=30, read=30, page=60)


def openssl(*arguments: str | Path, data: bytes | None = None) -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=True).stdout


def spki(certificate: Path) -> bytes:
    """The key of a PEM certificate, as openssl sees it."""
    return openssl("pkey", "-pubin", "-outform", "der", data=openssl("x509", "-in", certificate, "-pubkey", "-noout"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"), HOST)


CLIENTS: list[Upstream] = []


@pytest.fixture(autouse=True)
def closing_clients() -> Iterator[None]:
    yield
    while CLIENTS:
        CLIENTS.pop().close()


class TlsUpstream(FakeUpstream):
    """Speaks TLS; each connection shakes hands in its own thread, when it is first read from."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__({"alpha": [WHEEL]})
        self._context = context

    def up(self) -> None:
        super().up()
        assert self._server is not None
        plain = self._server.socket  # the same descriptor stays the one that is waited on
        self._server.socket = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)


Listen = Callable[[ssl.SSLContext], TlsUpstream]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Starts servers."""
    with ExitStack() as stack:
        yield lambda context: stack.enter_context(TlsUpstream(context))


def client_of(port: int, tls: Tls, **more: object) -> Upstream:
    upstream = Upstream(
        f"https://{HOST}:{port}/simple/",
        tls=tls,
        timeouts=TIMEOUTS,
        resolve=lambda host: ["127.0.0.1"],
        **{"proxies": {}, **more},  # type: ignore[arg-type]
    )
    CLIENTS.append(upstream)
    return upstream


def wanting_certificates(certificates: Certificates, context: ssl.SSLContext) -> ssl.SSLContext:
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class TestAuthority:
    def test_of_the_upstreams_own(self, listen: Listen, certificates: Certificates) -> None:
        client = client_of(listen(certificates.good()).port, Tls(ca=certificates.ca))
        assert isinstance(client.page(ALPHA), Page)

    @pytest.mark.parametrize("kind", ["untrusted", "wrong_name", "expired"])
    def test_no_other(self, listen: Listen, certificates: Certificates, kind: str) -> None:
        server = listen(getattr(certificates, kind)())
        client = client_of(server.port, Tls(ca=certificates.ca))
        with pytest.raises(Unavailable, match="no certificate that this machine trusts"):
            client.page(ALPHA)
        assert server.requests == []

    def test_it_replaces_the_systems(self, certificates: Certificates) -> None:
        assert len(make_context(Tls(ca=certificates.ca), own=True).get_ca_certs()) == 1

    def test_files_that_are_none(self, tmp_path: Path, certificates: Certificates) -> None:
        junk = tmp_path / "junk.pem"
        junk.write_text("junk")
        for tls, told in (
            (Tls(ca=tmp_path / "absent.pem"), "ca: .*No such file"),
            (Tls(ca=junk), "ca: .*can't be used"),
            (Tls(client_cert=junk), "client_cert: .*can't be used"),
            (Tls(client_cert=certificates.client()[0]), "client_cert: .*can't be used"),  # without a key
        ):
            with pytest.raises(Invalid, match=told):
                make_context(tls, own=True)

    def test_a_key_with_a_password_asks_nobody(self, tmp_path: Path, certificates: Certificates) -> None:
        cert, key = certificates.client()
        locked = tmp_path / "locked.key"
        openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
        with pytest.raises(Invalid, match="without a password"):
            make_context(Tls(client_cert=cert, client_key=locked), own=True)


class TestClientCertificate:
    def test_it_is_shown(self, listen: Listen, certificates: Certificates) -> None:
        server = listen(wanting_certificates(certificates, certificates.good()))
        with pytest.raises(Unavailable):
            client_of(server.port, Tls(ca=certificates.ca)).page(ALPHA)
        assert server.requests == []
        cert, key = certificates.client()
        client = client_of(server.port, Tls(ca=certificates.ca, client_cert=cert, client_key=key))
        assert isinstance(client.page(ALPHA), Page)

    def test_neither_it_nor_credentials_go_to_another_origin(
        self,
        listen: Listen,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A host that the page links: on loopback, which is only let through here."""
        monkeypatch.setattr(Contact, "_check_address", lambda *_: None)
        cert, key = certificates.client()
        own = listen(wanting_certificates(certificates, certificates.good()))
        linked = listen(certificates.good())
        client = client_of(
            own.port,
            Tls(ca=certificates.ca, client_cert=cert, client_key=key),
            credentials=Credentials(lambda: Pair("user", "secret")),
        )
        assert isinstance(client.page(ALPHA), Page)
        assert "authorization" in own.requests[-1].headers
        url = f"https://{HOST}:{linked.port}{linked.file_path('alpha', WHEEL[0])}"
        with client.fetch(url, frozenset({origin_of(url)})) as response:
            assert response.body(1 << 20) == WHEEL[1]
        assert "authorization" not in linked.requests[-1].headers
        stranger = client_of(linked.port, Tls(ca=certificates.ca, client_cert=cert, client_key=key))
        url = f"https://{HOST}:{own.port}{own.file_path('alpha', WHEEL[0])}"
        before = len(own.requests)
        with pytest.raises(Unavailable):  # its origin asks for a certificate, and gets none
            stranger.fetch(url, frozenset({origin_of(url)}))
        assert len(own.requests) == before


class TestPins:
    def test_one_of_the_keys_must_be_there(self, listen: Listen, certificates: Certificates) -> None:
        server = listen(certificates.good())
        right = hashlib.sha256(spki(certificates.ca.with_name("good.pem"))).digest()
        tls = Tls(ca=certificates.ca, pins=frozenset({bytes(32), right}))
        client = client_of(server.port, tls)
        assert isinstance(client.page(ALPHA), Page)
        server.forget()
        other = client_of(server.port, Tls(ca=certificates.ca, pins=frozenset({bytes(32)})))
        with pytest.raises(Unavailable, match="another key than spki_sha256 names"):
            other.page(ALPHA)
        assert server.requests == []

    def test_a_pin_is_no_substitute_for_trust(self, listen: Listen, certificates: Certificates) -> None:
        server = listen(certificates.untrusted())
        pin = hashlib.sha256(spki(certificates.ca.with_name("untrusted.pem"))).digest()
        with pytest.raises(Unavailable, match="no certificate that this machine trusts"):
            client_of(server.port, Tls(ca=certificates.ca, pins=frozenset({pin}))).page(ALPHA)

    @pytest.mark.parametrize("key", ["rsa:2048", "ec", "ed25519"])
    def test_the_key_is_found_in_certificates_of_all_kinds(self, tmp_path: Path, key: str) -> None:
        cert = tmp_path / "cert.pem"
        curve = ("-pkeyopt", "ec_paramgen_curve:prime256v1") if key == "ec" else ()
        openssl("req", "-x509", "-newkey", key, *curve, "-nodes", "-subj", "/CN=x", "-keyout", tmp_path / "k",
                "-out", cert)  # fmt: skip
        assert public_key(openssl("x509", "-in", cert, "-outform", "der")) == spki(cert)

    def test_junk_is_no_certificate(self) -> None:
        for data in (b"", b"0", b"0\x84\xff\xff\xff\xff", b"\x30\x03\x30\x01\x00"):
            with pytest.raises((ValueError, IndexError, StopIteration)):
                public_key(data)

    def test_how_pins_are_written(self) -> None:
        digest = hashlib.sha256(b"key").digest()
        coded = base64.b64encode(digest).decode()
        for text in (digest.hex(), digest.hex().upper(), coded, f"sha256//{coded}", f" sha256/{coded} "):
            assert parse_pin(text) == digest
        for text in ("", "sha256//", coded[:-4], digest.hex()[:-2], "§" * 44):
            with pytest.raises(ValueError, match="no sha256 of a key"):
                parse_pin(text)


class ConnectProxy:
    """An HTTP proxy that relays CONNECT to one port, whatever name it is asked for; `heads` are what it was told."""

    def __init__(self, target: int) -> None:
        self.heads: list[bytes] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                head = b""
                while b"\r\n\r\n" not in head:
                    head += near.recv(65_536)
                self.heads.append(head)
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                far = socket.create_connection(("127.0.0.1", self._target))
                for source, target in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=_pump, args=(source, target)))
                    self._threads[-1].start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    source.close()


class TestThroughAProxy:
    def test_certificate_and_pins_go_through_the_tunnel(self, listen: Listen, certificates: Certificates) -> None:
        cert, key = certificates.client()
        server = listen(wanting_certificates(certificates, certificates.good()))
        right = hashlib.sha256(spki(certificates.ca.with_name("good.pem"))).digest()
        credentials = Credentials(lambda: Pair("user", "secret"))
        with closing(ConnectProxy(server.port)) as proxy:
            told = {"https": f"http://proxyuser:proxysecret@127.0.0.1:{proxy.port}"}
            for pin, good in ((right, True), (bytes(32), False)):
                tls = Tls(certificates.ca, cert, key, frozenset({pin}))
                client = client_of(443, tls, proxies=told, credentials=credentials)
                if good:
                    assert isinstance(client.page(ALPHA), Page)
                else:
                    with pytest.raises(Unavailable, match="another key"):
                        client.page(ALPHA)
                client.close()
        assert len(server.requests) == 1
        assert server.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"user:secret").decode()
        coded = base64.b64encode(b"proxyuser:proxysecret")
        assert all(head.startswith(b"CONNECT upstream.test:443 ") and coded in head for head in proxy.heads)
        assert not any(b"\r\nAuthorization" in head or b"\r\nauthorization" in head for head in proxy.heads)
