"""`caseus` in a process whose clock, resolver and patience a test holds: `python -P hooked.py CONTROLS serve …`.

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
"""The only name that is resolved by the test's will, to 127.0.0.1; no real one ends in .test (RFC 6761)."""

Dns = Literal["works", "fails", "hangs"]
_DNS: tuple[Dns, ...] = ("works", "fails", "hangs")
_LAYOUT = struct.Struct("<dB")
_TIMEOUTS = (2.0, 2.0, 5.0)  # seconds: to connect, for each wait, for a page; by default 5, 10 and 30


class Controls:
    """`offset`: seconds by which the process's clock is wrong."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_LAYOUT.pack(0, 0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)

    @property
    def offset(self) -> float:
        return float(_LAYOUT.unpack_from(self._map)[0])

    @offset.setter
    def offset(self, seconds: float) -> None:
        _LAYOUT.pack_into(self._map, 0, seconds, _DNS.index(self.dns))

    @property
    def dns(self) -> Dns:
        number: int = _LAYOUT.unpack_from(self._map)[1]
        return _DNS[number]

    @dns.setter
    def dns(self, how: Dns) -> None:
        _LAYOUT.pack_into(self._map, 0, self.offset, _DNS.index(how))


def command(controls: Path, *, patient: bool = False) -> tuple[str, ...]:
    """For CaseusServer. `patient`: with the timeouts that people get."""
    return (sys.executable, "-P", __file__, "--patient" if patient else "--impatient", str(controls))


def _hook_clock(controls: Controls) -> None:
    real = time.time
    time.time = lambda: real() + controls.offset


def _hook_resolver(controls: Controls) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != HOST:
            return real(host, *args, **kwargs)
        while controls.dns == "hangs":
            threading.Event().wait(0.01)
        if controls.dns == "fails":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real("127.0.0.1", *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def _hook_timeouts() -> None:
    from caseus.upstream import client

    defaults = client.Upstream.__init__.__kwdefaults__
    assert defaults is not None and isinstance(defaults["timeouts"], client.Timeouts)
    defaults["timeouts"] = defaults["timeouts"]._replace(connect=_TIMEOUTS[0], read=_TIMEOUTS[1], page=_TIMEOUTS[2])


def main() -> NoReturn:
    patience, path, *arguments = sys.argv[1:]
    controls = Controls(Path(path))
    _hook_clock(controls)
    _hook_resolver(controls)
    if patience == "--impatient":
        _hook_timeouts()
    from caseus.cli import run

    code = run(arguments)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
