"""Reading everything anew at SIGHUP: the new state, or the old one stays in force and the log tells why."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

import msgspec
import structlog

from caseus.config import Config, ConfigError, Loaded
from caseus.errors import CaseusError
from caseus.server.state import FaultyPasswd, State, read_state
from caseus.upstreams import open_upstream
from caseus.web.metrics import Metrics

Load = Callable[[], Loaded]
"""Flags, environment and file as at the start; CaseusError."""

FIXED: Final = ("root", "host", "port", "bind", "bind_mode", "workers", "http2", "no_fsync")
"""Keys that are heeded at a start only."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


class Reloader:
    """`state` is what is in force."""

    def __init__(self, load: Load, loaded: Loaded, state: State, metrics: Metrics) -> None:
        self.state = state
        self._metrics = metrics
        self._load = load
        self._file = loaded.file

    def reload(self) -> bool:
        """Read it anew and make it `state`; False, and all of it logged, if anything of it is broken."""
        obeyed = self._try()
        self._metrics.reloaded(obeyed)
        return obeyed

    def _try(self) -> bool:
        try:
            self.state = self._read()
        except FaultyPasswd as error:
            for fault in error.faults:
                _log.error(
                    "reload: the password file is faulty", file=str(error.path), line=fault.line, fault=fault.message
                )
            _log.error("reload failed: what was in force stays", reason=str(error))
            return False
        except (CaseusError, OSError) as error:
            _log.error("reload failed: what was in force stays", reason=str(error))
            return False
        return True

    def _read(self) -> State:
        loaded = self._load()
        self._check_file(loaded)
        new = read_state(_with_fixed(loaded.config, self.state.config))
        for upstream in new.config.upstreams:
            open_upstream(upstream).close()  # its certificates are read here
        return new

    def _check_file(self, loaded: Loaded) -> None:
        """One that is gone, or empty while it is written, would silently put the defaults in force."""
        if loaded.file != self._file:
            raise ConfigError(f"the configuration file {self._file} is gone: restart to do without it")
        if loaded.file is not None and not loaded.file.read_bytes().strip():
            raise ConfigError(f"the configuration file {loaded.file} is empty: restart to do without it")


def _with_fixed(new: Config, old: Config) -> Config:
    """The new settings, but for those that need a restart; the log names them."""
    changed = {key: getattr(old, key) for key in FIXED if getattr(new, key) != getattr(old, key)}
    if (new.tls_cert is None) != (old.tls_cert is None):
        changed |= {"tls_cert": old.tls_cert, "tls_key": old.tls_key}
    if changed:
        _log.warning("reload: these settings change at a restart only", settings=sorted(changed))
    return msgspec.structs.replace(new, **changed)


class Hangups:
    """Calls `act` in a thread of its own after each SIGHUP; once for several that come meanwhile."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="caseus-reload", daemon=True).start()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """A signal handler."""
        self._queue.put(None)

    def _run(self) -> None:
        while True:
            self._queue.get()
            while not self._queue.empty():
                self._queue.get()
            self._act()


class Terminal:
    """The terminal that a server was started on, if any: closing it sends SIGHUP too, and means an end."""

    def __init__(self) -> None:
        self._there = _is_there()

    def is_gone(self) -> bool:
        return self._there and not _is_there()


def _is_there() -> bool:
    try:
        return sys.stderr.isatty()
    except (OSError, ValueError):
        return False
