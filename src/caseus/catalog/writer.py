"""One thread writes: it groups what waits into one transaction, under a lock that all processes share.

SQLite's own busy handler starved two of four writers for seconds; with flock all four flow, and grouped commits
reach thousands a second where each pays for one fsync.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from caseus.catalog import journal, schema, sql
from caseus.catalog.locks import exclusive
from caseus.catalog.serial import SerialFile
from caseus.errors import CaseusError, Unavailable

T = TypeVar("T")
Changes = frozenset[tuple[str, str]]
_log = structlog.get_logger(__name__)
_GROUP = 512
_IDLE = 30.0
_WAL_BYTES = 4 * 1024 * 1024

_counter = sql.Statement(select(schema.counters.c.value).where(schema.counters.c.name == bindparam("name")))
_set_counter = sql.Statement(
    update(schema.counters).where(schema.counters.c.name == bindparam("key")).values(value=bindparam("number"))
)
_set_project_serial = sql.Statement(
    upsert(schema.projects)
    .values(tree=bindparam("tree"), name=bindparam("name"), serial=bindparam("serial"))
    .on_conflict_do_update(index_elements=["tree", "name"], set_={"serial": bindparam("serial")}),
    columns=(),
)
_append = sql.Statement(insert(schema.journal))


class Transaction:
    """What a job writes through. A job that raises leaves no trace; others of its group are kept."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self.now = now
        self._counters: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._last: journal.Link | None = None
        self.changes: Changes = frozenset()

    def execute(self, statement: sql.Statement, params: sql.Params) -> int:
        """Run it; the number of rows it changed."""
        return statement.run(self._connection, params).rowcount

    def row(self, statement: sql.Statement, params: sql.Params) -> sqlite3.Row | None:
        return sql.row(self._connection, statement, params)

    def rows(self, statement: sql.Statement, params: sql.Params) -> list[sqlite3.Row]:
        return sql.rows(self._connection, statement, params)

    def counter(self, name: str) -> int:
        if name not in self._counters:
            found = self.row(_counter, {"name": name})
            self._counters[name] = int(found["value"]) if found else 0
        return self._counters[name]

    def add(self, name: str, amount: int = 1) -> int:
        """Move a counter; its new value."""
        self._counters[name] = self.counter(name) + amount
        self._dirty.add(name)
        return self._counters[name]

    def change(self, tree: str, project: str) -> int:
        """Say that readers of this project see something new; the new serial."""
        serial = self.add("serial")
        self.execute(_set_project_serial, {"tree": tree, "name": project, "serial": serial})
        self.changes |= {(tree, project)}
        return serial

    def journal(self, action: str, *, actor: str, **facts: str) -> None:
        """Append an entry, linked to the one before."""
        if self._last is None:
            self._last = journal.last_link(self._connection)
        entry = journal.entry(
            self._last, serial=self.counter("serial"), time=self.now, actor=actor, action=action, **facts
        )
        self.execute(_append, entry)
        self._last = journal.Link(entry["number"], entry["digest"])

    def flush(self) -> None:
        """Write what was kept in memory; last of all."""
        for name in sorted(self._dirty):
            self.execute(_set_counter, {"key": name, "number": self._counters[name]})

    def run(self, job: Callable[[Transaction], T]) -> T:
        """Run a job in a savepoint of its own."""
        kept = (dict(self._counters), set(self._dirty), self._last, self.changes)
        self._connection.execute("SAVEPOINT job")
        try:
            result = job(self)
        except BaseException:
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            self._counters, self._dirty, self._last, self.changes = kept
            raise
        self._connection.execute("RELEASE job")
        return result


