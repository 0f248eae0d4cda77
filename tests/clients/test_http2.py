"""HTTP/2 by granian, over the same application: experimental."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.certificates import Certificates
from support.clients import Shell, ask, installed, tool, upload, upload_form, write
from support.faulty import until
from support.packages import make_wheel, sha256
from support.passwords import SHA256
from support.server import CaseusServer, clean_environment, run_cli
from support.workers import metric

LARGE = make_wheel("large", "1.0", files={"padding": random.Random(3).randbytes(50 << 20)}, compress=False)


class Secure(NamedTuple):
    server: CaseusServer
    ca: Path
    folder: Path


@pytest.fixture(scope="module", params=[1, 2])
def secure(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    certificates = Certificates(folder / "tls", "localhost")
    cert, key = certificates.files()
    (folder / "passwd").write_text(f"foo:{SHA256}\n")
    flags = ("--http2", "--host", "localhost", "--tls-cert", str(cert), "--tls-key", str(key))
    more = ("--workers", str(request.param), "--passwd", str(folder / "passwd"))
    with CaseusServer(folder / "root", flags=(*flags, *more)) as server:
        yield Secure(server, certificates.ca, folder)


def curl(secure: Secure, *arguments: str) -> tuple[bytes, str]:
    """The body, and the version of HTTP and the status."""
    command = ["curl", "--silent", "--show-error", "--cacert", str(secure.ca), "--max-time", "60"]
    said = ["--write-out", "%{stderr}%{http_version} %{http_code}"]
    done = subprocess.run([*command, *said, *arguments], capture_output=True, timeout=90, check=True)
    return done.stdout, done.stderr.decode()


def test_curl_speaks_http_2(secure: Secure) -> None:
    url = secure.server.url
    assert url.startswith("https://localhost:")
    assert curl(secure, "--http2", f"{url}livez") == (b"alive\n", "2 200")
    assert curl(secure, "--http2", "--tls-max", "1.2", f"{url}livez") == (b"alive\n", "2 200")
    assert curl(secure, "--http1.1", f"{url}livez") == (b"alive\n", "1.1 200")
    body, status = curl(secure, "--http2", f"{url}simple/nothing/")
    assert status == "2 404" and b"no project nothing here" in body
    assert secure.server.url.encode() in curl(secure, "--http2", url)[0]


def test_clients(secure: Secure, shell: Shell, tmp_path: Path) -> None:
    server, ca = secure.server, str(secure.ca)
    name = f"acme-{len(server.workers)}"
    files = write(tmp_path / "dist", make_wheel(name, "1.0"))
    login = {"TWINE_USERNAME": "foo", "TWINE_PASSWORD": "bar", "TWINE_CERT": ca}
    shell.run(tool("twine"), "upload", "--repository-url", f"{server.url}legacy/", *files, env=login).ok()
    for client, variable in (("pip", "PIP_CERT"), ("uv", "SSL_CERT_FILE")):
        shell.env[variable] = ca
        shell.install(client, f"{server.url}simple/", name, into=tmp_path / client).ok()
        assert installed(tmp_path / client) == {name: "1.0"}


def test_large_files_and_ranges(secure: Secure) -> None:
    server = secure.server
    assert upload(server.url, *LARGE, login=server.admin, ca=secure.ca).status == 200
    url = f"{server.url}simple/large/{LARGE[0]}"
    assert sha256(curl(secure, "--http2", url)[0]) == sha256(LARGE[1])
    assert curl(secure, "--http2", "--range", "1000-1999", url) == (LARGE[1][1000:2000], "2 206")


def test_a_reload_changes_users_and_tells_of_the_certificate(secure: Secure, tmp_path: Path) -> None:
    server = secure.server
    before = server.log.count('"event": "reloaded"')
    cert = secure.folder / "tls" / "good.pem"
    kept, passwd = cert.read_bytes(), (secure.folder / "passwd").read_text()
    cert.write_bytes(kept + b"\n")
    (secure.folder / "passwd").write_text(passwd.replace("foo", "fox"))
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    until(lambda: server.log.count('"event": "reloaded"') == before + (len(server.workers) or 1))
    assert "with http2 a new certificate is taken at a restart only" in server.log
    file = make_wheel("never", "1.0")
    assert upload(server.url, *file, login=("foo", "bar"), ca=secure.ca).status == 401
    assert metric(server, "caseus_reload_success", secure.ca) == 1
    cert.write_bytes(kept)
    (secure.folder / "passwd").write_text(passwd)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: server.log.count('"event": "reloaded"') == before + 2 * (len(server.workers) or 1))


def test_an_upload_that_runs_is_finished(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls", "localhost")
    cert, key = certificates.files()
    flags = ("--http2", "--host", "localhost", "--tls-cert", str(cert), "--tls-key", str(key))
    body, kind = upload_form(*LARGE)
    (tmp_path / "body").write_bytes(body)
    with CaseusServer(tmp_path / "root", flags=flags) as server:
        sent = ["--data-binary", f"@{tmp_path}/body", "--header", f"Content-Type: {kind}", "--limit-rate", "20M"]
        login = ["--user", ":".join(server.admin), "--cacert", str(certificates.ca)]
        said = ["--write-out", "%{http_version} %{http_code}", "--output", str(tmp_path / "answer")]
        process = subprocess.Popen(
            ["curl", "--silent", "--http2", *sent, *login, *said, f"{server.url}legacy/"], stdout=subprocess.PIPE
        )
        staged = server.root / ".incoming"
        until(lambda: any(path.stat().st_size > 1 << 20 for path in staged.glob("*")))
        server.stop()
        assert process.communicate(timeout=60)[0] == b"2 200"
    assert (tmp_path / "answer").read_bytes() == f"{LARGE[0]} is published\n".encode()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "http2: clients speak it over TLS only: give tls_cert too (from --http2)"),
        (
            ("--tls-cert", "x.pem", "--bind", "unix:/tmp/x"),
            "http2: it is spoken on ports only: take unix:/tmp/x from bind",
        ),
    ],
)
def test_what_it_can_not_do(tmp_path: Path, flags: tuple[str, ...], told: str) -> None:
    done = run_cli("serve", tmp_path, "--upstream", "none", "--http2", *flags)
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1


def test_without_the_extra(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls", "localhost")
    cert, key = certificates.files()
    program = "import sys; sys.modules['granian'] = None; from caseus.cli import main; main()"
    told = ["serve", str(tmp_path / "root"), "--upstream", "none", "--http2", "--tls-cert", str(cert)]
    done = subprocess.run(
        [sys.executable, "-c", program, *told, "--tls-key", str(key)], capture_output=True, text=True, timeout=60,
        env=clean_environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "pip install 'caseus[http2]'" in done.stderr
    assert not (tmp_path / "root").exists()


def test_the_lone_answer_of_tls(secure: Secure) -> None:
    """Errors have no phrase of our own here, but their text is in the header and the body."""
    answer = ask(f"{secure.server.url}simple/nothing/", ca=secure.ca)
    assert answer.headers["X-Error-Message"].startswith("no project nothing here")
