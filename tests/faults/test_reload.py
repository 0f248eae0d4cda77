"""SIGHUP: settings, password file and certificate anew, in every process, without a dropped connection."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import random
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from caseus.config import load
from caseus.server.reload import Reloader
from caseus.server.state import read_state
from caseus.web import Metrics
from support.certificates import self_signed
from support.clients import Answer, ask, listed, upload
from support.faulty import until
from support.openssl import s_client
from support.packages import make_wheel, sha256
from support.passwords import SHA256
from support.server import COMMAND, CaseusServer, clean_environment, run_cli
from support.workers import hang_up, lines_to_all, metric

Start = Callable[..., CaseusServer]

OBEYED = "caseus_reload_success"
NEEDS_LOGIN = "/simple/acme/"
FOO = ("foo", "bar")
GOCHEESE = f"foo:{SHA256}"
BAZ = ("baz", "correct horse")

each_closed = pytest.mark.parametrize("closed", [1, 3], indirect=True, ids=["alone", "three"])
each_number = pytest.mark.parametrize("workers", [1, 3])


def passwd_line(login: tuple[str, str], *flags: str) -> str:
    done = run_cli("passwd-hash", login[0], "--password-stdin", *flags, input=login[1])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def baz() -> str:
    return passwd_line(BAZ)


@pytest.fixture
def closed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CaseusServer]:
    """A closed index with so many workers, a password file that has `foo`, and a caseus.toml."""
    passwd, root = tmp_path / "passwd", tmp_path / "root"
    passwd.write_text(f"# those of the old index\n\n{GOCHEESE}\n")
    root.mkdir()
    (root / "caseus.toml").write_text('passwd = "../passwd"\nread = "users"\n')
    with CaseusServer(root, flags=("--workers", str(request.param))) as server:
        yield server


# What is read anew


@each_closed
def test_users_come_and_go_in_every_worker(closed: CaseusServer, tmp_path: Path, baz: str) -> None:
    with lines_to_all(closed) as lines:
        for line in lines:
            assert (line.status(NEEDS_LOGIN, FOO), line.status(NEEDS_LOGIN, BAZ)) == (404, 401)
        (tmp_path / "passwd").write_text(baz)
        told = hang_up(closed)
        for line in lines:  # the same connections, and credentials that were verified a moment ago
            assert (line.status(NEEDS_LOGIN, FOO), line.status(NEEDS_LOGIN, BAZ)) == (401, 404)
    assert '"users": 1' in told
    assert BAZ[1] not in closed.log and baz.split(":")[1].strip() not in closed.log


@pytest.mark.parametrize("closed", [3], indirect=True)
def test_any_worker_hands_the_signal_on(closed: CaseusServer, tmp_path: Path, baz: str) -> None:
    (tmp_path / "passwd").write_text(baz)
    hang_up(closed, closed.workers[1])
    with lines_to_all(closed) as lines:
        assert [line.status(NEEDS_LOGIN, BAZ) for line in lines] == [404] * 2


@each_closed
def test_settings(closed: CaseusServer) -> None:
    file = closed.root / "caseus.toml"
    with lines_to_all(closed) as lines:
        assert [line.status("/simple/") for line in lines] == [401] * len(lines)
        file.write_text('passwd = "../passwd"\nread = "all"\nprivate = ["mine-*"]\nmax_file_bytes = 500\n')
        hang_up(closed)
        for line in lines:
            assert (line.status("/simple/"), line.status("/simple/mine-tool/")) == (200, 200)
    for _ in range(6):
        assert upload(closed.url, *make_wheel("acme", "1.0"), login=closed.admin).status == 413


@pytest.mark.parametrize("closed", [1], indirect=True)
def test_what_needs_a_restart_is_told_and_left_as_it_was(closed: CaseusServer) -> None:
    (closed.root / "caseus.toml").write_text('passwd = "../passwd"\nread = "all"\nworkers = 3\ntls_cert = "x.pem"\n')
    # --workers is a flag, which beats the file
    told = hang_up(closed)
    assert '"settings": ["tls_cert", "tls_key"]' in told and "at a restart only" in told
    assert ask(f"{closed.url}simple/").status == 200


@pytest.mark.parametrize("closed", [2], indirect=True)
def test_a_worker_that_is_started_later_has_the_newest(closed: CaseusServer, tmp_path: Path, baz: str) -> None:
    (tmp_path / "passwd").write_text(baz)
    hang_up(closed)
    old = closed.workers
    os.kill(old[0], signal.SIGKILL)
    until(lambda: len(closed.workers) == 2 and old[0] not in closed.workers)
    with lines_to_all(closed) as lines:
        assert [line.status(NEEDS_LOGIN, BAZ) for line in lines] == [404]


@each_closed
def test_rights_of_the_file(closed: CaseusServer, tmp_path: Path) -> None:
    """GoCheese's own lines, and one with :ro. Users of the catalog go first."""
    reader = ("reader", "reads only")
    (tmp_path / "passwd").write_text(GOCHEESE + "\n" + passwd_line(reader, "--read-only"))
    hang_up(closed)
    file = make_wheel("acme", "1.0")
    refused = upload(closed.url, *file, login=reader)
    assert (refused.status, "may not upload" in refused.reason) == (403, True)
    assert upload(closed.url, *file, login=FOO).status == 200
    assert ask(f"{closed.url}simple/acme/", login=reader).status == 200
    closed.add_user("foo", "another password")
    assert ask(f"{closed.url}simple/acme/", login=FOO).status == 401
    assert ask(f"{closed.url}simple/acme/", login=("foo", "another password")).status == 200