class Writer:
    """Takes jobs from any thread; each is durable, and seen by every process, when its future is done."""

    def __init__(self, path: Path, lock: Path, serial: SerialFile, clock: Callable[[], float]) -> None:
        self._path, self._lock, self._serial, self._clock = path, lock, serial, clock
        self._queue: queue.SimpleQueue[tuple[Callable[[Transaction], Any], Future[Any]] | None] = queue.SimpleQueue()
        self.after_commit: Callable[[Changes], None] | None = None
        self.idle: Callable[[Transaction], None] | None = None
        self._unlisted: Changes = frozenset()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="caseus-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Transaction], T]) -> Future[T]:
        if self._closed:
            raise Unavailable("the catalog is closed", kind="local")
        future: Future[T] = Future()
        self._queue.put((job, future))
        return future

    def write(self, job: Callable[[Transaction], T]) -> T:
        """Run the job and wait until it is durable."""
        return self.submit(job).result()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        connection = sql.connect(str(self._path), read_only=False)
        try:
            open_ = True
            while open_:
                group, open_ = self._next_group()
                self._commit_group(connection, group)
                self._checkpoint(connection, last=not open_)
        finally:
            connection.close()

    def _next_group(self) -> tuple[list[tuple[Callable[[Transaction], Any], Future[Any]]], bool]:
        group: list[tuple[Callable[[Transaction], Any], Future[Any]]] = []
        try:
            job = self._queue.get(timeout=_IDLE)
        except queue.Empty:
            return group, True
        while job is not None:
            group.append(job)
            if len(group) == _GROUP or self._queue.empty():
                return group, True
            job = self._queue.get()
        return group, False

    def _commit_group(
        self, connection: sqlite3.Connection, group: Iterable[tuple[Callable[[Transaction], Any], Future[Any]]]
    ) -> None:
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        waiting = list(group)
        try:
            with exclusive(self._lock):
                self._transact(connection, waiting, outcomes)
        except BaseException as error:
            failure = _explain(error)
            for _, future in waiting:
                if not future.done():
                    future.set_exception(failure)
            if not waiting:
                _log.warning("catalog.idle_write_failed", error=str(failure))
            return
        for future, result, failed in outcomes:
            if failed is None:
                future.set_result(result)
            else:
                future.set_exception(failed)

    def _transact(
        self,
        connection: sqlite3.Connection,
        group: list[tuple[Callable[[Transaction], Any], Future[Any]]],
        outcomes: list[tuple[Future[Any], Any, BaseException | None]],
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            transaction = Transaction(connection, self._clock())
            for job, future in group:
                try:
                    outcomes.append((future, transaction.run(job), None))
                except sqlite3.OperationalError:
                    raise  # of the disk or the database, not of the job: none of the group is kept
                except BaseException as error:
                    outcomes.append((future, None, error))
            if self.idle is not None:
                self.idle(transaction)
            transaction.flush()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if transaction.changes:
            # Readers everywhere check this number; it moves before anybody is answered.
            self._serial.serial = transaction.counter("serial")
            self._list_changes(transaction)

    def _list_changes(self, transaction: Transaction) -> None:
        if self.after_commit is None:
            return
        self._unlisted |= transaction.changes
        try:
            self.after_commit(self._unlisted)
        except (CaseusError, OSError) as error:
            # The facts are durable; the lists are made good with the next change or at the next start.
            _log.error("catalog.lists_behind", error=str(error))
        else:
            self._unlisted = frozenset()
            self._serial.listed = transaction.counter("serial")

    def _checkpoint(self, connection: sqlite3.Connection, *, last: bool) -> None:
        wal = f"{self._path}-wal"
        try:
            if last or os.stat(wal).st_size > _WAL_BYTES:
                with exclusive(self._lock):
                    connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if last else 'PASSIVE'})")
        except (OSError, sqlite3.Error, CaseusError) as error:
            _log.warning("catalog.checkpoint_failed", error=str(error))


def _explain(error: BaseException) -> BaseException:
    """The error as callers know it."""
    text = str(error)
    if isinstance(error, CaseusError):
        return error
    if isinstance(error, sqlite3.Error | OSError):
        if "full" in text or "No space" in text:
            return Unavailable("no space left for the catalog: free some and try again", kind="full")
        return Unavailable(f"the catalog can't be written ({text}): try again", kind="local", retry_after=5)
    return error
