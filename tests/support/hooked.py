"""`caseus` in a process whose clock, resolver and time limits a test holds: `python -P hooked.py CONTROLS serve …`.

The test sets them at any time by a mapped file, see `Controls`; caseus itself knows nothing of it.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal, NoReturn

HOST = "upstream.test"
"""The name that is resolved by the test's will, to 127.0.0.1; no real one ends in .test (RFC 6761)."""

FOREIGN = "elsewhere.test"
"""Always resolved, to 127.0.0.1 too."""

Dns = Literal["works", "fails", "hangs"]
_DNS: tuple[Dns, ...] = ("works", "fails", "hangs")
_LAYOUT = struct.Struct("<dB?")
_HASTY = (0.3, 0.3, 0.6, 0.3)  # seconds, in the order of caseus.upstream.Timeouts


class Controls:
    """`offset`: seconds by which the process's clock is wrong; `hasty`: whether it waits 0.3 seconds only."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_LAYOUT.pack(0, 0, False))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)

    @property
    def offset(self) -> float:
        return float(self._read()[0])

    @offset.setter
    def offset(self, seconds: float) -> None:
        self._write(seconds, self.dns, self.hasty)

    @property
    def dns(self) -> Dns:
        return _DNS[self._read()[1]]

    @dns.setter
    def dns(self, how: Dns) -> None:
        self._write(self.offset, how, self.hasty)

    @property
    def hasty(self) -> bool:
        return self._read()[2]

    @hasty.setter
    def hasty(self, hasty: bool) -> None:
        self._write(self.offset, self.dns, hasty)

    def _read(self) -> tuple[float, int, bool]:
        return _LAYOUT.unpack_from(self._map)

    def _write(self, offset: float, dns: Dns, hasty: bool) -> None:
        _LAYOUT.pack_into(self._map, 0, offset, _DNS.index(dns), hasty)


def command(controls: Path) -> tuple[str, ...]:
    """For CaseusServer."""
    return (sys.executable, "-P", __file__, str(controls))


def _hook_clock(controls: Controls) -> None:
    real = time.time
    time.time = lambda: real() + controls.offset


def _hook_resolver(controls: Controls) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == FOREIGN:
            return real("127.0.0.1", *args, **kwargs)
        if host != HOST:
            return real(host, *args, **kwargs)
        while controls.dns == "hangs":
            threading.Event().wait(0.01)
        if controls.dns == "fails":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real("127.0.0.1", *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def _hook_timeouts(controls: Controls) -> None:
    from caseus.upstream import client

    def timeouts(upstream: client.Upstream) -> client.Timeouts:
        return client.Timeouts(*_HASTY) if controls.hasty else upstream.__dict__["timeouts"]

    def keep(upstream: client.Upstream, given: client.Timeouts) -> None:
        upstream.__dict__["timeouts"] = given

    client.Upstream.timeouts = property(timeouts, keep)  # type: ignore[assignment]


def main() -> NoReturn:
    path, *arguments = sys.argv[1:]
    controls = Controls(Path(path))
    _hook_clock(controls)
    _hook_resolver(controls)
    _hook_timeouts(controls)
    from caseus.cli import run

    code = run(arguments)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
