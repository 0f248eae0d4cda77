"""`caseus serve` in a process of its own: start, what it says, signals, the first user."""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.clients import Answer, Login, ask, upload, upload_form
from support.packages import make_wheel
from support.server import COMMAND, CaseusServer, clean_environment, run_cli

Start = Callable[..., CaseusServer]


def publish(server: CaseusServer, login: Login, version: str = "1.0") -> Answer:
    return upload(server.url, *make_wheel("acme", version), login=login)


def test_it_starts_answers_and_ends_well() -> None:
    with CaseusServer() as server:
        assert ask(f"{server.url}livez").status == 200
        assert ask(f"{server.url}readyz").status == 200
        assert ask(f"{server.url}simple/nothing/").status == 404
        assert stat.S_IMODE(server.root.stat().st_mode) == 0o700
        assert server.stop() == "", "stdout has one line, the ready line"


def test_what_a_start_tells(start_caseus: Start) -> None:
    server = start_caseus(flags=("--read", "users"))
    log = server.log
    for text in (
        f"http://127.0.0.1:{server.port}/simple/",
        f"http://127.0.0.1:{server.port}/legacy/",
        "users and tokens only",
        str(server.root),
        "upstream   none",
        f"pip install --index-url http://USER@127.0.0.1:{server.port}/simple/",
        "uv pip install --default-index",
        "twine upload --repository-url",
        "uv publish --publish-url",
        str(server.root / "admin-password"),
    ):
        assert text in log
    assert server.admin[1] not in log


def test_the_public_url_is_what_is_told(start_caseus: Start) -> None:
    server = start_caseus(flags=("--public-url", "https://pkgs.example.com/py"))
    assert "--index-url https://pkgs.example.com/py/simple/ " in server.log
    assert server.url.startswith("http://127.0.0.1:")


def test_the_first_start_makes_admin(start_caseus: Start) -> None:
    server = start_caseus(flags=("--read", "users"))
    name, password = server.admin
    assert name == "admin" and len(password) >= 20
    assert stat.S_IMODE((server.root / "admin-password").stat().st_mode) == 0o600
    assert ask(f"{server.url}simple/", login=server.admin).status == 200
    assert ask(f"{server.url}simple/", login=("admin", "wrong")).status == 401
    server.stop()
    server.start()
    assert server.admin == (name, password)
    assert server.log.count("user `admin` was made") == 1


def test_no_admin_where_a_user_is(tmp_path: Path, start_caseus: Start) -> None:
    root = tmp_path / "data"
    assert run_cli("user", "add", "alice", "--password-stdin", "--root", root, input="correct horse").returncode == 0
    server = start_caseus(root=root)
    assert not (root / "admin-password").exists()
    assert "admin" not in server.cli("user", "list").stdout.replace("name   admin", "")


def test_the_operator_sets_the_password(tmp_path: Path, start_caseus: Start) -> None:
    file = tmp_path / "secret"
    file.write_text("correct horse battery\n")
    server = start_caseus(flags=("--read", "users"), environ={"CASEUS_ADMIN_PASSWORD_FILE": str(file)})
    assert ask(f"{server.url}simple/", login=("admin", "correct horse battery")).status == 200
    assert not (server.root / "admin-password").exists()
    assert "the password is in the file that CASEUS_ADMIN_PASSWORD_FILE names" in server.log


@pytest.mark.parametrize("content", [None, "", "\n", "one\ntwo\n"])
def test_an_unusable_password_file(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    root = tmp_path / "data"
    arguments = ("serve", root, "--port", "0", "--upstream", "none")
    done = run_cli(*arguments, environ={"CASEUS_ADMIN_PASSWORD_FILE": str(file)})
    assert done.returncode == 2 and str(file) in done.stderr and done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_users_and_tokens_made_while_it_runs(start_caseus: Start) -> None:
    server = start_caseus(flags=("--read", "users"))
    alice = server.add_user("alice", "correct horse")
    assert ask(f"{server.url}simple/", login=alice).status == 200
    token = server.token("alice", "read")
    assert ask(f"{server.url}simple/", login=("__token__", token)).status == 200
    assert server.cli("token", "revoke", token).returncode == 0
    assert ask(f"{server.url}simple/", login=("__token__", token)).status == 401
    assert token not in server.log and "correct horse" not in server.log


def test_yank_and_delete_are_seen_at_the_next_request(caseus: CaseusServer) -> None:
    for version in ("1.0", "2.0"):
        assert publish(caseus, caseus.admin, version).status == 200
    page = f"{caseus.url}simple/acme/?format=application/vnd.pypi.simple.v1+json"
    done = caseus.cli("project", "yank", "acme==1.0", "--reason", "broken")
    assert (done.returncode, done.stdout) == (0, "yanked acme-1.0-py3-none-any.whl\n")
    assert [file["yanked"] for file in ask(page).json()["files"]] == ["broken", False]
    assert caseus.cli("project", "unyank", "acme-1.0-py3-none-any.whl").returncode == 0
    assert [file["yanked"] for file in ask(page).json()["files"]] == [False, False]
    done = caseus.cli("project", "delete", "acme==2.0")
    assert done.returncode == 2 and "--yes" in done.stderr
    assert len(ask(page).json()["files"]) == 2
    done = caseus.cli("project", "delete", "ACME==2.0", "--yes", "--reason", "leaked")
    assert (done.returncode, done.stdout) == (0, "deleted acme-2.0-py3-none-any.whl\n")
    assert [file["filename"] for file in ask(page).json()["files"]] == ["acme-1.0-py3-none-any.whl"]
    assert caseus.cli("verify").returncode == 0
    for target in ("nothing", "acme==3.0", "acme-9.0-py3-none-any.whl"):
        done = caseus.cli("project", "yank", target)
        assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_the_reason_of_an_error_is_in_the_status_line(caseus: CaseusServer) -> None:
    answer = publish(caseus, ("admin", "wrong"))
    assert answer.status == 401
    assert answer.reason == answer.headers["x-error-message"] != "Unauthorized"


def test_a_taken_port(caseus: CaseusServer, tmp_path: Path) -> None:
    done = run_cli("serve", tmp_path / "data", "--port", str(caseus.port), "--upstream", "none")
    assert done.returncode == 2 and f"port {caseus.port} of 127.0.0.1 is in use" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "host.invalid"])
