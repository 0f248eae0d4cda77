"""One thread writes: it groups what waits into one transaction, under a lock that all processes share.

SQLite's own busy handler starved two of four writers for seconds; with flock all four flow, and grouped commits
reach thousands a second where each pays for one fsync.
"""

from __future__ import annotations

import math
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog
from sqlalchemy import bindparam, select

from caseus import durability
from caseus.catalog import schema, sql
from caseus.catalog.locks import Lock
from caseus.catalog.serial import SerialFile
from caseus.catalog.transaction import Changes, Transaction
from caseus.catalog.trouble import unwritable
from caseus.errors import CaseusError, Unavailable

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_GROUP = 512
_IDLE = 30.0
_PATIENCE = 9.0  # seconds that a job waits for locks, from when it was submitted
_LEAST_PATIENCE = 1.0  # seconds that are left to a job that waited for the one before
_CHECKPOINT = 1000  # rows that were changed since the last one: some four megabytes of log
_LARGE_LOG = 64 * 1024 * 1024  # bytes, from which on it is worth to wait for readers to cut it off
_SETTLE = 0.5  # seconds without a job, after which lists are made durable
_MOST_UNSETTLED = 256
_MOST_BEHIND = 100

_changed_since = sql.Statement(
    select(schema.projects.c.tree, schema.projects.c.name, schema.projects.c.serial)
    .where(schema.projects.c.serial > bindparam("serial"), schema.projects.c.tree.like("files/%"))
    .order_by(schema.projects.c.serial)
    .limit(bindparam("most"))
)


class _Unsynced(Exception):
    """The disk did not take what jobs of a group placed, for a reason; `placed`: the jobs that placed something."""

    def __init__(self, reason: BaseException, placed: Sequence[_Waiting]) -> None:
        super().__init__(str(reason))
        self.reason, self.placed = reason, placed


class _Work(NamedTuple):
    """What is to be done before the next transaction; `since`: monotonic seconds."""

    act: Callable[[], object]
    future: Future[None]
    since: float


class _Waiting(NamedTuple):
    """A job in the queue; `since`: monotonic seconds."""

    job: Callable[[Transaction], Any]
    future: Future[Any]
    since: float
    durable: bool


_Outcomes = list[tuple[Future[Any], Any, BaseException | None]]


