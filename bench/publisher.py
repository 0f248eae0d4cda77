"""Clients that publish and look, in a process of their own: `python -m bench.publisher PORT TOKEN CLIENTS`.

Each has one connection, uploads a small wheel, asks for the project's page, which has to be rendered then, and begins
anew. The first one publishes to the project with 2,000 files. Prints "ready", begins with a line on standard input,
ends with the next one or the end of it, and prints how many files were published.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.peers import JSON, Peer, PeerError
from support.clients import upload_form
from support.packages import make_wheel

FORMS = 600
"""Of each client, made before it begins; it takes others if they don't last."""


class Publishing(NamedTuple):
    """Clients at work; `stop` ends them."""

    process: subprocess.Popen[str]
    begin: float

    def stop(self) -> float:
        """How many files were published in a second."""
        said, _ = self.process.communicate("\n")
        if self.process.returncode:
            raise PeerError(f"uploads failed: {said}")
        return int(said) / (time.perf_counter() - self.begin)


@contextmanager
def publishing(server: Peer, token: str, clients: int) -> Iterator[Publishing]:
    command = [sys.executable, "-m", "bench.publisher", str(server.port), token, str(clients)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[1],
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        if (line := process.stdout.readline()) != "ready\n":
            raise PeerError(f"uploads did not begin: {line}{process.stdout.read()}")
        process.stdin.write("\n")
        process.stdin.flush()
        yield Publishing(process, time.perf_counter())
    finally:
        process.kill()
        process.wait()


def main(port: int, token: str, clients: int) -> int:
    # Names and versions that no earlier run has used.
    stamp = time.time_ns() // 1_000_000
    stop = threading.Event()
    published = [0] * clients
    failed: list[BaseException] = []

    def work(client: int, forms: list[tuple[bytes, str]], project: str) -> None:
        try:
            publish(port, token, project, forms, published, client, stop)
        except BaseException as error:
            failed.append(error)
            stop.set()

    threads = []
    for client in range(clients):
        project = f"busy-{client}" if client else "many"
        wheels = (make_wheel(project, f"9.{stamp}.{n}", content=os.urandom(2000)) for n in range(FORMS))
        threads.append(threading.Thread(target=work, args=(client, [upload_form(*each) for each in wheels], project)))
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"{failed[0]!r}")
    print(sum(published))
    return 0


def publish(
    port: int,
    token: str,
    project: str,
    forms: list[tuple[bytes, str]],
    published: list[int],
    client: int,
    stop: threading.Event,
) -> None:
    login = "Basic " + base64.b64encode(f"__token__:{token}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for body, content_type in itertools.takewhile(lambda _: not stop.is_set(), forms):
        headers = {"Authorization": login, "Content-Type": content_type}
        for method, path, data, more in (
            ("POST", "/legacy/", body, headers),
            ("GET", f"/simple/{project}/", None, {"Accept": JSON, "Accept-Encoding": "gzip"}),
        ):
            connection.request(method, path, data, more)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise PeerError(f"{method} {path} was answered by {answer.status} {answer.reason}")
        published[client] += 1
    connection.close()
    if not stop.is_set():
        raise PeerError(f"{len(forms)} files were not enough")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
