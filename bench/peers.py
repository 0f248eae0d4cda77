"""Servers to be measured beside each other: how each is started, and what it costs."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")

_NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log {log};
    sendfile on;
    tcp_nopush on;
    gzip_static on;
    keepalive_requests 100000000;
    types {{ application/zip whl; }}
    default_type application/octet-stream;
    {more}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        root {root};
        index index;
        location /json/ {{ default_type application/vnd.pypi.simple.v1+json; }}
        location /simple/ {{ default_type text/html; }}
    }}
}}
"""


class Peer(NamedTuple):
    """A server that runs. `pid`: of the process that serves."""

    name: str
    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def get(self, path: str, headers: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
        """Headers, by lower-case names, and body, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"Accept-Encoding": "identity", **headers})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"bench: {self.name} answers {path} by {answer.status} {answer.reason}")
            return {name.lower(): value for name, value in answer.headers.items()}, body
        finally:
            connection.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def nginx(folder: Path, root: Path, *, log: bool = False, more: str = "") -> Iterator[Peer]:
    """One worker with sendfile and gzip_static over the tree `root`; `log`: with an access log; `more`: directives."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise SystemExit("bench: nginx is missing: run `make test-deps`")
    folder.mkdir(parents=True)
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    told = f"{folder}/access.log" if log else "off"
    configuration = _NGINX.format(user=user, folder=folder, port=port, root=root, log=told, more=more)
    (folder / "nginx.conf").write_text(configuration)
    process = subprocess.Popen([program, "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (workers := children.read_text().split()):
            time.sleep(0.01)
        yield Peer("nginx", port, int(workers[0]))
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            continue
        return
    raise SystemExit(f"bench: {process.args!r} ended with {process.returncode}")