# What is broken


BROKEN: dict[str, tuple[str, str | None]] = {
    "passwd: bad lines": ("../passwd", "no colon\n\n# fine\nfoo:$sha256$xx\n" + "ok:{SHA}" + "A" * 27 + "=\n"),
    "passwd: empty": ("../passwd", ""),
    "passwd: gone": ("../passwd", None),
    "toml: syntax": ("caseus.toml", "read = \n"),
    "toml: unknown key": ("caseus.toml", 'reed = "all"\n'),
    "toml: wrong value": ("caseus.toml", 'read = "some"\n'),
    "toml: empty": ("caseus.toml", ""),
    "toml: gone": ("caseus.toml", None),
    "toml: a ca that is none": (
        "caseus.toml",
        'read = "all"\n[[upstreams]]\nurl = "https://pkgs.example.com/simple/"\nca = "absent.pem"\n',
    ),
    "toml: a password that is nowhere": (
        "caseus.toml",
        'read = "all"\n[[upstreams]]\nurl = "https://pkgs.example.com/simple/"\npassword_env = "NOT_SET_ANYWHERE"\n',
    ),
}


@each_number
def test_what_is_broken_leaves_the_old_in_force(tmp_path: Path, workers: int) -> None:
    """One after the other; after each the good files are put back, and obeyed."""
    root = tmp_path / "root"
    root.mkdir()
    good = {"../passwd": GOCHEESE + "\n", "caseus.toml": 'passwd = "../passwd"\nread = "users"\nupstream = "none"\n'}
    for name, text in good.items():
        (root / name).write_text(text)
    with CaseusServer(root, upstream=None, flags=("--workers", str(workers))) as server:
        for case, (name, broken) in BROKEN.items():
            file = root / name
            file.unlink() if broken is None else file.write_text(broken)
            told = hang_up(server)
            assert told.count("reload failed: what was in force stays") == 1, case
            assert metric(server, OBEYED) == 0, case
            with lines_to_all(server) as lines:
                for line in lines:
                    assert (line.status(NEEDS_LOGIN, FOO), line.status("/simple/")) == (404, 401), case
            if case == "passwd: bad lines":
                faults = [json.loads(line) for line in told.splitlines() if "faulty" in line]
                assert [fault["line"] for fault in faults] == [1, 4]
                assert "no colon" in faults[0]["fault"] and "64 hexadecimal" in faults[1]["fault"]
            file.write_text(good[name])
            assert "reload failed" not in hang_up(server), case
            assert metric(server, OBEYED) == 1, case
        assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no colon\n", "line 1: no colon"),
        ("", "has no user"),
        (None, "No such file"),
        ("a\nb\n", "(+1 more: see them by"),
    ],
)
def test_no_start_with_a_broken_password_file(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "passwd"
    if text is not None:
        file.write_text(text)
    done = run_cli("serve", tmp_path / "root", "--port", "0", "--upstream", "none", "--passwd", file)
    assert done.returncode == 2 and told in done.stderr and str(file) in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "root").exists()


# Connections