class Writer:
    """Takes jobs from any thread; each is durable, and seen by every process, when its future is done.

    `after_commit` is called with what changed, before anybody is answered, and `settle` when there is time, both under
    the lock of all processes; `settle` tells whether there is more to do. `during` lasts for each transaction with what
    comes after its commit.
    """

    def __init__(self, path: Path, lock: Path, serial: SerialFile, clock: Callable[[], float]) -> None:
        self._path, self._lock, self._serial, self._clock = path, Lock(lock), serial, clock
        self._queue: queue.SimpleQueue[_Waiting | _Work | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._pragmas: dict[str, str] = {}
        self.after_commit: Callable[[Changes], None] | None = None
        self.settle: Callable[[], bool] | None = None
        self.during: Callable[[], AbstractContextManager[None]] = nullcontext
        self.idle: Callable[[Transaction], None] | None = None
        self._unsettled = 1  # something may have been left by who was here before
        self._checkpointed = 0
        self._closed = False
        self._work: _Work | None = None
        self._ahead: deque[_Waiting | None] = deque()  # taken from the queue while the disk was waited for
        self._thread = threading.Thread(target=self._run, name="caseus-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Transaction], T], *, durable: bool = True) -> Future[T]:
        """`durable`: whether it has to outlive a power cut; a kill it does in any case."""
        if self._closed:
            raise Unavailable("the catalog is closed", kind="local")
        future: Future[T] = Future()
        work = self._work if threading.current_thread() is self._thread else None
        self._queue.put(_Waiting(job, future, time.monotonic() if work is None else work.since, durable))
        return future

    def prepare(self, act: Callable[[], object]) -> Future[None]:
        """Do it in the writer's thread, outside of its transactions; what it submits is in the next one.

        For what takes little more than to hand it to another thread, and never waits for the writer.
        """
        if self._closed:
            raise Unavailable("the catalog is closed", kind="local")
        future: Future[None] = Future()
        self._queue.put(_Work(act, future, time.monotonic()))
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
        try:
            open_ = True
            while open_:
                group, open_ = self._next_group()
                if group or not self._unsettled:
                    self._commit_group(group)
                if self._unsettled and (not group or not open_ or self._unsettled >= _MOST_UNSETTLED):
                    self._settle()
                self._checkpoint(last=not open_)
        finally:
            if self._connection is not None:
                self._connection.close()
            self._lock.close()

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        group: list[_Waiting] = []
        while len(group) < _GROUP and not (group and not self._ahead and self._queue.empty()):
            waiting: _Waiting | _Work | None
            try:
                waiting = self._ahead.popleft() if self._ahead else self._queue.get(timeout=self._pause())
            except queue.Empty:
                break
            if waiting is None:
                return group, False
            if isinstance(waiting, _Work):
                self._do(waiting)
            else:
                group.append(waiting)
        return group, True

    def _pause(self) -> float:
        return _SETTLE if self._unsettled else _IDLE

    def _look_ahead(self) -> bool:
        """Something that waits is prepared while the disk is busy with this transaction; whether there was any."""
        try:
            waiting = self._queue.get_nowait()
        except queue.Empty:
            return False
        if isinstance(waiting, _Work):
            self._do(waiting)
        else:
            self._ahead.append(waiting)
        return True

    def _do(self, work: _Work) -> None:
        if not work.future.set_running_or_notify_cancel():
            return
        self._work = work
        try:
            work.act()
        except BaseException as error:
            work.future.set_exception(error)
        else:
            work.future.set_result(None)
        finally:
            self._work = None

    def _commit_group(self, group: list[_Waiting]) -> None:
        outcomes: _Outcomes = []
        # Who waited behind a group that met a locked database has less left: nobody waits for two time limits. What is
        # written when nobody waits can wait for the next time.
        deadline = min((waiting.since + _PATIENCE for waiting in group), default=time.monotonic())
        try:
            with self._lock.held(timeout=_left(deadline)), self.during():
                self._transact_what_is_sound(self._connected(_left(deadline)), group, outcomes)
        except BaseException as error:
            failure = unwritable(error, self._path) if isinstance(error, sqlite3.Error | OSError) else error
            for waiting in group:
                if not waiting.future.done():
                    waiting.future.set_exception(failure)
            if not group:
                _log.warning("catalog.idle_write_failed", error=str(failure))
            return
        for future, result, failed in outcomes:
            if failed is None:
                future.set_result(result)
            else:
                future.set_exception(failed)

    def _connected(self, patience: float) -> sqlite3.Connection:
        """Made at the first need, and again if that failed: a full disk or a locked database may be so for a while."""
        if self._connection is None:
            self._pragmas.clear()
            self._connection = sql.connect(str(self._path), read_only=False, timeout=patience)
        self._set("busy_timeout", str(1000 * math.ceil(patience)))
        return self._connection

    def _set(self, pragma: str, value: str) -> None:
        """Of the connection; a statement that changes nothing costs as much as one that does."""
        if self._connection is not None and self._pragmas.get(pragma) != value:
            self._connection.execute(f"PRAGMA {pragma} = {value}")
            self._pragmas[pragma] = value

    def _transact_what_is_sound(
        self, connection: sqlite3.Connection, group: list[_Waiting], outcomes: _Outcomes
    ) -> None:
        """Without those whose bytes the disk did not take: which of them it was is not told, and the disk tells of a
        lost page once, so that to ask it again would prove nothing."""
        done: _Outcomes = []
        try:
            self._transact(connection, group, done)
        except _Unsynced as error:
            outcomes += [(waiting.future, None, error.reason) for waiting in error.placed]
            if sound := [waiting for waiting in group if waiting not in error.placed]:
                self._transact_what_is_sound(connection, sound, outcomes)
        else:
            outcomes += done

    def _transact(self, connection: sqlite3.Connection, group: list[_Waiting], outcomes: _Outcomes) -> None:
        level = durability.synchronous()
        if not any(waiting.durable for waiting in group) and level == "FULL":
            level = "NORMAL"  # in the log at once, on the disk with the next group that needs it
        self._set("synchronous", level)
        connection.execute("BEGIN IMMEDIATE")
        try:
            transaction = Transaction(connection, self._clock())
            placed: list[_Waiting] = []
            for waiting in group:
                before = transaction.placed
                try:
                    outcomes.append((waiting.future, transaction.run(waiting.job), None))
                except sqlite3.OperationalError:
                    raise  # of the disk or the database, not of the job: none of the group is kept
                except BaseException as error:
                    outcomes.append((waiting.future, None, error))
                if transaction.placed is not before:
                    placed.append(waiting)
            try:
                transaction.sync(self._look_ahead)
            except (CaseusError, OSError) as error:
                raise _Unsynced(error, placed) from error
            if self.idle is not None:
                self.idle(transaction)
            transaction.flush()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        # Readers everywhere check these numbers; they move before anybody is answered.
        if transaction.moved("users"):
            self._serial.users = transaction.counter("users")
        if transaction.changes.projects:
            self._serial.serial = transaction.counter("serial")
            self._list_changes(connection, transaction)

    def _list_changes(self, connection: sqlite3.Connection, transaction: Transaction) -> None:
        """Also those that somebody else could not list: a process that was killed, or one whose disk was full."""
        if self.after_commit is None:
            return
        changes, written, done = transaction.changes, self._serial.written, transaction.counter("serial")
        self._unsettled += len(changes.projects)
        try:
            if written != transaction.since:
                behind = sql.rows(connection, _changed_since, {"serial": written, "most": _MOST_BEHIND})
                names = frozenset((row["tree"], row["name"]) for row in behind)
                changes = Changes(changes.projects | names, changes.projects | names)
                done = behind[-1]["serial"] if len(behind) == _MOST_BEHIND else done
            self.after_commit(changes)
        except (CaseusError, OSError, sqlite3.Error) as error:
            # The facts are durable; the lists are made good with the next change or at the next start.
            _log.error("catalog.lists_behind", error=str(error))
        else:
            self._serial.written = done
            if self.settle is None:
                self._serial.listed = done

    def _settle(self) -> None:
        self._unsettled = 0
        if self.settle is None:
            return
        try:
            with self._lock.held():
                self._unsettled = int(self.settle())
        except (CaseusError, OSError) as error:
            _log.error("catalog.lists_behind", error=str(error))

    def _checkpoint(self, *, last: bool) -> None:
        if self._connection is None:
            return
        changed = self._connection.total_changes
        if not last and changed - self._checkpointed < _CHECKPOINT:  # its size would not tell: it never shrinks
            return
        self._checkpointed = changed
        wal = f"{os.path.realpath(self._path)}-wal"  # beside the file itself, where the catalog is a link
        try:
            with self._lock.held():
                large = os.stat(wal).st_size > _LARGE_LOG
                self._set("busy_timeout", "1000")  # it can wait for the next time
                self._connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if last or large else 'PASSIVE'})")
        except (OSError, sqlite3.Error, CaseusError) as error:
            _log.warning("catalog.checkpoint_failed", error=str(error))


def _left(deadline: float) -> float:
    """Seconds."""
    return max(deadline - time.monotonic(), _LEAST_PATIENCE)
