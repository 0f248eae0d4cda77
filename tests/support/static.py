"""Web servers for exported trees: set up by the configuration that the export writes, or without any."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.clients import ask
from support.nginx import running_nginx

LIMIT = 30.0


@contextmanager
def by_nginx(config: Path, folder: Path) -> Iterator[str]:
    """The URL, with its last slash, under which nginx serves what CONFIG/nginx.conf says; only its port is changed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        block = _put((config / "nginx.conf").read_text(), "listen 80;", f"listen 127.0.0.1:{port};")
        with running_nginx(folder, block, listener):
            yield f"http://127.0.0.1:{port}/"


@contextmanager
def by_caddy(config: Path, folder: Path) -> Iterator[str]:
    """The same with Caddy."""
    program = shutil.which("caddy")
    assert program, "caddy is missing: run `make test-deps`"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    text = _put((config / "Caddyfile").read_text(), "pkgs.example.com {", f"http://127.0.0.1:{port} {{")
    head = f"{{\n\tadmin off\n\tstorage file_system {folder}/storage\n}}\n"
    (folder / "Caddyfile").write_text(head + text)
    environ = {"HOME": str(folder), "PATH": os.environ.get("PATH", "")}
    command = [program, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/"
    try:
        _wait_for(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(LIMIT)


@contextmanager
def by_python(folder: Path) -> Iterator[str]:
    """The URL under which the standard library's server serves the folder, and knows nothing but files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            ask(url)
        except OSError:
            continue
        return
    raise AssertionError(log.read_text())


def _put(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"the configuration has not once: {old}"
    return text.replace(old, new)
