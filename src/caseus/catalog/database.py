"""What the parts of the catalog share: the reading connections, the writer, the mapped serial."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select

from caseus.catalog import schema, sql
from caseus.catalog.locks import Presence, exclusive, exclusive_at_once
from caseus.catalog.serial import SerialFile
from caseus.catalog.trouble import TROUBLE, unreadable
from caseus.catalog.watch import SerialWatch
from caseus.catalog.writer import Writer
from caseus.errors import Unavailable

_counter = sql.Statement(select(schema.counters.c.value).where(schema.counters.c.name == bindparam("name")))
_project_serial = sql.Statement(
    select(schema.projects.c.serial).where(
        schema.projects.c.tree == bindparam("tree"), schema.projects.c.name == bindparam("name")
    )
)
_changed_since = sql.Statement(
    select(schema.projects)
    .where(schema.projects.c.serial > bindparam("serial"))
    .order_by(schema.projects.c.serial)
    .limit(bindparam("most"))
)

_KEPT_READERS = 8


class Database:
    """SQLite in ROOT/catalog.sqlite. Thread-safe."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self.root = root
        self.clock = clock
        self._path = root / "catalog.sqlite"
        self._readers: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._closed = False
        self.presence = Presence(root / "server.lock")
        self._serial = SerialFile(root / "serial")
        self._watch: SerialWatch | None = None
        self.writer = Writer(self._path, root / "write.lock", self._serial, clock)

    def close(self) -> None:
        """Finish what is queued, then close everything."""
        if self._watch is not None:
            self._watch.close()
        self.writer.close()
        with self._guard:
            self._closed = True
            for reader in self._readers:
                reader.close()
            self._readers.clear()
        self._serial.close()
        self.presence.close()

    @property
    def listed(self) -> int:
        """The serial up to which the lists beside the files are written."""
        return self._serial.listed

    @listed.setter
    def listed(self, serial: int) -> None:
        self._serial.listed = serial

    @property
    def written(self) -> int:
        """The serial up to which the lists are written, though a power cut may still undo that."""
        return self._serial.written

    @written.setter
    def written(self, serial: int) -> None:
        self._serial.written = serial

    def serial(self) -> int:
        """The number that grows with every change of what readers see; costs 0.1 us."""
        return self._serial.serial

    def adopt_serial(self) -> None:
        """Take the database's word after a start: a kill may have fallen between COMMIT and the mapped numbers.

        Under the lock of all writers, and only where they differ: between another's COMMIT and its store, they do, and
        the number that was read before would be set after the newer one.
        """
        if not self._is_adopted():
            with exclusive(self.root / "write.lock"):
                self._adopt()

    def adopt_serial_at_once(self) -> bool:
        """The same, unless somebody writes just now, who will store the number: then False."""
        if self._is_adopted():
            return True
        with exclusive_at_once(self.root / "write.lock") as alone:
            if alone:
                self._adopt()
            return alone

    def _is_adopted(self) -> bool:
        number = self.counter("serial")
        agrees = self._serial.serial == number and self._serial.users == self.counter("users")
        return agrees and self._serial.listed <= number

    def _adopt(self) -> None:
        number = self.counter("serial")
        self._serial.serial = number
        self._serial.users = self.counter("users")
        if self._serial.listed > number:
            self._serial.listed = 0  # the catalog is older than its lists: a restored backup
            self._serial.written = 0

    def watch_serial(self) -> None:
        """Look ten times a second, until the catalog is closed, for what `adopt_serial` makes good.

        Another process may be killed between its COMMIT and its store, and nobody then tells the ones that go on.
        """
        if self._watch is None:
            self._watch = SerialWatch(self._path, self.adopt_serial_at_once)

    def counter(self, name: str) -> int:
        row = self._row(_counter, name=name)
        return int(row["value"]) if row else 0

    def identity(self) -> int:
        """A number that a catalog keeps from when it is made; copies of it have the same."""
        return self.counter("identity")

    def project_serial(self, tree: str, name: str) -> int:
        """The serial of the project's last visible change, 0 if the tree never had it."""
        row = self._row(_project_serial, tree=tree, name=name)
        return int(row["serial"]) if row else 0

    def changed_since(self, serial: int, most: int) -> list[tuple[str, str, int]]:
        """(tree, project, serial of its last visible change) of the first `most` that changed after that serial."""
        rows = self._rows(_changed_since, serial=serial, most=most)
        return [(row["tree"], row["name"], row["serial"]) for row in rows]

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection for one read. A few are kept: one for each thread would be two descriptors for each."""
        with self._guard:
            if self._closed:
                raise Unavailable("the catalog is closed", kind="local")
            connection = self._readers.pop() if self._readers else None
        try:
            if connection is None:
                connection = sql.connect(str(self._path), read_only=True)
            yield connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, TROUBLE):
                raise unreadable(error, self._path) from None
            raise
        with self._guard:
            if not self._closed and len(self._readers) < _KEPT_READERS:
                self._readers.append(connection)
                return
        connection.close()

    def _read(self, statement: sql.Statement, params: sql.Params) -> list[sqlite3.Row]:
        with self._reader() as connection:
            return sql.rows(connection, statement, params)

    def _rows(self, statement: sql.Statement, **params: Any) -> list[sqlite3.Row]:
        return self._read(statement, params)

    def _row(self, statement: sql.Statement, **params: Any) -> sqlite3.Row | None:
        with self._reader() as connection:
            return sql.row(connection, statement, params)

    def _pages(self, statement: sql.Statement, params: dict[str, Any], keys: tuple[str, ...]) -> Iterator[sqlite3.Row]:
        """All rows of a statement as `sql.pages` takes it, lazily."""
        return sql.pages(self._read, statement, params, keys)
