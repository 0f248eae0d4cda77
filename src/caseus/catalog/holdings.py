"""Files and tombstones put in and taken out, and beside them what each tree holds, counted.

So that nobody ever has to count: of an index as large as the public one that takes seconds.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import BindParameter, bindparam, delete, insert, select

from caseus.catalog import schema, sql
from caseus.catalog.rows import HostedFile, Tombstone
from caseus.catalog.transaction import Transaction

Counted = Literal["projects", "files", "bytes", "tombstones", "uploaded"]
"""Projects in its list, files that are stored, their bytes, tombstones, and when a file was last put in (Unix seconds).
"""

_f, _t = schema.files.c, schema.tombstones.c
_tree: BindParameter[str] = bindparam("tree")

_insert = sql.Statement(insert(schema.files))
_bury = sql.Statement(insert(schema.tombstones))
_remove = sql.Statement(delete(schema.files).where(_f.tree == _tree, _f.filename == bindparam("filename")))
_unbury = sql.Statement(delete(schema.tombstones).where(_t.tree == _tree, _t.filename == bindparam("filename")))
_any = sql.Statement(select(_f.tree).where(_f.tree == _tree, _f.project == bindparam("name")).limit(1))


def counter(what: Counted, tree: str) -> str:
    """The name of the counter."""
    return f"{what} {tree}"


def count(transaction: Transaction, what: Counted, tree: str, amount: int = 1) -> None:
    transaction.add(counter(what, tree), amount)


def put(transaction: Transaction, file: HostedFile) -> None:
    """A file whose name nobody has."""
    transaction.execute(_insert, msgspec.structs.asdict(file))
    count(transaction, "files", file.tree)
    count(transaction, "bytes", file.tree, file.size)
    later = int(file.uploaded) - transaction.counter(counter("uploaded", file.tree))
    if later > 0:
        count(transaction, "uploaded", file.tree, later)


def take(transaction: Transaction, file: HostedFile) -> bool:
    """Remove the file's row; whether there was one."""
    if not transaction.execute(_remove, {"tree": file.tree, "filename": file.filename}):
        return False
    count(transaction, "files", file.tree, -1)
    count(transaction, "bytes", file.tree, -file.size)
    return True


def bury(transaction: Transaction, tombstone: Tombstone) -> None:
    """From now on the name is used up."""
    transaction.execute(_bury, msgspec.structs.asdict(tombstone))
    count(transaction, "tombstones", tombstone.tree)


def unbury(transaction: Transaction, tree: str, filename: str) -> None:
    """The name can be used again."""
    if transaction.execute(_unbury, {"tree": tree, "filename": filename}):
        count(transaction, "tombstones", tree, -1)


def has_files(transaction: Transaction, tree: str, project: str) -> bool:
    """Whether the project still has one, and so stands in the list."""
    params: dict[str, Any] = {"tree": tree, "name": project}
    return transaction.row(_any, params) is not None
