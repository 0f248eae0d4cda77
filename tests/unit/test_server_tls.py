"""Certificates and contexts, as OpenSSL's own client sees them."""

from __future__ import annotations

import pickle
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caseus.errors import Invalid
from caseus.server.tls import Certificate, Tls, read_certificate
from support.certificates import self_signed
from support.openssl import s_client


@contextmanager
def answering(tls: Tls) -> Iterator[int]:
    """A port where each client is told `hello` and no more."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with connection, tls.context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.sendall(b"hello")
                    wrapped.recv(1)
            except OSError:
                pass  # a client whose hello was refused

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_tls_1_2_and_1_3_and_nothing_older(tmp_path: Path) -> None:
    tls = Tls(read_certificate(*self_signed(tmp_path, "ecc")))
    with answering(tls) as port:
        assert "New, TLSv1.3" in s_client(port)
        assert "New, TLSv1.2, Cipher is ECDHE-ECDSA-" in s_client(port, "-tls1_2")
        assert "Cipher is (NONE)" in s_client(port, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        assert "Cipher is (NONE)" in s_client(port, "-tls1_2", "-cipher", "AES128-SHA")  # no forward secrecy
        assert "ALPN protocol: http/1.1" in s_client(port, "-alpn", "h2,http/1.1")


@pytest.mark.parametrize(("first", "second"), [("ecc", "rsa"), ("rsa", "ecc"), ("ecc", "ecc")])
@pytest.mark.parametrize("flags", [(), ("-tls1_2",), ("-noservername",), ("-servername", "pkgs.example.com")])
def test_a_replaced_certificate_is_the_only_one(
    tmp_path: Path, first: str, second: str, flags: tuple[str, ...]
) -> None:
    tls = Tls(read_certificate(*self_signed(tmp_path, "old", first)))
    with answering(tls) as port:
        assert "CN = old" in s_client(port, *flags)
        tls.replace(read_certificate(*self_signed(tmp_path, "new", second)))
        told = s_client(port, *flags)
        assert "CN = new" in told and "CN = old" not in told


def test_what_is_broken_is_refused_by_its_reason(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, "good")
    _, other_key = self_signed(tmp_path, "other")
    empty = tmp_path / "empty.pem"
    empty.touch()
    half = tmp_path / "half.pem"
    half.write_bytes(cert.read_bytes()[:200])
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked], check=True, capture_output=True
    )
    for broken, told in (
        ((cert, other_key), "the key is another certificate's"),
        ((empty, key), "not PEM"),
        ((half, key), "can't be used"),
        ((cert, None), "not PEM, or has no certificate or no key"),
        ((cert, locked), "password"),
        ((tmp_path / "absent.pem", key), "No such file"),
        ((cert, tmp_path / "absent.key"), "No such file"),
    ):
        with pytest.raises(Invalid, match=told):
            read_certificate(*broken)


def test_a_failed_replacement_leaves_the_old_one(tmp_path: Path) -> None:
    """OpenSSL itself takes the new certificate before it sees that the key does not fit."""
    tls = Tls(read_certificate(*self_signed(tmp_path, "old")))
    cert, _ = self_signed(tmp_path, "new")
    _, other_key = self_signed(tmp_path, "other")
    with answering(tls) as port:
        with pytest.raises(ssl.SSLError):
            tls.replace(Certificate(cert.read_bytes(), other_key.read_bytes()))
        assert "CN = old" in s_client(port)


def test_certificate_and_key_in_one_file(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, "both")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    with answering(Tls(read_certificate(both, None))) as port:
        assert "CN = both" in s_client(port)


def test_the_key_is_shown_nowhere_and_can_be_handed_on(tmp_path: Path) -> None:
    certificate = read_certificate(*self_signed(tmp_path, "good"))
    assert "PRIVATE" not in repr(certificate) and "PRIVATE" not in str([certificate])
    assert pickle.loads(pickle.dumps(certificate)) == certificate
