"""What `/metrics` tells: numbers without names, so that it needs no login."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

from caseus import __version__

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class Metrics:
    """`folder`: of this server alone, where its processes keep their counts; None where there is one process.

    With a folder, each process that was forked calls `begin`, and all are told of the deaths of others by `bury`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        if folder is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # read by the import below
        from prometheus_client import CollectorRegistry, Counter, Gauge

        self._registry = registry = CollectorRegistry()
        self._requests = Counter("caseus_requests", "Requests answered, by status", ["status"], registry=registry)
        self._by_status = {200: self._requests.labels("200")}
        self._build = Gauge(
            "caseus_build_info", "Versions", ["version", "python"], registry=registry, multiprocess_mode="livemax"
        )
        self._obeyed = Gauge(
            "caseus_reload_success",
            "1 if the last SIGHUP was obeyed, 0 if something was broken and what was in force stays",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._reloaded = Gauge(
            "caseus_reload_timestamp_seconds",
            "When settings, password file and certificate were last read anew, or first",
            registry=registry,
            multiprocess_mode="max",
        )
        self._deaths = Counter("caseus_worker_deaths", "Workers that died and were replaced", registry=registry)
        self.begin()

    def begin(self) -> None:
        """In a new process."""
        self._build.labels(__version__, platform.python_version()).set(1)
        self.reloaded(True)

    def requested(self, status: int, times: int = 1) -> None:
        """So many requests were answered; costs less than a microsecond."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(str(status))
        counter.inc(times)

    def reloaded(self, obeyed: bool) -> None:
        self._obeyed.set(obeyed)
        if obeyed:
            self._reloaded.set(time.time())

    def bury(self, pid: int) -> None:
        """A worker died: its counts stay, its states go."""
        self._deaths.inc()
        if self._folder is not None:
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]

    def text(self) -> bytes:
        """In Prometheus's text format; of all processes. Blocks."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry if self._folder is None else self._gathered(self._folder))

    def _gathered(self, folder: Path) -> CollectorRegistry:
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
        return registry
