"""What upkeep asks of the catalog: to act where nobody can come between, facts put back as they were, and counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    union,
    update,
)

from caseus.catalog import holdings, journal, schema, sql
from caseus.catalog.database import Database
from caseus.catalog.fetched import fetched_file
from caseus.catalog.rows import CachedTree, FetchedFile, HostedFile, Tombstone, Totals
from caseus.catalog.transaction import Transaction
from caseus.catalog.trouble import TROUBLE
from caseus.errors import Unavailable

T = TypeVar("T")

_f, _t, _c, _g = schema.files.c, schema.tombstones.c, schema.claims.c, schema.fetched_files.c
_p, _j = schema.upstream_pages.c, schema.journal.c
_tree: BindParameter[str] = bindparam("tree")
_name: BindParameter[str] = bindparam("name")
_filename: BindParameter[str] = bindparam("filename")

_row = sql.Statement(select(schema.files).where(_f.tree == _tree, _f.filename == _filename))
_claim = sql.Statement(select(_c.until).where(_c.tree == _tree, _c.filename == _filename))
_drop_claim = sql.Statement(delete(schema.claims).where(_c.tree == _tree, _c.filename == _filename))
_grave = sql.Statement(select(_t.tree).where(_t.tree == _tree, _t.filename == _filename))
_accounts = {
    # What an older catalog has not is read as `_since`: its columns as they are, its tables as empty.
    table: (sql.Statement(select(literal_column("*")).select_from(table)), sql.Statement(insert(table)))
    for table in (schema.users, schema.tokens, schema.uploaders, schema.aliases)
}
_since: dict[Table, dict[str, Any]] = {schema.users: {"read_only": False}}
_clear_stored = sql.Statement(update(schema.fetched_files).values(stored=False))

_counts = {
    name: sql.Statement(select(func.count().label("number")).select_from(table))
    for name, table in (("users", schema.users), ("tokens", schema.tokens))
}
_rows_of_files = {
    name: sql.Statement(select(func.count().label("number")).select_from(table))
    for name, table in (("files", schema.files), ("fetched_files", schema.fetched_files))
}
_counters = sql.Statement(
    select(schema.counters).where(
        schema.counters.c.name >= bindparam("first"), schema.counters.c.name < bindparam("behind")
    )
)
_trees = sql.Statement(union(select(_g.tree), select(_p.tree)).order_by("tree"))
_cached = sql.Statement(
    select(
        func.count().label("files"),
        func.coalesce(func.sum(_g.size), 0).label("bytes"),
        func.min(_g.used).label("oldest"),
        func.max(_g.used).label("newest"),
    ).where(_g.tree == _tree, _g.stored.is_(True))
)
_pages = sql.Statement(select(func.count().label("number")).where(_p.tree == _tree))
_unused = sql.Statement(
    select(schema.fetched_files).where(_g.stored.is_(True), _g.used < bindparam("before")).order_by(_g.used)
)
_fetched_named = sql.Statement(select(schema.fetched_files).where(_g.filename == _filename).order_by(_g.tree))
_ahead = sql.Statement(select(schema.projects.c.name).where(schema.projects.c.serial > bindparam("number")).limit(1))


class Upkeep(Database):
    """Reads answer at once; writes return when they are durable."""

    def faults(self) -> list[str]:
        """What is wrong with the database itself, in words; empty where it is sound. SQLite reads all of it."""
        try:
            with self._reader() as connection:
                found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
            if found == ["ok"]:
                behind = self._row(_ahead, number=self.counter("serial"))
                found = [f"the serial is smaller than that of {behind['name']}"] if behind else []
        except Unavailable as error:
            return [str(error)]
        return found

    def alone(self, action: Callable[[], T]) -> T:
        """Do something under the lock of all processes, where no fact and no list can change; keep it short."""
        return self.writer.write(lambda _: action())

    def discard(self, tree: str, filename: str, sidecar: str, action: Callable[[], None]) -> bool:
        """Do away with bytes that no fact knows, while nobody can claim or publish their name; whether it was done.

        `sidecar`: its ending, "" for the file itself. A row that has it, or a live claim on the name, forbids it. An
        upload whose lease is over loses its claim, so that it can't publish what was just taken from under it.
        """

        def job(transaction: Transaction) -> bool:
            name = {"tree": tree, "filename": filename}
            row = transaction.row(_row, name)
            if row is not None:
                has = {"": True, ".metadata": row["metadata_sha256"] is not None, ".asc": bool(row["has_sig"])}
                if has.get(sidecar, True):
                    return False
            claim = transaction.row(_claim, name)
            if claim is not None and claim["until"] > transaction.now:
                return False
            transaction.execute(_drop_claim, name)
            action()
            return True

        return self.writer.write(job)

    # Facts put back.

    def reinstate(self, files: Iterable[HostedFile], tombstones: Iterable[Tombstone], *, actor: str) -> list[str]:
        """Write facts as they were, each with a journal entry; the filenames that were taken already, which it leaves.

        A tree has each filename once, in whichever project.
        """

        def job(transaction: Transaction) -> list[str]:
            taken = []
            for file in files:
                if _is_taken(transaction, file):
                    taken.append(file.filename)
                    continue
                holdings.put(transaction, file)
                transaction.change(file.tree, file.project, listed=True)
                _tell(transaction, file, actor)
            for grave in tombstones:
                if _is_taken(transaction, grave):
                    taken.append(grave.filename)
                    continue
                holdings.bury(transaction, grave)
                transaction.change(grave.tree, grave.project)
                _tell(transaction, grave, actor, "a tombstone")
            return taken

        return self.writer.write(job)

    def adopt_accounts(self, other: Path, *, actor: str) -> int | None:
        """Take over users, tokens, uploaders and aliases of another catalog.

        The number of users; None if it can't be read.
        """
        try:
            with closing(sqlite3.connect(f"{other.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                connection.row_factory = sqlite3.Row
                there = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master")}
                found = {
                    table: [_since.get(table, {}) | dict(row) for row in sql.rows(connection, read, {})]
                    for table, (read, _) in _accounts.items()
                    if table.name in there or table in (schema.users, schema.tokens)
                }
        except TROUBLE:
            return None

        def job(transaction: Transaction) -> int:
            for table, (_, write) in _accounts.items():
                for row in found.get(table, ()):
                    transaction.execute(write, row)
            transaction.add("users")
            for user in found[schema.users]:
                transaction.journal("user-add", actor=actor, detail=f"{user['name']}, kept from the catalog before")
            return len(found[schema.users])

        return self.writer.write(job)

    def raise_serial(self, number: int) -> None:
        """Let the serial go on from there, if it is not beyond it already."""
        self.writer.write(lambda tx: tx.add("serial", max(0, number - tx.counter("serial"))))
        self.adopt_serial()

    def clear_stored(self) -> None:
        """Say that no fetched bytes are there; what is known of the files stays."""

        def job(transaction: Transaction) -> None:
            transaction.execute(_clear_stored, {})
            transaction.add("cache", -transaction.counter("cache"))
            for row in transaction.rows(_counters, _named("files", "fetched/")):
                transaction.add(row["name"], -int(row["value"]))

        self.writer.write(job)

    # Counts, and what the cache has.

    def totals(self, tree: str = "files/") -> Totals:
        """Of everything; `tree` narrows what is published here to one index."""

        def counted(what: holdings.Counted, trees: str) -> list[int]:
            return [int(row["value"]) for row in self._rows(_counters, **_named(what, trees))]

        return Totals(
            projects=sum(counted("projects", tree)),
            files=sum(counted("files", tree)),
            bytes=sum(counted("bytes", tree)),
            tombstones=sum(counted("tombstones", tree)),
            last_upload=max(counted("uploaded", tree), default=None),
            fetched_files=sum(counted("files", "fetched/")),
            journal_entries=journal.last_entry(self._read).number,
            **{name: self._rows(statement)[0]["number"] for name, statement in _counts.items()},
        )

    def count_files(self) -> int:
        """How many files have a row, as the tables say and not the counters. Of the largest indexes in seconds."""
        return sum(int(self._rows(statement)[0]["number"]) for statement in _rows_of_files.values())

    def cached_trees(self) -> list[CachedTree]:
        """One for each upstream that anything is known of."""
        return [
            CachedTree(
                tree=row["tree"],
                pages=self._rows(_pages, tree=row["tree"])[0]["number"],
                **dict(self._rows(_cached, tree=row["tree"])[0]),
            )
            for row in self._rows(_trees)
        ]

    def unused_since(self, before: float) -> list[FetchedFile]:
        """Stored files that nobody read after that moment, the least recently used first."""
        return [fetched_file(row) for row in self._rows(_unused, before=before)]

    def fetched_named(self, filename: str) -> list[FetchedFile]:
        """What is known of files of that name, of whichever upstream and project."""
        return [fetched_file(row) for row in self._rows(_fetched_named, filename=filename)]


def _is_taken(transaction: Transaction, fact: HostedFile | Tombstone) -> bool:
    name = {"tree": fact.tree, "filename": fact.filename}
    return any(transaction.row(statement, name) is not None for statement in (_row, _grave))


def _tell(transaction: Transaction, fact: HostedFile | Tombstone, actor: str, detail: str = "") -> None:
    subject = {"tree": fact.tree, "project": fact.project, "filename": fact.filename, "sha256": fact.sha256}
    transaction.journal("reindex", actor=actor, detail=detail, **subject)


def _named(what: holdings.Counted, trees: str) -> dict[str, str]:
    """Counters of one tree or, where it ends in a slash, of those that begin with it: the bounds of their names."""
    first = holdings.counter(what, trees)
    return {"first": first, "behind": f"{first[:-1]}0" if trees.endswith("/") else f"{first}\0"}
