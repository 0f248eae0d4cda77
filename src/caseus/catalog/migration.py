"""Bring a catalog to the newest schema: once, under the write lock, after a backup."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from caseus.catalog import schema, sql
from caseus.catalog.locks import exclusive
from caseus.catalog.trouble import TROUBLE, unreadable, unwritable
from caseus.errors import Invalid

_VERSION_TABLE = """
CREATE TABLE alembic_version (
\tversion_num VARCHAR(32) NOT NULL,
\tCONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
"""
"""As alembic makes it."""


def migrate(path: Path, lock: Path) -> None:
    """Create or upgrade. Invalid if the catalog is newer than this caseus, Unavailable if it can't be read or written.

    A failure leaves the old one as it was.
    """
    if path.exists() and current(path) == schema.HEAD:
        return
    with exclusive(lock, timeout=120):
        version = current(path) if path.exists() else None
        if version == schema.HEAD:
            return
        if version is not None and version > schema.HEAD:
            raise Invalid(
                f"the catalog has schema {version}, this caseus knows {schema.HEAD}: "
                "start the newer caseus, or restore a backup"
            )
        try:
            if version is not None:
                _backup(path, path.with_name(f"{path.name}.before-{schema.HEAD}"))
            if version is None:
                _create(path)
            else:
                _upgrade(path)
        except sqlite3.Error as error:
            raise unwritable(error, path) from None


def current(path: Path) -> str | None:
    """The schema's version, None for an empty database."""
    try:
        with closing(sqlite3.connect(path, timeout=10)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(row[0]) if row else None
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise unreadable(error, path) from None
    except TROUBLE as error:
        raise Invalid(
            f"{path.name} is no catalog of caseus, or is damaged ({error}): run `caseus reindex`, or restore a backup"
        ) from None


def _backup(path: Path, target: Path) -> None:
    """A copy that SQLite itself makes; a half-made one of an earlier try is overwritten."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _create(path: Path) -> None:
    """The newest schema in an empty database: what all the migrations would make of it, for a tenth of their time."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in sql.creation(schema.metadata):
            connection.execute(statement)
        connection.executemany("INSERT INTO counters VALUES (?, 0)", [(name,) for name in schema.COUNTERS])
        connection.execute("INSERT INTO counters VALUES ('identity', abs(random()))")
        connection.execute(_VERSION_TABLE)
        connection.execute("INSERT INTO alembic_version VALUES (?)", (schema.HEAD,))
        connection.execute("COMMIT")


def _upgrade(path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.exc import DBAPIError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    try:
        with _connection(path) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, schema.HEAD)
    except DBAPIError as error:
        raise error.orig or error from None


@contextmanager
def _connection(path: Path) -> Iterator[object]:
    """A Core connection in one explicit transaction: SQLite's DDL is transactional, its driver's default is not."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    with closing(sqlite3.connect(path)) as plain:  # WAL is a property of the file and can't be set in a transaction
        plain.execute("PRAGMA journal_mode = WAL")
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(path, isolation_level=None, timeout=30),
        poolclass=NullPool,
    )

    @event.listens_for(engine, "connect")
    def durable(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: object) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]

    with engine.begin() as connection:
        yield connection
    engine.dispose()
