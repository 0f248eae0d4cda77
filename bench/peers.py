"""Servers to be measured beside each other: how each is started, what it is asked by, and what it costs."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from html import unescape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

from support.peers import devpi_ask, peer
from support.server import CaseusServer, clean_environment

HTML = "text/html"
JSON = "application/vnd.pypi.simple.v1+json"
MIB = 1 << 20

_TICK = os.sysconf("SC_CLK_TCK")
_OWNER = "root"
_MIRROR = f"/{_OWNER}/mirror"
_START_LIMIT = 60.0
_STOP_LIMIT = 20.0

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
    map $http_accept $kind {{ default simple; ~json json; }}
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
        location /index/ {{
            rewrite ^/index/(.*[^/])$ /simple/$1 last;
            rewrite ^/index/(?<rest>.*)$ /$kind/$rest last;
        }}
    }}
}}
"""


class PeerError(Exception):
    """A server that does not start, or answers what it should not."""


class Peer(NamedTuple):
    """A server that runs. `pid`: of its first process; `html`, `json`: under which path its pages are, "" for none;
    `started`: seconds from its start to its first answer."""

    name: str
    port: int
    pid: int
    html: str = "/simple/"
    json: str = "/simple/"
    started: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, project: str, accept: str) -> str:
        """Path of a project's page, or of the list for ""."""
        return (self.json if accept == JSON else self.html) + (f"{project}/" if project else "")

    def file(self, project: str, filename: str) -> str:
        """Path of a file, as the project's page has it."""
        page = self.page(project, HTML)
        links = re.findall(r'href="([^"]+)"', self.get(page, {"Accept": HTML})[1].decode())
        for link in map(unescape, links):
            if filename in link:
                return urljoin(page, link.partition("#")[0]).removeprefix(self.url)
        raise PeerError(f"{self.name} has no link to {filename} on {page}")

    def get(self, path: str, headers: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
        """Headers, by lower-case names, and body, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("GET", path, headers={"Accept-Encoding": "identity", **headers})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise PeerError(f"{self.name} does not answer {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise PeerError(f"{self.name} answers {path} by {answer.status} {answer.reason}")
        return {name.lower(): value for name, value in answer.headers.items()}, body

    def cpu(self) -> float:
        """Seconds that its processes have used so far."""
        ticks = 0
        for pid in processes(self.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICK

    def memory(self) -> float:
        """MiB of its processes (RSS)."""
        return sum(map(resident, processes(self.pid)))


def processes(pid: int) -> list[int]:
    """The process, its children and theirs."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            for child in (task / "children").read_text().split():
                found += processes(int(child))
    return found


def resident(pid: int) -> float:
    """MiB of one process (RSS)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def caseus(root: Path, *, upstream: str = "none", workers: int = 1) -> Iterator[tuple[Peer, CaseusServer]]:
    """It logs each request."""
    server = CaseusServer(root, upstream=upstream, flags=("--workers", str(workers)))
    begin = time.perf_counter()
    try:
        server.start()
    except AssertionError as error:
        raise PeerError(str(error)) from None
    started = time.perf_counter() - begin
    with ExitStack() as stack:
        stack.push(server)  # ends it, as it has begun
        yield Peer("caseus", server.port, server.pid, started=started), server


@contextmanager
def nginx(folder: Path, root: Path, *, name: str = "nginx", log: bool = False) -> Iterator[Peer]:
    """One worker with sendfile and gzip_static over the tree `root`: files under `simple`, pages as `index` there, and
    under `json`. `/index/` has both, by Accept. `log`: with an access log."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise PeerError("nginx is missing: run `make test-deps`")
    folder.mkdir(parents=True)
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    told = f"{folder}/access.log" if log else "off"
    (folder / "nginx.conf").write_text(_NGINX.format(user=user, folder=folder, port=port, root=root, log=told))
    with running(name, [program, "-c", folder / "nginx.conf"], port, folder) as peer:
        yield peer._replace(json="/json/")


@contextmanager
def pypiserver(folder: Path, packages: Path, *, behind: str = "auto") -> Iterator[Peer]:
    """Over a folder of files; everybody may upload. It speaks HTML only. `behind`: the web server that it is to use; by
    itself it takes waitress, which is here, though not in its own installation."""
    port = free_port()
    packages.mkdir(parents=True, exist_ok=True)
    command = [peer("pypi-server"), "run", "-i", "127.0.0.1", "-p", str(port), "-a", ".", "-P", ".", "--server", behind]
    with running("pypiserver", [*command, packages], port, folder) as found:
        yield found._replace(json="")


@contextmanager
def proxpi(folder: Path, upstream: str, *, log: bool = True, keep: bool = True) -> Iterator[Peer]:
    """With gunicorn as in its own container: one worker of two threads, which logs each request (but for `log`) and
    keeps connections (but for `keep`)."""
    port = free_port()
    command = [peer("gunicorn"), "--preload", "--threads", "2", "--bind", f"127.0.0.1:{port}"]
    if log:
        command += ["--access-logfile", "-", "--access-logformat", '%(h)s "%(r)s" %(s)s %(b)s %(M)dms']
        command += ["--logger-class", "proxpi.server._GunicornLogger"]
    if not keep:
        command += ["--keep-alive", "0"]
    environ = {
        "PROXPI_INDEX_URL": upstream,
        "PROXPI_CACHE_DIR": str(folder / "cache"),
        "PROXPI_INDEX_TTL": "86400",
        "PROXPI_LOGGING_LEVEL": "INFO" if log else "WARNING",
    }
    (folder / "cache").mkdir(parents=True)
    with running("proxpi", [*command, "proxpi.server:app"], port, folder, environ) as found:
        yield found._replace(html="/index/", json="/index/")


@contextmanager
def simple_repository(folder: Path, upstream: str) -> Iterator[Peer]:
    """It hands files on itself, as the others do, and does not redirect."""
    port = free_port()
    program = peer("simple-repository-server")
    command = [program, "--host", "127.0.0.1", "--port", str(port), "--stream-http-resources", upstream]
    with running("simple-repository-server", command, port, folder) as found:
        yield found


@contextmanager
def devpi(folder: Path, upstream: str) -> Iterator[Peer]:
    """A mirror index with the settings that it has by itself."""
    port = free_port()
    data = folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    init: list[str | Path] = [peer("devpi-init"), "--serverdir", data, "--no-root-pypi", "--root-passwd", "bench"]
    subprocess.run(init, check=True, capture_output=True, env=_environment(folder))
    command: list[str | Path] = [peer("devpi-server"), "--serverdir", data, "--host", "127.0.0.1", "--port", str(port)]
    with running("devpi", command, port, folder) as found:
        login = devpi_ask(f"{found.url}/", "POST", "/+login", user=_OWNER, password="bench")
        password = login["result"]["password"]
        devpi_ask(f"{found.url}/", "PUT", _MIRROR, (_OWNER, password), type="mirror", mirror_url=upstream)
        yield found._replace(html=f"{_MIRROR}/+simple/", json=f"{_MIRROR}/+simple/")


@contextmanager
def running(
    name: str, command: Sequence[str | Path], port: int, folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Peer]:
    """The program, from its first answer on. It is ended with all its processes, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "peer.log"
    begin = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=_environment(folder) | dict(environ or {}),
            cwd=folder,
            start_new_session=True,  # else Ctrl-C ends it before us
        )
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() - begin > _START_LIMIT:
                lines = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                what = "does not answer" if process.returncode is None else f"ended with {process.returncode}"
                raise PeerError(f"{name} {what}; its last lines:\n{lines}")
            time.sleep(0.01)
        yield Peer(name, port, process.pid, started=time.perf_counter() - begin)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_LIMIT)


def _answers(port: int) -> bool:
    """Whatever it answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_LIMIT)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": clean_environment()["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
