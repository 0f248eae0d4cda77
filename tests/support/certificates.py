"""Certificates for tests, made by openssl: good ones of a CA of our own, and bad ones."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_KEYS = {"ecc": _KEY, "rsa": ("-newkey", "rsa:2048", "-nodes")}


def self_signed(folder: Path, name: str, kind: str = "ecc", host: str = "localhost") -> tuple[Path, Path]:
    """PEM files of a certificate for `host` and 127.0.0.1 that vouches for itself, and of its key (`ecc` or `rsa`)."""
    cert, key = folder / f"{name}-{kind}.pem", folder / f"{name}-{kind}.key"
    _openssl("req", "-x509", *_KEYS[kind], "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert,
             "-addext", f"subjectAltName=DNS:{host},IP:127.0.0.1")  # fmt: skip
    return cert, key


class Certificates:
    """Made at the first use in `folder`. `ca` is the PEM file to trust."""

    def __init__(self, folder: Path, host: str) -> None:
        self._folder, self._host = folder, host
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = self._authority("ca")

    def good(self) -> ssl.SSLContext:
        return self._context("good", self.ca, self._host)

    def files(self) -> tuple[Path, Path]:
        """Certificate and key of the good one, for a server that reads them itself."""
        self.good()
        path = self._folder / "good.pem"
        return path, path.with_suffix(".key")

    def wrong_name(self) -> ssl.SSLContext:
        return self._context("wrong-name", self.ca, "elsewhere.test")

    def untrusted(self) -> ssl.SSLContext:
        """Of a CA that nobody knows."""
        return self._context("untrusted", self._authority("unknown"), self._host)

    def expired(self) -> ssl.SSLContext:
        return self._context("expired", self.ca, self._host, ("-days", "-1"))

    def client(self) -> tuple[Path, Path]:
        """PEM files of a certificate of the CA for a client, and of its key."""
        self._context("client", self.ca, "client.test")
        return self._folder / "client.pem", self._folder / "client.key"

    def _authority(self, name: str) -> Path:
        path = self._folder / f"{name}.pem"
        if not path.exists():
            extension = ("-addext", "keyUsage=critical,keyCertSign")
            _openssl("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", *extension,
                          "-keyout", path.with_suffix(".key"), "-out", path)  # fmt: skip
        return path

    def _context(self, name: str, ca: Path, host: str, days: tuple[str, ...] = ("-days", "2")) -> ssl.SSLContext:
        path, request = self._folder / f"{name}.pem", self._folder / f"{name}.csr"
        key, extensions = path.with_suffix(".key"), path.with_suffix(".ext")
        if not path.exists():
            extensions.write_text(f"subjectAltName=DNS:{host}\nauthorityKeyIdentifier=keyid\n")
            _openssl("req", "-new", *_KEY, "-subj", f"/CN={host}", "-keyout", key, "-out", request)
            signer = ("-CA", ca, "-CAkey", ca.with_suffix(".key"), "-CAcreateserial")
            _openssl("x509", "-req", "-in", request, *signer, "-extfile", extensions, "-out", path, *days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path, key)
        return context


def _openssl(*arguments: str | Path) -> None:
    assert shutil.which("openssl"), "openssl is missing: run `make test-deps`"
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
