"""What pages list of a project, read anew or, after a change, only what changed."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from sqlalchemy import BindParameter, and_, bindparam, func, or_, select

from caseus.catalog import schema, sql
from caseus.catalog.database import Database
from caseus.catalog.journal import Link
from caseus.catalog.rows import ListedFile, listed_file

_MOST_ENTRIES = 1000
"""Of the journal, of all projects, that are looked through for what changed; beyond, to read all takes no longer."""
_MOST_CHANGED = 100

_f, _j, _p = schema.files.c, schema.journal.c, schema.projects.c
_tree: BindParameter[str] = bindparam("tree")
_name: BindParameter[str] = bindparam("name")

_listed = select(
    _f.filename, _f.version, _f.sha256, _f.size, _f.uploaded, _f.requires_python, _f.metadata_sha256, _f.has_sig,
    _f.yanked,
).where(_f.tree == _tree, _f.project == _name)  # fmt: skip
# Unordered: SQLite would rather read the whole tree in order than sort a project's files.
_listed_files = sql.Statement(_listed)
_listed_file = sql.Statement(_listed.where(_f.filename == bindparam("filename")))
_greatest = select(func.max(_j.number)).scalar_subquery()
_now = sql.Statement(
    select(
        select(_p.serial).where(_p.tree == _tree, _p.name == _name).scalar_subquery().label("serial"),
        _greatest.label("number"),
        select(_j.digest).where(_j.number == _greatest).scalar_subquery().label("digest"),
    )
)
_since = sql.Statement(
    select(_j.number, _j.digest, _j.filename)
    .where(
        _j.number >= bindparam("number"),
        _j.number <= bindparam("last"),
        or_(_j.number == bindparam("number"), and_(_j.tree == _tree, _j.project == _name)),
    )
    .order_by(_j.number)
)


class Listing(NamedTuple):
    """A project's files, by filename. `at`, `serial`: the journal's last entry, and that of the project's last visible
    change, 0 if the tree never had it; both before the files were read, so newer facts are only read again.
    """

    files: tuple[ListedFile, ...]
    at: Link
    serial: int


class Listings(Database):
    """Reads answer at once."""

    def listing(self, tree: str, name: str, before: Listing | None = None) -> Listing:
        """The files of a project. `before`: as it was once, whose files it shares where they are the same.

        Each change of a file is in the journal, in the same transaction, so what the journal tells since then is all
        that has to be read; and the digest tells that it is the same journal.
        """
        now = self._rows(_now, tree=tree, name=name)[0]
        at, serial = Link(now["number"] or 0, now["digest"] or ""), now["serial"] or 0
        if before is not None:
            changed = self._changed(tree, name, before.at, at)
            if changed is not None:
                return Listing(self._with(tree, name, before.files, changed), at, serial)
        found = map(listed_file, self._rows(_listed_files, tree=tree, name=name))
        return Listing(tuple(sorted(found, key=_filename_of)), at, serial)

    def _changed(self, tree: str, name: str, since: Link, last: Link) -> set[str] | None:
        """The names of files that changed; None if nobody can tell, or so many did that all may as well be read."""
        if not 0 <= last.number - since.number <= _MOST_ENTRIES:
            return None
        found = self._rows(_since, tree=tree, name=name, number=since.number, last=last.number)
        if not found or Link(found[0]["number"], found[0]["digest"]) != since:
            return None
        changed = {row["filename"] for row in found[1:] if row["filename"]}
        return changed if len(changed) <= _MOST_CHANGED else None

    def _with(self, tree: str, name: str, before: tuple[ListedFile, ...], changed: set[str]) -> tuple[ListedFile, ...]:
        """The files with those as they are now."""
        if not changed:
            return before
        files = list(before)
        for filename in changed:
            place = bisect_left(files, filename, key=_filename_of)
            known = place < len(files) and _filename_of(files[place]) == filename
            row = self._row(_listed_file, tree=tree, name=name, filename=filename)
            files[place : place + known] = [] if row is None else [listed_file(row)]
        return tuple(files)


def _filename_of(listed: ListedFile) -> str:
    return listed.file.filename
