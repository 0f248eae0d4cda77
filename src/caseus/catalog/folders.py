"""Facts that a person makes in the folder of a project: markers, signatures and times of files."""

from __future__ import annotations

from sqlalchemy import BindParameter, bindparam, delete, insert, select, update

from caseus.catalog import schema, sql
from caseus.catalog.database import Database
from caseus.catalog.rows import HostedFile
from caseus.catalog.transaction import Transaction

_f, _m = schema.files.c, schema.markers.c
_tree: BindParameter[str] = bindparam("tree")
_name: BindParameter[str] = bindparam("name")

_marked = sql.Statement(select(_m.project).where(_m.tree == _tree))
_is_marked = sql.Statement(select(_m.tree).where(_m.tree == _tree, _m.project == _name))
_all_marked = sql.Statement(select(_m.tree, _m.project).order_by(_m.tree, _m.project))
_mark = sql.Statement(insert(schema.markers))
_unmark = sql.Statement(delete(schema.markers).where(_m.tree == _tree, _m.project == _name))
_this_file = (_f.tree == _tree) & (_f.filename == bindparam("file")) & (_f.sha256 == bindparam("digest"))
_set_uploaded = sql.Statement(update(schema.files).where(_this_file).values(uploaded=bindparam("time")))
_set_signed = sql.Statement(update(schema.files).where(_this_file).values(has_sig=bindparam("signed")))


class Folders(Database):
    """Reads answer at once; writes return when they are durable."""

    def marked(self, tree: str) -> set[str]:
        """Projects that a marker makes ours."""
        return {row["project"] for row in self._rows(_marked, tree=tree)}

    def is_marked(self, tree: str, project: str) -> bool:
        return self._row(_is_marked, tree=tree, name=project) is not None

    def all_marked(self) -> list[tuple[str, str]]:
        """(tree, project) of each marked one."""
        return [(row["tree"], row["project"]) for row in self._rows(_all_marked)]

    def mark(self, tree: str, project: str, *, marked: bool, actor: str) -> None:
        """Say that the project's folder has a marker, or has none any more. Nothing happens where that is known."""

        def job(transaction: Transaction) -> None:
            known = transaction.row(_is_marked, {"tree": tree, "name": project}) is not None
            if known == marked:
                return
            if marked:
                transaction.execute(_mark, {"tree": tree, "project": project})
            else:
                transaction.execute(_unmark, {"tree": tree, "name": project})
            transaction.change(tree, project)
            transaction.journal("mark" if marked else "unmark", actor=actor, tree=tree, project=project)

        self.writer.write(job)

    def redate(self, file: HostedFile, uploaded: float, *, actor: str) -> None:
        """Give a file another upload time (Unix seconds). Nothing happens if it is gone."""

        def job(transaction: Transaction) -> None:
            if transaction.execute(_set_uploaded, _this(file) | {"time": uploaded}):
                _tell(transaction, "touch", file, actor)

        self.writer.write(job)

    def sign(self, file: HostedFile, *, signed: bool, actor: str) -> None:
        """Say that FILE.asc is stored, or is no longer. Nothing happens if the file is gone."""

        def job(transaction: Transaction) -> None:
            if transaction.execute(_set_signed, _this(file) | {"signed": signed}):
                _tell(transaction, "sign" if signed else "unsign", file, actor)

        self.writer.write(job)


def _this(file: HostedFile) -> dict[str, str]:
    return {"tree": file.tree, "file": file.filename, "digest": file.sha256}


def _tell(transaction: Transaction, action: str, file: HostedFile, actor: str) -> None:
    transaction.change(file.tree, file.project)
    subject = {"tree": file.tree, "project": file.project, "filename": file.filename, "sha256": file.sha256}
    transaction.journal(action, actor=actor, **subject)
