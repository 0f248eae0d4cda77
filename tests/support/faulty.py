"""A server with an upstream where everything may break: its answers, the wire, names, certificates, and the clock.

with World(folder, "http") as world:
    package = world.add()                      # one more project of the upstream, with one wheel
    package.page(); package.file(); package.file(".metadata")
    world.upstream.fail(Fault("hang"), package.page_path)
    world.wire.fail(TcpFault(reset=100))
    world.controls.dns = "fails"
    world.controls.hasty = True                # time limits of a third of a second; else those of everybody
    world.heal()                               # everything is as it should be, and pauses are over
"""

from __future__ import annotations

import itertools
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self

from support.certificates import Certificates
from support.clients import JSON, Answer, ask
from support.hooked import HOST, Controls, command
from support.packages import make_wheel, metadata
from support.server import CaseusServer
from support.tcp_proxy import TcpProxy
from support.upstream import FakeUpstream, Listed, Options

SMALL, LARGE = 20_000, 400_000  # below and above what is held back until the digest is right
TTL = 600.0
PATIENCE = 40.0
"""Seconds that a client waits for any answer, whatever the upstream does: beyond every time limit of the server."""

_NUMBERS = itertools.count(1)


class World:
    """A context manager."""

    def __init__(self, folder: Path, scheme: Literal["http", "https"] = "http") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.certificates = Certificates(folder / "certificates", HOST)
        self.controls = Controls(folder / "controls")
        self.upstream = FakeUpstream()
        self.canary = FakeUpstream()
        """Whom nobody may contact, however the upstream may point there."""
        self._folder, self._scheme = folder, scheme
        self._clock = 0.0
        self._tls: TcpProxy | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.upstream)
        self._stack.enter_context(self.canary)
        port = self.upstream.port
        if self._scheme == "https":
            self._tls = self._stack.enter_context(TcpProxy(port, tls=self.certificates.good()))
            port = self._tls.port
        self.wire = self._stack.enter_context(TcpProxy(port))
        environ = {"SSL_CERT_FILE": str(self.certificates.ca), "NO_PROXY": "*", "no_proxy": "*"}
        self.server = self._stack.enter_context(
            CaseusServer(
                self._folder / "root",
                upstream=f"{self._scheme}://{HOST}:{self.wire.port}/simple/",
                flags=("--upstream-ttl", str(int(TTL))),
                environ=environ,
                command=command(self._folder / "controls"),
            )
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.__exit__(None, None, None)

    def add(self, size: int = LARGE, told: Options | None = None) -> Package:
        """One more project, with one wheel that has METADATA beside it unless `told` tells otherwise."""
        return Package(self, f"pkg{next(_NUMBERS)}", size, told)

    def wear(self, certificate: ssl.SSLContext) -> None:
        """What the upstream shows, of a world of https."""
        assert self._tls is not None
        self._tls.wear(certificate)

    def later(self, seconds: float = TTL + 60) -> None:
        """Every page that is kept is too old now, and whatever was left alone for a while may be asked again."""
        self._clock += seconds
        self.controls.offset = self._clock

    def misdate(self, seconds: float) -> None:
        """The server's clock is wrong by so much, until `heal`."""
        self.controls.offset = self._clock + seconds

    def heal(self) -> None:
        self.upstream.heal()
        self.upstream.style, self.upstream.etags, self.upstream.etag = "json", True, None
        self.upstream.content_types = True
        self.controls.dns, self.controls.hasty = "works", False
        if self._tls is not None:
            self.wear(self.certificates.good())
        self.wire.up()
        self.wire.heal()
        self.later()
        until(lambda: self.add(SMALL).page().status == 200)  # nobody is left alone any more

    def server_peak(self, what: Callable[[], None]) -> int:
        """By how many bytes the server's memory grew at most while this was done."""
        process = Path(f"/proc/{self.server.pid}")
        (process / "clear_refs").write_text("5")  # the peak is what is used now (proc(5))
        before = _status(process, "VmRSS")
        what()
        return _status(process, "VmHWM") - before


class Package:
    """A project of the upstream, and how a client sees it through the server."""

    def __init__(self, world: World, name: str, size: int, told: Options | None) -> None:
        self.world, self.name = world, name
        padding = random.Random(name).randbytes(size)
        self.filename, self.data = make_wheel(name, "1.0", files={f"{name}/padding": padding}, compress=False)
        self.metadata = metadata(name, "1.0")
        self.options = Options(metadata=self.metadata) if told is None else told
        self.publish()

    def publish(self, *more: Listed, data: bytes | None = None, options: Options | None = None) -> None:
        """What the upstream's page lists, and has, from now on."""
        first = self.filename, self.data if data is None else data, options or self.options
        self.world.upstream.projects[self.name] = [first, *more]

    @property
    def page_path(self) -> str:
        return f"/simple/{self.name}/"

    @property
    def file_path(self) -> str:
        return self.world.upstream.file_path(self.name, self.filename)

    @property
    def metadata_path(self) -> str:
        return f"{self.file_path}.metadata"

    def asked(self) -> Counter[str]:
        """How often the upstream was asked for page, file and METADATA, and for pieces of the file."""
        names = {self.page_path: "page", self.file_path: "file", self.metadata_path: "METADATA"}
        return Counter(
            f"piece of {names[request.path]}" if "range" in request.headers else names[request.path]
            for request in list(self.world.upstream.requests)
            if request.path in names
        )

    def stored(self) -> Path | None:
        """Where the file is in the cache."""
        paths = list(self.world.server.root.glob(f"fetched/*/{self.name}/{self.filename}"))
        return paths[0] if paths else None

    def page(self) -> Answer:
        url = f"{self.world.server.url}simple/{self.name}/"
        return ask(url, headers={"Accept": JSON}, timeout=PATIENCE)

    def file(self, ending: str = "", wanted: str | None = None) -> Answer:
        """`wanted`: a byte range such as "0-99"."""
        headers = {"Range": f"bytes={wanted}"} if wanted else None
        url = f"{self.world.server.url}simple/{self.name}/{self.filename}{ending}"
        return ask(url, headers=headers, timeout=PATIENCE)


def at_once(asks: Iterable[Callable[[], Answer]]) -> list[Answer]:
    """The answers to requests that run at the same time."""
    waiting = list(asks)
    with ThreadPoolExecutor(len(waiting)) as pool:
        return list(pool.map(lambda each: each(), waiting))


def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)  # between two looks


def _status(process: Path, key: str) -> int:
    """Of /proc/PID/status, in bytes."""
    for line in (process / "status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc has no {key}")
