"""TLS of our own, without a proxy: pip, uv, twine, curl and openssl."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.certificates import Certificates
from support.clients import Shell, ask, installed, tool, write
from support.openssl import s_client
from support.packages import make_wheel, sha256
from support.raw import LIVE
from support.raw import ask as raw_ask
from support.server import CaseusServer

FILE = make_wheel("acme-app", "1.0", files={"padding": random.Random(1).randbytes(5_000_000)}, compress=False)


class Secure(NamedTuple):
    server: CaseusServer
    ca: Path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    certificates = Certificates(folder / "tls", "localhost")
    cert, key = certificates.files()
    flags = ("--host", "localhost", "--tls-cert", str(cert), "--tls-key", str(key))
    with CaseusServer(folder / "root", flags=flags) as server:
        yield Secure(server, certificates.ca)


def curl(secure: Secure, *arguments: str) -> Any:
    """Of each URL the figures of curl's `--write-out '%{json}'`."""
    command = ["curl", "--silent", "--show-error", "--cacert", str(secure.ca), "--write-out", "%{json}\n", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_twine_publishes_and_pip_and_uv_install(secure: Secure, shell: Shell, tmp_path: Path) -> None:
    server, ca = secure
    assert server.url.startswith("https://localhost:")
    files = write(tmp_path / "dist", FILE)
    user, password = server.admin
    login = {"TWINE_USERNAME": user, "TWINE_PASSWORD": password, "TWINE_CERT": str(ca)}
    shell.run(tool("twine"), "upload", "--repository-url", f"{server.url}legacy/", *files, env=login).ok()
    for client, variable in (("pip", "PIP_CERT"), ("uv", "SSL_CERT_FILE")):
        shell.env[variable] = str(ca)
        shell.install(client, f"{server.url}simple/", "acme-app", into=tmp_path / client).ok()
        assert installed(tmp_path / client) == {"acme-app": "1.0"}
    answer = ask(f"{server.url}simple/acme-app/{FILE[0]}", ca=ca)
    assert (answer.status, sha256(answer.body)) == (200, sha256(FILE[1]))


def test_pip_does_not_trust_a_stranger(secure: Secure, shell: Shell, tmp_path: Path) -> None:
    refused = shell.install("pip", f"{secure.server.url}simple/", "acme-app", into=tmp_path / "site").failed()
    assert "certificate verify failed" in refused.words.lower()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_connection_is_kept_for_the_next_request(secure: Secure, version: str) -> None:
    url = f"{secure.server.url}livez"
    figures = curl(secure, f"--tlsv{version}", "--tls-max", version, url, url, url)
    assert [(each["response_code"], each["num_connects"]) for each in figures] == [(200, 1), (200, 0), (200, 0)]


def test_http_2_is_not_offered(secure: Secure) -> None:
    (figures,) = curl(secure, "--http2", f"{secure.server.url}livez")
    assert figures["http_version"] == "1.1"


def test_versions_of_tls(secure: Secure) -> None:
    port = secure.server.port
    assert "New, TLSv1.3" in s_client(port)
    assert "Verify return code: 0" in s_client(port, "-CAfile", str(secure.ca), "-servername", "localhost")
    assert "New, TLSv1.2, Cipher is ECDHE-ECDSA-" in s_client(port, "-tls1_2")
    assert "Cipher is (NONE)" in s_client(port, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")


def test_links_and_redirects_stay_on_https(secure: Secure) -> None:
    answer = ask(f"{secure.server.url}simple/Acme_App", ca=secure.ca)
    assert (answer.status, answer.headers["Location"]) == (301, "acme-app/")
    assert secure.server.url.encode() in ask(secure.server.url, ca=secure.ca).body


def test_plain_http_to_the_port_of_tls_harms_nobody(secure: Secure) -> None:
    with pytest.raises((ConnectionError, AssertionError)):
        raw_ask(secure.server.port, LIVE)
    assert ask(f"{secure.server.url}livez", ca=secure.ca).status == 200
    assert "Traceback" not in secure.server.log


def test_the_doctor_finds_the_server_that_runs_here(secure: Secure, tmp_path: Path) -> None:
    server, ca = secure
    (server.root / "caseus.toml").write_text(
        f'host = "localhost"\nport = {server.port}\nupstream = "none"\ntls_cert = "{tmp_path}/any.pem"\n'
    )
    done = subprocess.run(
        [*server.command[:3], "doctor", "--root", str(server.root), "--json"],
        env=os.environ | {"SSL_CERT_FILE": str(ca)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    (server.root / "caseus.toml").unlink()
    report = json.loads(done.stdout)
    assert report["url"] == f"{server.url}simple/"
    (finding,) = (finding for finding in report["findings"] if finding["check"] == "TLS")
    assert finding["result"] == "warn" and "day" in finding["detail"]  # it is a young one: nothing else is wrong