class Secure:
    """A server whose certificate a test replaces."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.contexts: list[ssl.SSLContext] = []
        self.put("first", "ecc")
        flags = ("--tls-cert", str(self.cert), "--tls-key", str(self.key), "--workers", str(workers))
        self.server = CaseusServer(folder / "root", flags=flags)

    def put(self, name: str, kind: str) -> ssl.SSLContext:
        """What a client needs to trust it."""
        cert, key = self_signed(self.folder, name, kind)
        self.cert.write_bytes(cert.read_bytes())
        self.key.write_bytes(key.read_bytes())
        self.ca = cert
        return ssl.create_default_context(cafile=str(cert))


@each_number
def test_a_download_of_50_mib_outlives_new_certificates(tmp_path: Path, workers: int) -> None:
    """Each worker has one under way: half of it is read before, half after four reloads."""
    data = random.Random(5).randbytes(50 << 20)
    file = make_wheel("acme", "1.0", files={"padding": data}, compress=False)
    secure = Secure(tmp_path, workers)
    first = ssl.create_default_context(cafile=str(secure.ca))
    with secure.server as server:
        assert upload(server.url, *file, login=server.admin, ca=secure.ca).status == 200
        with lines_to_all(server, first) as lines:
            answers = [line.begin(f"/simple/acme/{file[0]}") for line in lines]
            digests = [hashlib.sha256(answer.read(20 << 20)) for answer in answers]
            for name, kind in (("second", "rsa"), ("third", "ecc"), ("fourth", "ecc"), ("fifth", "rsa")):
                secure.put(name, kind)
                assert "failed" not in hang_up(server)
                for _ in range(2 * workers):
                    assert f"CN = {name}" in s_client(server.port)
            for answer, digest in zip(answers, digests, strict=True):
                while chunk := answer.read(1 << 20):
                    digest.update(chunk)
                assert digest.hexdigest() == sha256(file[1])
            assert [line.status("/livez") for line in lines] == [200] * len(lines)
        assert metric(server, OBEYED, secure.ca) == 1


@each_number
def test_a_certificate_that_its_key_does_not_fit(tmp_path: Path, workers: int) -> None:
    secure = Secure(tmp_path, workers)
    old = secure.ca
    with secure.server as server:
        cert, _ = self_signed(tmp_path, "half")
        secure.cert.write_bytes(cert.read_bytes())
        told = hang_up(server)
        assert "the key is another certificate's" in told
        for _ in range(2 * workers):
            assert "CN = first" in s_client(server.port)
        assert metric(server, OBEYED, old) == 0
        secure.put("whole", "ecc")
        assert "failed" not in hang_up(server)
        assert metric(server, OBEYED, secure.ca) == 1


@each_number
def test_no_request_fails_while_it_is_reloaded_again_and_again(tmp_path: Path, workers: int) -> None:
    with CaseusServer(tmp_path / "root", flags=("--workers", str(workers))) as server:
        assert upload(server.url, *make_wheel("acme", "0"), login=server.admin).status == 200
        over = threading.Event()
        outcomes: list[int] = []
        uploaded: list[str] = []

        def read() -> None:
            with lines_to_all(server) as lines:
                while not over.is_set():
                    outcomes.extend(line.status("/simple/acme/") for line in lines)

        def publish() -> None:
            number = 0
            while not over.is_set():
                number += 1
                file = make_wheel("acme", f"1.{number}")
                answer: Answer = upload(server.url, *file, login=server.admin)
                outcomes.append(answer.status)
                uploaded.append(file[0])

        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(read), pool.submit(read), pool.submit(publish)]
            try:
                until(lambda: bool(outcomes))
                for _ in range(15):
                    hang_up(server)
                until(lambda: len(uploaded) > 3)
            finally:
                over.set()
            for each in running:
                each.result()
        assert set(outcomes) == {200}
        assert set(uploaded) <= set(listed(server.url, "acme"))
        assert "Traceback" not in server.log


@each_number
def test_a_signal_at_the_start_harms_nothing(tmp_path: Path, workers: int) -> None:
    """From the welcome on, which is long before it is ready."""
    command = [
        *COMMAND,
        "serve",
        str(tmp_path / "root"),
        "--port",
        "0",
        "--upstream",
        "none",
        "--workers",
        str(workers),
    ]
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=clean_environment(), text=True)
    assert process.stdout is not None
    until(lambda: log.read_text().startswith("caseus "))
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline().startswith("caseus: ready on ")
    if workers == 1:  # of several, none may have been there to tell of it
        until(lambda: '"event": "reloaded"' in log.read_text())
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in log.read_text()


def test_the_size_of_the_cache_stays_what_it_was_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is set: half of the free disk is less when the cache has grown."""
    usage = type(shutil.disk_usage(tmp_path))
    free = [30 << 30]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(60 << 30, (60 << 30) - free[0], free[0]))
    loaded = load({"root": str(tmp_path), "upstream": ["none"]}, {})
    reloader = Reloader(lambda: loaded, loaded, read_state(loaded.config), Metrics())
    free[0] = 10 << 30
    assert reloader.reload() and reloader.state.config.cache_bytes == 15 << 30
    loaded = load({"root": str(tmp_path), "upstream": ["none"], "cache_bytes": "7"}, {})
    assert reloader.reload() and reloader.state.config.cache_bytes == 7


# Ends


@each_number
def test_who_closes_the_terminal_ends_the_server(tmp_path: Path, workers: int) -> None:
    """The terminal then sends SIGHUP to all of them."""
    command = [
        *COMMAND,
        "serve",
        str(tmp_path / "root"),
        "--port",
        "0",
        "--upstream",
        "none",
        "--workers",
        str(workers),
    ]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
        env=clean_environment(),
    )  # fmt: skip
    os.close(theirs)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"caseus: ready on ")
    os.close(ours)
    assert process.wait(60) == 0
    assert process.stdout.read() == b""  # nobody has it open any more: no worker is left
    process.stdout.close()
