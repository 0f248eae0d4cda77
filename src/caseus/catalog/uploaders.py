"""Who may upload to a project, where that is not everybody who may upload at all."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import BindParameter, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert as upsert

from caseus.catalog import schema, sql
from caseus.catalog.database import Database
from caseus.catalog.transaction import Transaction

_w = schema.uploaders.c
_tree: BindParameter[str] = bindparam("tree")
_project: BindParameter[str] = bindparam("project")

_uploaders = sql.Statement(select(_w.user).where(_w.tree == _tree, _w.project == _project).order_by(_w.user))
_add = sql.Statement(upsert(schema.uploaders).on_conflict_do_nothing())
_remove = sql.Statement(
    delete(schema.uploaders).where(_w.tree == _tree, _w.project == _project, _w.user == bindparam("user_name"))
)


class Uploaders(Database):
    """Reads answer at once; writes return when they are durable."""

    def uploaders(self, tree: str, project: str) -> list[str]:
        """Those users, sorted; none where everybody who may upload may do so here. They need not exist."""
        return [row["user"] for row in self._rows(_uploaders, tree=tree, project=project)]

    def change_uploaders(
        self, tree: str, project: str, *, add: Iterable[str] = (), remove: Iterable[str] = (), actor: str
    ) -> None:
        """What is so already is fine."""

        def job(transaction: Transaction) -> None:
            name = {"tree": tree, "project": project}
            for user in add:
                if transaction.execute(_add, name | {"user": user}):
                    transaction.journal("uploader-add", actor=actor, detail=user, **name)
            for user in remove:
                if transaction.execute(_remove, name | {"user_name": user}):
                    transaction.journal("uploader-remove", actor=actor, detail=user, **name)

        self.writer.write(job)
