"""Connections to each worker of a server, and reloads that a test waits for."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.clients import JSON, Login, ask
from support.faulty import until
from support.server import CaseusServer

_DONE = '"event": "reloaded"'
_REFUSED = "reload failed: what was in force stays"


class Line:
    """A connection that is kept. `worker`: the pid of who has it at the other end."""

    def __init__(self, server: CaseusServer, context: ssl.SSLContext | None = None) -> None:
        self._http = (
            http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            if context is None
            else http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=context)
        )
        self._http.connect()
        self.port: int = self._http.sock.getsockname()[1]
        self.begin("/livez").read()  # from now on somebody has it
        self.worker = owner(server, self.port)

    def begin(self, path: str, login: Login | None = None) -> http.client.HTTPResponse:
        """The answer's head; its body is to be read before the next request. Fails if the connection was not kept."""
        headers = {"Accept": JSON}
        if login is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        self._http.request("GET", path, headers=headers)
        assert self._http.sock.getsockname()[1] == self.port, "the connection was not kept"
        return self._http.getresponse()

    def status(self, path: str, login: Login | None = None) -> int:
        answer = self.begin(path, login)
        answer.read()
        return answer.status

    def close(self) -> None:
        self._http.close()


@contextmanager
def lines_to_all(server: CaseusServer, context: ssl.SSLContext | None = None) -> Iterator[list[Line]]:
    """One to each worker that listens; where there are none, one."""
    lines: dict[int, Line] = {}

    def try_another() -> bool:
        line = Line(server, context)
        if line.worker in lines:
            line.close()
        else:
            lines[line.worker] = line
        return lines.keys() == set(server.workers or [server.pid]) - {server.publisher}

    until(try_another)
    try:
        yield list(lines.values())
    finally:
        for line in lines.values():
            line.close()


def hang_up(server: CaseusServer, pid: int | None = None) -> str:
    """SIGHUP, to the server or to one of its workers; what the log says of it until all of them have done it."""
    before = server.log
    os.kill(server.pid if pid is None else pid, signal.SIGHUP)
    times = len(server.workers) or 1

    def over() -> bool:
        new = server.log[len(before) :]
        return new.count(_DONE) >= times or _REFUSED in new

    until(over)
    return server.log[len(before) :]


def metric(server: CaseusServer, name: str, ca: Path | None = None) -> float:
    """A figure of /metrics; `name`: with its labels."""
    answer = ask(f"{server.url}metrics", ca=ca)
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain; version=")
    found = [line.rpartition(" ") for line in answer.body.decode().splitlines() if not line.startswith("#")]
    (value,) = (float(value) for told, _, value in found if told == name)
    return value


def owner(server: CaseusServer, port: int) -> int:
    """The pid that has the other end of a connection from that local port."""
    ends = (f"{server.port:04X}", f"{port:04X}")
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = {row[9] for row in rows if (row[1].rpartition(":")[2], row[2].rpartition(":")[2]) == ends}
    (inode,) = found  # a set, for the kernel may list a row twice while others come and go
    for pid in server.workers or [server.pid]:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                if os.readlink(entry) == f"socket:[{inode}]":
                    return pid
    raise AssertionError("nobody has the other end")
