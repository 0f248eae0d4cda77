"""Asking for newer pages while readers have the older ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from packaging.utils import NormalizedName

from caseus.errors import CaseusError

_THREADS = 4
_MOST_WAITING = 256

log: Any = structlog.get_logger(__name__)


class Refresher:
    """A few threads that call `refresh` with names, each name once at a time. Its CaseusErrors are logged only."""

    def __init__(self, refresh: Callable[[NormalizedName], None]) -> None:
        self._refresh = refresh
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="refresh")
        self._waiting: set[NormalizedName] = set()
        self._guard = threading.Lock()
        self._closed = False

    def add(self, name: NormalizedName) -> bool:
        """Whether the name is being refreshed now or soon; not if too many wait already."""
        with self._guard:
            if name in self._waiting:
                return True
            if self._closed or len(self._waiting) >= _MOST_WAITING:
                return False
            self._waiting.add(name)
            self._threads.submit(self._run, name)
        return True

    def close(self) -> None:
        """Drops what waits, and waits for what runs."""
        with self._guard:
            self._closed = True
        self._threads.shutdown(cancel_futures=True)

    def _run(self, name: NormalizedName) -> None:
        try:
            self._refresh(name)
        except CaseusError as error:
            log.info("upstream.not_refreshed", project=name, error=str(error))
        except Exception:
            log.exception("upstream.not_refreshed", project=name)
        finally:
            with self._guard:
                self._waiting.discard(name)
