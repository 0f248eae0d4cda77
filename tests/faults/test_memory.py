"""The server's memory does not grow with the size of a file, whether it is published, fetched or downloaded."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Callable
from pathlib import Path

from support.clients import ask, upload
from support.figures import Figures
from support.packages import make_wheel
from support.server import CaseusServer
from support.upstream import FakeUpstream

MIB = 1 << 20
MOST = 32 * MIB


def test_large_files(rounds: Callable[[int, int], int], figures: Figures) -> None:
    size = rounds(96, 512) * MIB
    padding = {"padding": bytes(range(256)) * (size // 256)}
    published, fetched = (make_wheel(name, "1.0", files=padding, compress=False) for name in ("here", "cold"))
    del padding
    small = make_wheel("here", "0.1", content=b"x" * MIB)
    with FakeUpstream({"cold": [fetched]}) as upstream, CaseusServer(upstream=upstream.url) as server:
        login = ("__token__", server.token("admin"))
        assert upload(server.url, *small, login=login).status == 200  # what is imported at first need is there now
        assert ask(f"{server.url}simple/here/{small[0]}").body == small[1]
        assert ask(f"{server.url}simple/cold/").status == 200
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak is counted from now on (proc(5))
        before = peak(server)
        assert upload(server.url, *published, login=login, timeout=300).status == 200
        for filename, data in (published, fetched, fetched):
            assert download(server, filename) == hashlib.sha256(data).hexdigest()
        grown = peak(server) - before
    told = {"MiB in each of two files": size // MIB, "MiB that memory grew by at most": grown // MIB}
    figures.add("memory and large files", told)
    assert grown < MOST


def peak(server: CaseusServer) -> int:
    """The most memory that the process had, in bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024


def download(server: CaseusServer, filename: str) -> str:
    """The sha256 of what came."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    try:
        connection.request("GET", f"/simple/{filename.partition('-')[0]}/{filename}")
        response = connection.getresponse()
        assert response.status == 200
        digest = hashlib.sha256()
        while data := response.read(MIB):
            digest.update(data)
        return digest.hexdigest()
    finally:
        connection.close()
