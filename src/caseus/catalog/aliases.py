"""Paths under which clients know an index from another server, such as devpi's USER/NAME."""

from __future__ import annotations

from sqlalchemy import BindParameter, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from caseus.catalog import schema, sql
from caseus.catalog.database import Database
from caseus.catalog.transaction import Transaction

_a = schema.aliases.c
_path: BindParameter[str] = bindparam("alias_path")

_alias = sql.Statement(select(_a.index).where(_a.path == _path))
_aliases = sql.Statement(select(_a.path).where(_a.index == bindparam("index_name")).order_by(_a.path))
_add = sql.Statement(upsert(schema.aliases).on_conflict_do_nothing())
_remove = sql.Statement(delete(schema.aliases).where(_a.path == _path))


class Aliases(Database):
    """Reads answer at once; writes return when they are durable."""

    def alias(self, path: str) -> str | None:
        """The index that is meant by the path."""
        row = self._row(_alias, alias_path=path)
        return None if row is None else str(row["index"])

    def aliases(self, index: str) -> list[str]:
        """All paths of an index, sorted."""
        return [row["path"] for row in self._rows(_aliases, index_name=index)]

    def add_alias(self, path: str, index: str, *, actor: str) -> bool:
        """Whether it is new; a path that is known stays as it is."""

        def job(transaction: Transaction) -> bool:
            added = bool(transaction.execute(_add, {"path": path, "index": index}))
            if added:
                transaction.journal("alias-add", actor=actor, detail=f"{path} of {index}")
            return added

        return self.writer.write(job)

    def remove_alias(self, path: str, *, actor: str) -> bool:
        """Whether there was one."""

        def job(transaction: Transaction) -> bool:
            removed = bool(transaction.execute(_remove, {"alias_path": path}))
            if removed:
                transaction.journal("alias-remove", actor=actor, detail=path)
            return removed

        return self.writer.write(job)
