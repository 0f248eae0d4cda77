"""What a job of the writer reads and writes by: one transaction, shared by all jobs of a group."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from sqlalchemy import bindparam, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from caseus.catalog import journal, schema, sql
from caseus.catalog.rows import HostedFile

T = TypeVar("T")

_counters = sql.Statement(select(schema.counters.c.name, schema.counters.c.value))
_set_counter = sql.Statement(
    upsert(schema.counters)
    .values(name=bindparam("name"), value=bindparam("value"))
    .on_conflict_do_update(index_elements=["name"], set_={"value": bindparam("value")}),
    columns=(),
)
_project = sql.Statement(
    select(schema.projects.c.listed, schema.projects.c.listed_serial).where(
        schema.projects.c.tree == bindparam("tree"), schema.projects.c.name == bindparam("name")
    )
)
_set_project = sql.Statement(
    upsert(schema.projects)
    .values({column.name: bindparam(column.name) for column in schema.projects.columns})
    .on_conflict_do_update(
        index_elements=["tree", "name"], set_={name: bindparam(name) for name in ("serial", "listed", "listed_serial")}
    ),
    columns=(),
)
_append = sql.Statement(insert(schema.journal))


class Syncs(Protocol):
    """A store, as the writer knows it."""

    def sync(self, keys: Iterable[str], *, beside: bool, meanwhile: Callable[[], bool]) -> None: ...


class Changes(NamedTuple):
    """`projects`: (tree, name) of those of which readers see something new; `added`: files that were put in.

    Of a project in `altered` something else is new too, or nobody knows what.
    """

    projects: frozenset[tuple[str, str]] = frozenset()
    altered: frozenset[tuple[str, str]] = frozenset()
    added: tuple[HostedFile, ...] = ()

    def and_of(self, tree: str, project: str, added: HostedFile | None = None) -> Changes:
        """With a change of one more project."""
        name = {(tree, project)}
        if added is None:
            return Changes(self.projects | name, self.altered | name, self.added)
        return Changes(self.projects | name, self.altered, (*self.added, added))


class _Placed(NamedTuple):
    """What a job has put into a store; `beside`: next to what is durable."""

    store: Syncs
    keys: Sequence[str]
    beside: bool


class Transaction:
    """What a job writes through. A job that raises leaves no trace; others of its group are kept."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self.now = now
        self._counters = {row["name"]: int(row["value"]) for row in self.rows(_counters, {})}
        self._dirty: set[str] = set()
        self._last: journal.Link | None = None
        self.since = self.counter("serial")
        """The serial of the transaction before this one."""
        self.changes = Changes()
        self.placed: tuple[_Placed, ...] = ()

    def execute(self, statement: sql.Statement, params: sql.Params) -> int:
        """Run it; the number of rows it changed."""
        return statement.run(self._connection, params).rowcount

    def row(self, statement: sql.Statement, params: sql.Params) -> sqlite3.Row | None:
        return sql.row(self._connection, statement, params)

    def rows(self, statement: sql.Statement, params: sql.Params) -> list[sqlite3.Row]:
        return sql.rows(self._connection, statement, params)

    def counter(self, name: str) -> int:
        return self._counters.get(name, 0)

    def add(self, name: str, amount: int = 1) -> int:
        """Move a counter; its new value."""
        self._counters[name] = self.counter(name) + amount
        self._dirty.add(name)
        return self._counters[name]

    def moved(self, name: str) -> bool:
        """Whether the counter did, in this transaction."""
        return name in self._dirty

    def change(self, tree: str, project: str, *, listed: bool | None = None, added: HostedFile | None = None) -> int:
        """Say that readers of this project see something new; the new serial.

        `listed`: whether it stands in the list of projects from now on, None for as before. `added`: the file that
        was put in, where that is all that is new.
        """
        serial = self.add("serial")
        name = {"tree": tree, "name": project}
        row = self.row(_project, name)
        before = bool(row["listed"]) if row else False
        now = before if listed is None else listed
        since = int(row["listed_serial"]) if row and now == before else serial
        self.execute(_set_project, name | {"serial": serial, "listed": now, "listed_serial": since})
        if now != before:
            self.add(f"projects {tree}", 1 if now else -1)
        self.changes = self.changes.and_of(tree, project, added)
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

    def place(self, store: Syncs, keys: Sequence[str], *, beside: bool) -> None:
        """Say what lies in a store by this job, and must be durable before its facts are."""
        self.placed += (_Placed(store, keys, beside),)

    def sync(self, meanwhile: Callable[[], bool]) -> None:
        """Make durable what all jobs placed, each store at once: a wait for the disk for all of them.

        `meanwhile`: as `durability.sync_all` has it.
        """
        for store in dict.fromkeys(placed.store for placed in self.placed):
            found = [placed for placed in self.placed if placed.store is store]
            keys = [key for placed in found for key in placed.keys]
            store.sync(keys, beside=all(placed.beside for placed in found), meanwhile=meanwhile)

    def flush(self) -> None:
        """Write what was kept in memory; last of all."""
        text, _ = _set_counter.compiled
        self._connection.executemany(text, [{"name": name, "value": self._counters[name]} for name in self._dirty])

    def run(self, job: Callable[[Transaction], T]) -> T:
        """Run a job in a savepoint of its own."""
        kept = (dict(self._counters), set(self._dirty), self._last, self.changes, self.placed)
        self._connection.execute("SAVEPOINT job")
        try:
            result = job(self)
        except BaseException:
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            self._counters, self._dirty, self._last, self.changes, self.placed = kept
            raise
        self._connection.execute("RELEASE job")
        return result
