"""The journal: every change, in the transaction that makes it, each entry with the digest of the one before."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import bindparam, func, select

from caseus.catalog import schema, sql
from caseus.catalog.rows import JournalEntry

_greatest = select(func.max(schema.journal.c.number)).scalar_subquery()
_last = sql.Statement(
    select(schema.journal.c.number, schema.journal.c.digest).where(schema.journal.c.number == _greatest)
)
_since = sql.Statement(
    select(schema.journal)
    .where(schema.journal.c.number > bindparam("after"))
    .order_by(schema.journal.c.number)
    .limit(bindparam("size"))
)


class Link(NamedTuple):
    """What the next entry is linked to."""

    number: int
    digest: str


def last_link(connection: sqlite3.Connection) -> Link:
    found = sql.row(connection, _last, {})
    return Link(found["number"], found["digest"]) if found else Link(0, "")


def last_entry(read: sql.Read) -> Link:
    """The newest; Link(0, "") of an empty journal. They are numbered from 1 without a gap."""
    found = read(_last, {})
    return Link(found[0]["number"], found[0]["digest"]) if found else Link(0, "")


def entry(
    last: Link,
    *,
    serial: int,
    time: float,
    actor: str,
    action: str,
    tree: str = "",
    project: str = "",
    filename: str = "",
    sha256: str = "",
    detail: str = "",
) -> dict[str, Any]:
    """The row that follows `last`."""
    row: dict[str, Any] = {
        "number": last.number + 1,
        "serial": serial,
        "time": time,
        "actor": actor,
        "action": action,
        "tree": tree,
        "project": project,
        "filename": filename,
        "sha256": sha256,
        "detail": detail,
        "previous": last.digest,
    }
    return row | {"digest": digest(row)}


def digest(row: dict[str, Any]) -> str:
    """sha256 over the JSON of an entry's columns in their order, `digest` left out."""
    values = [row[column.name] for column in schema.journal.columns if column.name != "digest"]
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()


def entries(read: sql.Read, since: int = 0) -> Iterator[JournalEntry]:
    """Entries with a greater number, in order."""
    while True:
        found = read(_since, {"after": since, "size": 1000})
        for row in found:
            yield JournalEntry(**dict(row))
        if len(found) < 1000:
            return
        since = found[-1]["number"]


def check(read: sql.Read) -> list[str]:
    """Every break of the chain, in words."""
    faults = []
    last = Link(0, "")
    for found in entries(read):
        row = msgspec.structs.asdict(found)
        if found.number != last.number + 1:
            faults.append(f"entry {last.number + 1} is missing before entry {found.number}")
        if found.previous != last.digest:
            faults.append(f"entry {found.number} is not linked to the one before")
        if found.digest != digest(row):
            faults.append(f"entry {found.number} was changed")
        last = Link(found.number, found.digest)
    return faults
