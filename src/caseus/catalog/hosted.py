"""Facts of what is published here: files and tombstones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import BindParameter, bindparam, exists, func, or_, select, tuple_, update

from caseus.catalog import holdings, schema, sql
from caseus.catalog.rows import HostedFile, Tombstone
from caseus.catalog.transaction import Transaction
from caseus.catalog.uploads import Uploads, subject
from caseus.errors import NotFound

_PAGE = 1000

_f, _t, _c, _p = schema.files.c, schema.tombstones.c, schema.claims.c, schema.projects.c
_m = schema.markers.c
_tree: BindParameter[str] = bindparam("tree")
_name: BindParameter[str] = bindparam("name")
_filename: BindParameter[str] = bindparam("filename")

_knows = sql.Statement(
    select(
        or_(
            exists().where(_f.tree == _tree, _f.project == _name),
            exists().where(_t.tree == _tree, _t.project == _name),
            exists().where(_c.tree == _tree, _c.project == _name, _c.until > bindparam("now")),
            exists().where(_m.tree == _tree, _m.project == _name),
        ).label("known")
    )
)
_projects = sql.Statement(
    select(_p.name)
    .where(_p.tree == _tree, _p.name > bindparam("after_name"), _p.listed.is_(True))
    .order_by(_p.name)
    .limit(bindparam("size"))
)
_list_lengths = sql.Statement(
    select(schema.counters.c.value).where(schema.counters.c.name >= "projects ", schema.counters.c.name < "projects!")
)
_listed_serial = sql.Statement(select(func.max(_p.listed_serial).label("serial")))
_listed_since = sql.Statement(
    select(_p.name).where(_p.listed_serial > bindparam("serial")).order_by(_p.listed_serial).limit(bindparam("most"))
)
# Unordered: SQLite would rather read the whole tree in order than sort a project's files.
_files = sql.Statement(select(schema.files).where(_f.tree == _tree, _f.project == _name))
_file = sql.Statement(select(schema.files).where(_f.tree == _tree, _f.filename == _filename, _f.project == _name))
_any_file = sql.Statement(select(schema.files).where(_f.tree == _tree, _f.filename == _filename))
_tombstones = sql.Statement(
    select(schema.tombstones).where(_t.tree == _tree, _t.project == _name).order_by(_t.filename)
)
_tombstone = sql.Statement(select(schema.tombstones).where(_t.tree == _tree, _t.filename == _filename))
_COLUMNS = tuple(column.name for column in schema.files.columns)
_set_yanked = sql.Statement(
    update(schema.files).where(_f.tree == _tree, _f.filename == _filename).values(yanked=bindparam("reason"))
)
_changed_since = sql.Statement(
    select(_p.tree, _p.name, _p.serial)
    .where(_p.serial > bindparam("serial"), _p.tree.like("files/%"))
    .order_by(_p.serial)
    .limit(bindparam("most"))
)


def _ordered(table: Any) -> sql.Statement:
    """All rows of a table with (tree, project, filename) as its key, for `sql.pages`."""
    key = tuple_(table.c.tree, table.c.project, table.c.filename)
    after = tuple_(bindparam("after_tree"), bindparam("after_project"), bindparam("after_filename"))
    return sql.Statement(select(table).where(key > after).order_by(*key.clauses).limit(bindparam("size")))


_all_files, _all_tombstones = _ordered(schema.files), _ordered(schema.tombstones)


class Hosted(Uploads):
    """Reads answer at once; writes return when they are durable."""

    def knows(self, tree: str, name: str) -> bool:
        """Whether the name is ours: published, claimed, tombstoned, or marked in its folder."""
        row = self._row(_knows, tree=tree, name=name, now=self.clock())
        return row is not None and bool(row["known"])

    def projects(self, tree: str, after: str = "") -> Iterator[str]:
        """Names behind `after` with a file here, or with a page of the upstream whose tree it is; sorted, lazy."""
        for row in self._pages(_projects, {"tree": tree, "after_name": after}, ("name",)):
            yield row["name"]

    def name_count(self) -> int:
        """How many there are in the lists of all trees; in several, a name counts as often."""
        return sum(int(row["value"]) for row in self._rows(_list_lengths))

    def names_serial(self) -> int:
        """The serial of the last change of any tree's list of projects."""
        row = self._row(_listed_serial)
        return int(row["serial"] or 0) if row else 0

    def names_since(self, serial: int, most: int) -> list[str]:
        """Names that came into the list of some tree, or went, after that serial: the first `most` of them."""
        return [row["name"] for row in self._rows(_listed_since, serial=serial, most=most)]

    def hosted_files(self, tree: str, name: str) -> list[HostedFile]:
        """By filename."""
        files = [_hosted(row) for row in self._rows(_files, tree=tree, name=name)]
        return sorted(files, key=lambda file: file.filename)

    def hosted_file(self, tree: str, name: str, filename: str) -> HostedFile | None:
        row = self._row(_file, tree=tree, name=name, filename=filename)
        return _hosted(row) if row else None

    def find_file(self, tree: str, filename: str) -> HostedFile | None:
        """The file of that name, whatever its project."""
        row = self._row(_any_file, tree=tree, filename=filename)
        return _hosted(row) if row else None

    def tombstones(self, tree: str, name: str) -> list[Tombstone]:
        return [Tombstone(**dict(row)) for row in self._rows(_tombstones, tree=tree, name=name)]

    def all_hosted(self) -> Iterator[HostedFile]:
        """Every published file of every tree, by tree, project and filename."""
        return (_hosted(row) for row in self._pages(_all_files, {}, ("tree", "project", "filename")))

    def all_tombstones(self) -> Iterator[Tombstone]:
        pages = self._pages(_all_tombstones, {}, ("tree", "project", "filename"))
        return (Tombstone(**dict(row)) for row in pages)

    def hosted_changes(self, since: int, most: int = 2**62) -> list[tuple[str, str, int]]:
        """(tree, project, serial) of what is published here and changed after that serial: the first `most` of it."""
        rows = self._rows(_changed_since, serial=since, most=most)
        return [(row["tree"], row["name"], row["serial"]) for row in rows]

    def all_changes(self, since: int = 0) -> Iterator[tuple[str, str, int]]:
        """The same, lazily, of all; what changes meanwhile comes again."""
        while rows := self.hosted_changes(since, _PAGE):
            yield from rows
            since = rows[-1][2]

    # Undo.

    def yank(self, files: Iterable[HostedFile], reason: str | None, *, actor: str) -> None:
        """Mark files as yanked for a reason ("" for none), or no longer (None). NotFound if one is gone."""
        action = "unyank" if reason is None else "yank"

        def job(transaction: Transaction) -> None:
            for file in files:
                params = {"tree": file.tree, "filename": file.filename, "reason": reason}
                if not transaction.execute(_set_yanked, params):
                    raise NotFound(f"{file.filename} is no longer there")
                transaction.change(file.tree, file.project)
                transaction.journal(action, actor=actor, detail=reason or "", **subject(file))

        self.writer.write(job)

    def delete(self, files: Iterable[HostedFile], reason: str, *, actor: str) -> None:
        """Replace files by tombstones; their bytes stay for `gc`. NotFound if one is gone."""

        def job(transaction: Transaction) -> None:
            for file in files:
                if not holdings.take(transaction, file):
                    raise NotFound(f"{file.filename} is no longer there")
                grave = Tombstone(**subject(file), deleted=transaction.now, reason=reason, yanked=file.yanked)
                holdings.bury(transaction, grave)
                listed = holdings.has_files(transaction, file.tree, file.project)
                transaction.change(file.tree, file.project, listed=listed)
                transaction.journal("delete", actor=actor, detail=reason, **subject(file))

        self.writer.write(job)

    def tombstone(self, tree: str, filename: str) -> Tombstone | None:
        row = self._row(_tombstone, tree=tree, filename=filename)
        return Tombstone(**dict(row)) if row else None

    def forget(self, tree: str, filename: str, *, actor: str, owner: str | None = None) -> None:
        """Take a tombstone away, so that the name can be used again. NotFound.

        `owner`: who has a claim on the name from then on, so that the project stays ours until a file is published.
        """

        def job(transaction: Transaction) -> None:
            name = {"tree": tree, "filename": filename}
            grave = transaction.row(_tombstone, name)
            if grave is None:
                raise NotFound(f"no file {filename} was deleted here")
            holdings.unbury(transaction, tree, filename)
            subject = name | {"project": grave["project"], "sha256": grave["sha256"]}
            if owner is not None:
                self.hold(transaction, subject, owner)
            transaction.change(tree, grave["project"])
            transaction.journal("forget", actor=actor, **subject)

        self.writer.write(job)


def _hosted(row: Any) -> HostedFile:
    values = dict(zip(_COLUMNS, row, strict=True))  # dict(row) looks for each name among all
    values["has_sig"] = bool(values["has_sig"])
    return HostedFile(**values)
