"""`caseus doctor` as a command, before our own server, which it finds to be whole."""

from __future__ import annotations

import json
import os
import pty
import ssl
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from caseus.doctor import CHECKS
from support.clients import upload, with_login
from support.front import Front
from support.packages import make_sdist, make_wheel, metadata
from support.server import COMMAND, CaseusServer, clean_environment, run_cli
from support.upstream import FakeUpstream, Options

FILES = [make_wheel("acme-app", "1.0", requires_python=">=3.8"), make_sdist("acme-app", "1.0"), make_wheel("b", "2.0")]


def fill(server: CaseusServer) -> CaseusServer:
    for name, data in FILES:
        assert upload(server.url, name, data, login=server.admin).status == 200
    return server


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseusServer]:
    with CaseusServer(tmp_path_factory.mktemp("open") / "root") as server:
        yield fill(server)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseusServer]:
    with CaseusServer(tmp_path_factory.mktemp("closed") / "root", flags=("--read", "users")) as server:
        yield fill(server)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's ~/.netrc."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    return tmp_path


def diagnose(*arguments: str, input: str | None = None, code: int = 0, **environ: str) -> dict[str, str]:
    """Check to its result and detail, of a run that ends with this exit code."""
    done = run_cli("doctor", *arguments, "--json", input=input, environ=environ)
    assert done.returncode == code, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == (code != 0)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report.keys() == {"url", "projects", "summary", "findings"}
    assert sum(report["summary"].values()) == len(report["findings"])
    return {each["check"]: f"{each['result']}: {each['detail']}" for each in report["findings"]}


def skipped(found: dict[str, str]) -> set[str]:
    return {check for check, told in found.items() if told.startswith("skip")}


NEEDS_CLOSED = {"unknown names without login", "files without login"}


def test_our_own_server_is_whole(home: Path, opened: CaseusServer) -> None:
    user, password = opened.admin
    found = diagnose(f"{opened.url}simple/", "--user", user, "--password-stdin", "--upload", input=password)
    assert found.keys() == {check.name for check in CHECKS}
    assert skipped(found) == NEEDS_CLOSED | {"signatures"}


def test_so_it_is_for_nobody(home: Path, opened: CaseusServer) -> None:
    """And the URL of the server does as well."""
    assert skipped(diagnose(opened.url)) == NEEDS_CLOSED | {"signatures", "invalid upload", "upload"}


def test_so_it_is_with_closed_reading(home: Path, closed: CaseusServer) -> None:
    found = diagnose(with_login(f"{closed.url}simple/", closed.admin))
    assert skipped(found) == {"signatures", "upload"}


