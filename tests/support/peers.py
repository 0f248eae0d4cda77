"""Other index servers, in processes of their own, on free loopback ports."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parents[2] / ".venv-peers"
START_LIMIT = 120.0


def peer(name: str) -> str:
    """Path of a program, which lies in the environment of one of them; the test fails where it is missing."""
    found = sorted(PEERS.glob(f"*/bin/{name}"))
    assert found, f"{name} is missing: run `make test-deps`"
    return str(found[0])


@contextmanager
def pypiserver(folder: Path, htpasswd: Path) -> Iterator[str]:
    """Its URL; uploads need a login of the file."""
    port = _free_port()
    command = (peer("pypi-server"), "run", "-i", "127.0.0.1", "-p", str(port), "-a", "update", "-P", htpasswd, folder)
    with _running(command, port, folder.parent):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def devpi_server(folder: Path) -> Iterator[str]:
    """Its URL. `root` has the password `gorgonzola`; there is no index yet."""
    if not folder.exists():
        init = (peer("devpi-init"), "--serverdir", folder, "--no-root-pypi", "--root-passwd", "gorgonzola")
        subprocess.run(tuple(map(str, init)), check=True, capture_output=True, env=_environment(folder.parent))
    port = _free_port()
    command = (peer("devpi-server"), "--serverdir", folder, "--host", "127.0.0.1", "--port", str(port))
    with _running(command, port, folder.parent):
        yield f"http://127.0.0.1:{port}/"


def devpi_export(folder: Path, target: Path, *flags: str) -> Path:
    """What `devpi-export` writes of a server that has ended."""
    command = (peer("devpi-export"), "--serverdir", folder, *flags, target)
    subprocess.run(tuple(map(str, command)), check=True, capture_output=True, env=_environment(folder.parent))
    return target


def devpi_ask(
    url: str, method: str, path: str, login: tuple[str, str] | None = None, **fields: object
) -> Mapping[str, Any]:
    """A request of devpi's own JSON API."""
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if login is not None:
        headers["X-Devpi-Auth"] = b64encode(":".join(login).encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]), timeout=60)
    try:
        connection.request(method, path, json.dumps(fields), headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status in (200, 201), (answer.status, answer.reason, body)
        told = json.loads(body)
        assert isinstance(told, dict)
        return told
    finally:
        connection.close()


@contextmanager
def _running(command: tuple[str | Path, ...], port: int, home: Path) -> Iterator[None]:
    with open(home / "peer.log", "ab") as log:
        process = subprocess.Popen(
            tuple(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(home)
        )
    try:
        _wait_for(port, process, home / "peer.log")
        yield
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers a request."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise AssertionError(f"{process.args!r} does not answer:\n{log.read_text()[-2000:]}")


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port
