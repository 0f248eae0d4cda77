"""Reading everything anew at SIGHUP: the new state, or the old one stays in force and the log tells why."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from caseus.config import Config, ConfigError, Loaded
from caseus.errors import CaseusError
from caseus.server.state import FaultyPasswd, State, read_state
from caseus.site import cache_limit
from caseus.upstreams import open_upstream
from caseus.web.metrics import Metrics

Load = Callable[[], Loaded]
"""Flags, environment and file as at the start; CaseusError."""

FIXED: Final = ("root", "host", "port", "bind", "bind_mode", "workers", "http2", "watch", "no_fsync")
"""Keys that are heeded at a start only."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


class Reloader:
    """`state` is what is in force."""

    def __init__(self, load: Load, loaded: Loaded, state: State, metrics: Metrics) -> None:
        self.state = state
        self._metrics = metrics
        self._load = load
        self._file = loaded.file
        self._cache_bytes = cache_limit(msgspec.structs.replace(state.config, cache_bytes=None))

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
        new = read_state(settle(_with_fixed(loaded.config, self.state.config), self._cache_bytes))
        for upstream in new.config.upstreams:
            open_upstream(upstream).close()  # its certificates are read here
        return new

    def _check_file(self, loaded: Loaded) -> None:
        """One that is gone, or empty while it is written, would silently put the defaults in force."""
        if loaded.file != self._file:
            raise ConfigError(f"the configuration file {self._file} is gone: restart to do without it")
        if loaded.file is not None and not loaded.file.read_bytes().strip():
            raise ConfigError(f"the configuration file {loaded.file} is empty: restart to do without it")


def settle(config: Config, cache_bytes: int) -> Config:
    """With the size of the cache, where it is not set, that was right at the start: what is half of the free disk
    later, in a reload or a new worker, is less by what has been cached."""
    return config if config.cache_bytes is not None else msgspec.structs.replace(config, cache_bytes=cache_bytes)


def _with_fixed(new: Config, old: Config) -> Config:
    """The new settings, but for those that need a restart; the log names them."""
    changed = {key: getattr(old, key) for key in FIXED if getattr(new, key) != getattr(old, key)}
    if (new.tls_cert is None) != (old.tls_cert is None):
        changed |= {"tls_cert": old.tls_cert, "tls_key": old.tls_key}
    if changed:
        _log.warning("reload: these settings change at a restart only", settings=sorted(changed))
    return msgspec.structs.replace(new, **changed)


class Hangups:
    """Each SIGHUP from now on, also those that come before there is anything to reload."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        signal.signal(signal.SIGHUP, lambda number, frame: self._queue.put(None))

    def came(self) -> bool:
        """Whether there was one since this was asked last; several count once."""
        found = False
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
                found = True
        return found

    def follow(self, act: Callable[[], object]) -> None:
        """Call `act` after each, in a thread of its own."""
        threading.Thread(target=self._follow, args=(act,), name="caseus-reload", daemon=True).start()

    def _follow(self, act: Callable[[], object]) -> None:
        while True:
            self._queue.get()
            self.came()
            act()


class Terminal:
    """The terminal that a server was started on, if any: closing it sends SIGHUP too, and means an end."""

    def __init__(self) -> None:
        self._there = _is_there()

    def is_gone(self) -> bool:
        return self._there and not _is_there()


def _is_there() -> bool:
    return any(map(os.isatty, range(3)))  # False for what is closed, too