def test_so_it_is_for_a_token(home: Path, closed: CaseusServer) -> None:
    token = closed.token("admin")
    done = run_cli("doctor", closed.url, "--user", "__token__", "--password-stdin", input=f"{token}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert token not in done.stdout


def test_a_login_of_netrc_is_used(home: Path, closed: CaseusServer) -> None:
    user, password = closed.admin
    (home / ".netrc").write_text(f"machine {urlsplit(closed.url).hostname} login {user} password {password}\n")
    assert "401" in diagnose(closed.url)["reading without login"]


def test_closed_reading_without_a_login_is_not_called_fine(home: Path, closed: CaseusServer) -> None:
    found = diagnose(closed.url, code=2)
    assert found["reading without login"].startswith("ok: a page: needs a login: 401 with WWW-Authenticate: Basic")
    done = run_cli("doctor", closed.url)
    assert done.stderr.startswith("caseus: error: the index asks for a login (401 a login is needed to read here")


@pytest.mark.parametrize("strips", [True, False], ids=["strips the prefix", "leaves the prefix"])
def test_so_it_is_under_a_prefix(home: Path, tmp_path: Path, strips: bool) -> None:
    flags = ("--public-url", "http://pkgs.example.com/python/")
    with (
        CaseusServer(tmp_path / "root", flags=flags) as server,
        Front(server.url, prefix="/python", strips=strips) as front,
    ):
        fill(server)
        found = diagnose(with_login(f"{front.url}simple/", server.admin), "--upload")
        assert skipped(found) == NEEDS_CLOSED | {"signatures"}


def test_so_it_is_before_an_upstream(home: Path, tmp_path: Path) -> None:
    wheel = make_wheel("six", "1.0")
    listed = Options(metadata=metadata("six", "1.0"), upload_time="2024-01-01T00:00:00.000000Z")
    with (
        FakeUpstream({"six": [(*wheel, listed)]}) as upstream,
        CaseusServer(tmp_path / "root", upstream=upstream.url) as server,
    ):
        found = diagnose(server.url)  # which lists nothing yet: six is well known
        assert found["caching of pages"].startswith("ok: max-age=")


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate in one file, for 127.0.0.1 and for 30 days."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "30", "-subj", "/O=Acme/CN=pkgs", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", "key", "-out", "certificate"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return both


@pytest.fixture
def secure(opened: CaseusServer, certificate: Path) -> Iterator[Front]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Front(opened.url, context=context) as front:
        yield front


def test_a_certificate_is_shown(home: Path, secure: Front, certificate: Path) -> None:
    found = diagnose(secure.url, SSL_CERT_FILE=str(certificate))
    assert found["TLS"].startswith("ok: 127.0.0.1, by Acme, TLSv1.3, for ")


def test_a_certificate_that_ends_soon(home: Path, secure: Front, certificate: Path) -> None:
    from caseus.doctor import Request, examine

    context = ssl.create_default_context(cafile=str(certificate))
    expires = 30 * 86_400
    made = certificate.stat().st_mtime
    for moment, result in ((made, "ok"), (made + expires // 2, "warn")):
        report = examine(Request(url=secure.url, clock=partial(float, moment)), ssl_context=context)
        assert report.findings[0].result == result
        assert {fault.check for fault in report.faults} <= {"TLS"}


def test_who_can_not_prove_who_it_is_gets_nothing(home: Path, opened: CaseusServer, secure: Front) -> None:
    url = with_login(secure.url, opened.admin)
    found = diagnose(url, code=1)
    assert found == {"TLS": "fail: the certificate is not good: self-signed certificate"}
    assert secure.asked == []


# The command


def test_without_url_it_is_the_server_of_the_root(home: Path, opened: CaseusServer) -> None:
    (opened.root / "caseus.toml").write_text(f"port = {opened.port}\n")
    try:
        done = run_cli("doctor", "--root", opened.root)
    finally:
        (opened.root / "caseus.toml").unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{opened.url}simple/" in done.stdout


def test_what_is_shown(home: Path, opened: CaseusServer) -> None:
    """Without a terminal, lines; a fault has its mending beneath."""
    with Front(opened.url, fault=lambda asked, forward: forward(asked).with_headers(etag=None)) as front:
        done = run_cli("doctor", front.url, "--project", "b")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("warn  304 "))
    assert lines[at].endswith("  b: neither ETag nor Last-Modified: the page is fetched whole each time")
    assert lines[at + 1].strip() == "-> send an ETag and answer If-None-Match by 304"
    assert lines[-1].startswith(f"{front.url}simple/ (projects: b): ")
    assert lines[-1].endswith(" 1 warn, 0 fail, 6 skip")
    assert done.stderr == f"caseus: error: 0 faults and 1 warning found at {front.url}simple/\n"


def test_a_table_on_a_terminal(home: Path, opened: CaseusServer) -> None:
    ours, theirs = pty.openpty()
    environ = clean_environment({"COLUMNS": "160", "TERM": "xterm"})
    with subprocess.Popen(
        [*COMMAND, "doctor", opened.url], stdin=theirs, stdout=theirs, stderr=theirs, env=environ
    ) as run:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:  # how a terminal ends on Linux
            pass
        os.close(ours)
    text = shown.decode()
    assert run.returncode == 0, text
    assert "how to mend it" in text and "Accept of uv" in text and "looking at" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ftp://pkgs.example.com/",), "URL: not a URL that can be asked: it must begin with http:// or https://"),
        (("http://127.0.0.1:9/",), "can't be reached: http://127.0.0.1:9/"),
        (("http://nobody.invalid/",), "the name of the host can't be resolved"),
        (("http://127.0.0.1:9/", "--upload-url", "legacy"), "--upload-url: not a URL that can be asked"),
        (("http://127.0.0.1:9/", "--password-stdin"), "--password-stdin: whose password is it? give --user too"),
        (("http://127.0.0.1:9/", "--user", "mia"), "give the password on standard input, with --password-stdin"),
        (("--root", "/nonexistent"), "no index in /nonexistent"),
    ],
)
def test_what_can_not_be(home: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run_cli("doctor", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"caseus: error: {words}")
    assert done.stdout == ""


def test_a_project_that_is_not_there(home: Path, opened: CaseusServer) -> None:
    done = run_cli("doctor", opened.url, "--project", "nobody")
    assert done.returncode == 2
    assert "the index has no page of project 'nobody': give another --project" in done.stderr


def test_what_is_no_index(home: Path, opened: CaseusServer) -> None:
    done = run_cli("doctor", f"{opened.url}livez/")
    assert done.returncode == 2
    assert "nothing that looks like an index is at" in done.stderr


def test_an_empty_index_is_not_called_fine(home: Path, caseus: CaseusServer) -> None:
    found = diagnose(caseus.url, code=2)
    assert found["unknown project"] == "ok: 404"
    assert "has no project with files: publish one, or give --project" in run_cli("doctor", caseus.url).stderr
