"""Where a server listens: several addresses, unix sockets, sockets that systemd hands over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import ask, listed
from support.faulty import until
from support.nginx import behind_nginx
from support.server import COMMAND, READY, CaseusServer, clean_environment, run_cli

Start = Callable[..., CaseusServer]


def by_unix(path: Path, url: str = "http://localhost/livez", *flags: str) -> subprocess.CompletedProcess[str]:
    """curl over a unix socket; the body is its stdout."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "--unix-socket", str(path), *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def requests(server: CaseusServer) -> list[dict[str, str]]:
    """The lines of the access log."""
    entries = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == "request"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_several_at_once(tmp_path: Path, start_caseus: Start, workers: str) -> None:
    path = tmp_path / "caseus.sock"
    binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}", "--bind", "localhost:0")
    server = start_caseus(flags=(*binds, "--workers", workers))
    first, unix, third = server.url.split()
    assert unix == f"unix:{path}" and f"listening  {server.url}" in server.log
    for url in (first, third):
        assert ask(f"{url}livez").body == b"alive\n"
    assert by_unix(path).stdout == "alive\n"
    assert f"--index-url {first}simple/ PROJECT" in server.log
    server.stop()
    assert not path.exists()


@pytest.mark.parametrize(("flags", "mode"), [((), 0o660), (("--bind-mode", "600"), 0o600)])
def test_the_mode_of_a_unix_socket(tmp_path: Path, start_caseus: Start, flags: tuple[str, ...], mode: int) -> None:
    path = tmp_path / "caseus.sock"
    start_caseus(flags=("--bind", f"unix:{path}", *flags))
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path, start_caseus: Start) -> None:
    path = tmp_path / "caseus.sock"
    server = start_caseus(flags=("--bind", f"unix:{path}"))
    server.kill()
    assert path.is_socket()
    server.start()
    assert by_unix(path).stdout == "alive\n"


def test_what_is_in_use_or_no_socket_stays(tmp_path: Path, start_caseus: Start) -> None:
    path, file = tmp_path / "caseus.sock", tmp_path / "file"
    start_caseus(flags=("--bind", f"unix:{path}"))
    file.write_text("precious")
    for taken, told in ((path, "is in use"), (file, "no socket")):
        done = run_cli("serve", tmp_path / "other", "--upstream", "none", "--bind", f"unix:{taken}")
        assert done.returncode == 2 and f"{taken} is " in done.stderr and told in done.stderr
        assert done.stderr.count("\n") == 1
    assert file.read_text() == "precious"
    assert by_unix(path).stdout == "alive\n"


def test_another_servers_socket_is_not_taken_away(tmp_path: Path, start_caseus: Start) -> None:
    path = tmp_path / "caseus.sock"
    server = start_caseus(flags=("--bind", f"unix:{path}"))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        server.stop()
        assert path.is_socket()


def test_who_connects_by_a_unix_socket_is_believed_only_if_told(tmp_path: Path, start_caseus: Start) -> None:
    path = tmp_path / "caseus.sock"
    for name, flags, client in (("a", (), "unix"), ("b", ("--trusted-proxies", "unix"), "192.0.2.7")):
        server = start_caseus(root=tmp_path / name, flags=("--bind", f"unix:{path}", *flags))
        by_unix(path, "http://localhost/simple/", "-H", "X-Forwarded-For: 192.0.2.7")
        server.stop()
        assert [entry["client"] for entry in requests(server)] == [client]


def test_without_a_host_a_unix_socket_is_localhost(tmp_path: Path, start_caseus: Start) -> None:
    path = tmp_path / "caseus.sock"
    start_caseus(flags=("--bind", f"unix:{path}"))
    assert "http://localhost/simple/" in by_unix(path, "http://localhost/", "--http1.0", "-H", "Host:").stdout


def test_nginx_by_a_unix_socket(tmp_path: Path) -> None:
    with behind_nginx(tmp_path, by_unix=True) as fronted:
        assert ask(f"{fronted.url}simple/", ca=fronted.ca).status == 200
        until(lambda: bool(requests(fronted.server)))
        assert [entry["client"] for entry in requests(fronted.server)] == ["127.0.0.1"]


def test_a_taken_port_is_told_with_several_workers_too(tmp_path: Path, start_caseus: Start) -> None:
    """Their sockets share the port with each other, and with nobody else's."""
    server = start_caseus(flags=("--workers", "2"))
    other = ("serve", tmp_path / "other", "--upstream", "none", "--workers", "2", "--port", str(server.port))
    done = run_cli(*other)
    assert done.returncode == 2 and f"port {server.port} of 127.0.0.1 is in use" in done.stderr


def test_systemd_hands_over_a_unix_socket(tmp_path: Path) -> None:
    """systemd's own tool, which starts the server at the first connection."""
    program = shutil.which("systemd-socket-activate")
    assert program, "systemd-socket-activate is missing: run `make test-deps`"
    path, root = tmp_path / "handed.sock", tmp_path / "root"
    serve = [*COMMAND, "serve", str(root), "--upstream", "none", "--bind", "systemd"]
    process = subprocess.Popen(
        [program, "-l", str(path), *serve], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=clean_environment(),
    )  # fmt: skip
    try:
        until(path.is_socket)
        assert by_unix(path).stdout == "alive\n"
        assert process.stdout is not None
        assert process.stdout.readline() == f"{READY}unix:{path}\n"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert path.is_socket()  # it is systemd's
    process.communicate()


HAND_OVER = textwrap.dedent(
    """
    import os, sys
    os.dup2(int(sys.argv[1]), 3)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    os.execv(sys.argv[2], sys.argv[2:])
    """
)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_tcp_socket_is_handed_over(tmp_path: Path, workers: str) -> None:
    """As sd_listen_fds(3) says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        serve = [*COMMAND, "serve", str(tmp_path), "--upstream", "none", "--bind", "systemd", "--workers", workers]
        process = subprocess.Popen(
            [sys.executable, "-c", HAND_OVER, str(descriptor), *serve], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, pass_fds=[descriptor], env=clean_environment(),
        )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{READY}http://127.0.0.1:{port}/\n"
        assert [ask(f"http://127.0.0.1:{port}/livez").body for _ in range(10)] == [b"alive\n"] * 10
        assert listed(f"http://127.0.0.1:{port}/", "nothing") == {}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.communicate()


def test_nothing_was_handed_over(tmp_path: Path) -> None:
    serve = ("serve", tmp_path, "--upstream", "none", "--bind", "systemd")
    for environ in ({}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}):
        done = run_cli(*serve, environ=environ)
        assert done.returncode == 2 and "no sockets were handed over" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        serve = [*COMMAND, "serve", str(tmp_path), "--bind", "systemd"]
        done = subprocess.run(
            [sys.executable, "-c", HAND_OVER, str(file.fileno()), *serve],
            capture_output=True, text=True, pass_fds=[file.fileno()], env=clean_environment(), check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2 and "descriptor 3, which was handed over, is no socket" in done.stderr
    assert os.path.exists(tmp_path / "file")