def test_a_host_that_is_not_ours(tmp_path: Path, host: str) -> None:
    done = run_cli("serve", tmp_path / "data", "--port", "0", "--upstream", "none", "--host", host)
    assert done.returncode == 2 and host in done.stderr and done.stderr.count("\n") == 1


def test_a_root_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_cli("serve", tmp_path / "file" / "data", "--port", "0", "--upstream", "none")
    assert done.returncode == 2 and "can't make the data folder" in done.stderr and done.stderr.count("\n") == 1


def test_every_address_of_a_name(start_caseus: Start) -> None:
    server = start_caseus(flags=("--host", "localhost"))
    assert server.url == f"http://localhost:{server.port}/"
    assert ask(f"http://127.0.0.1:{server.port}/livez").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_finish(caseus: CaseusServer, number: signal.Signals) -> None:
    assert caseus.process is not None
    with begun_upload(caseus) as (connection, rest):
        os.kill(caseus.pid, number)
        wait_until_refused(caseus.port)
        connection.sendall(rest)
        answer = connection.makefile("rb").readline()
    assert answer == b"HTTP/1.1 200 OK\r\n"
    assert caseus.process.wait(30) == 0


def test_a_signal_lets_downloads_finish(caseus: CaseusServer) -> None:
    """More than all buffers on the way hold, so that the server has to go on sending."""
    assert caseus.process is not None
    filename, data = make_wheel("large", "1.0", files={"padding": bytes(range(256)) * 200_000}, compress=False)
    assert upload(caseus.url, filename, data, login=caseus.admin).status == 200
    with socket.create_connection(("127.0.0.1", caseus.port), timeout=30) as connection:
        connection.sendall(f"GET /simple/large/{filename} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        stream = connection.makefile("rb")
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
        os.kill(caseus.pid, signal.SIGTERM)
        wait_until_refused(caseus.port)
        assert stream.read().partition(b"\r\n\r\n")[2] == data
    assert caseus.process.wait(30) == 0


def test_the_grace_time_is_the_limit(start_caseus: Start) -> None:
    server = start_caseus(flags=("--grace", "1"))
    assert server.process is not None
    with begun_upload(server):
        os.kill(server.pid, signal.SIGTERM)
        assert server.process.wait(30) == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(start_caseus: Start, second: signal.Signals) -> None:
    server = start_caseus(flags=("--grace", "1h"))
    assert server.process is not None
    with begun_upload(server):
        os.kill(server.pid, signal.SIGTERM)
        wait_until_refused(server.port)
        os.kill(server.pid, second)
        assert server.process.wait(30) == 128 + second


def test_the_log_is_json_without_a_terminal(caseus: CaseusServer) -> None:
    ask(f"{caseus.url}simple/nothing/")
    caseus.stop()
    entries = [json.loads(line) for line in caseus.log.splitlines() if line.startswith("{")]
    assert any("/simple/nothing/" in entry.values() for entry in entries)


def test_the_password_is_shown_on_a_terminal_only(tmp_path: Path) -> None:
    root, (ours, theirs) = tmp_path / "data", pty.openpty()
    command = [*COMMAND, "serve", str(root), "--port", "0", "--upstream", "none"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env=clean_environment()
    )
    os.close(theirs)
    assert process.stdout is not None
    process.stdout.readline()
    told = os.read(ours, 65_536).decode()
    process.terminate()
    process.communicate(timeout=30)
    os.close(ours)
    assert (root / "admin-password").read_text().strip() in told
    assert process.returncode == 0


@contextmanager
def begun_upload(server: CaseusServer) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection over which the server has asked for an upload's body and got the beginning of it; and the rest."""
    body, kind = upload_form(*make_wheel("acme", "1.0"))
    credentials = base64.b64encode(":".join(server.admin).encode()).decode()
    head = (
        f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    asked = b"HTTP/1.1 100 Continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(len(asked), socket.MSG_WAITALL) == asked
        connection.sendall(body[:100])
        yield connection, body[100:]


def wait_until_refused(port: int) -> None:
    """Until the server has begun to stop: it listens no more."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        except ConnectionError:
            return
