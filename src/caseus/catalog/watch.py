"""A thread that looks, ten times a second, whether the mapped serial is still the database's."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from caseus.catalog import sql
from caseus.catalog.trouble import TROUBLE
from caseus.errors import CaseusError

PERIOD = 0.1
"""Seconds."""

_log = structlog.get_logger(__name__)


class SerialWatch:
    """Calls `adopt` after each change of the database that another connection made; again if it gives False."""

    def __init__(self, path: Path, adopt: Callable[[], bool]) -> None:
        self._path, self._adopt = path, adopt
        self._stop = threading.Event()
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None
        self._thread = threading.Thread(target=self._run, name="caseus-serial", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        troubled = False
        while not self._stop.wait(PERIOD):
            try:
                self._look()
                troubled = False
            except (*TROUBLE, OSError, CaseusError) as error:
                if not troubled:  # it goes on being looked at; the requests tell more
                    _log.warning("catalog.serial_unsure", error=str(error))
                troubled = True
                self._disconnect()
        self._disconnect()

    def _look(self) -> None:
        if self._connection is None:
            self._connection = sql.connect(str(self._path), read_only=True)
        # Cheaper than the number itself, and the same for as long as no other connection commits.
        version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        if version != self._seen:
            self._seen = version if self._adopt() else None

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._seen = None, None
