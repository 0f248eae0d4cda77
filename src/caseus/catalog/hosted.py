"""Facts of what is published here: files, tombstones, and the claims of uploads that run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, bindparam, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert as upsert

from caseus.catalog import holdings, schema, sql
from caseus.catalog.database import Database
from caseus.catalog.rows import HostedFile, ListedFile, Tombstone, listed_file
from caseus.catalog.transaction import Syncs, Transaction
from caseus.errors import Busy, Conflict, NotFound

_PAGE = 1000

LEASE = 30.0
"""Seconds for which a claim holds a name unless it is renewed."""

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
_listed_files = sql.Statement(
    select(
        _f.filename, _f.version, _f.sha256, _f.size, _f.uploaded, _f.requires_python, _f.metadata_sha256, _f.has_sig,
        _f.yanked,
    ).where(_f.tree == _tree, _f.project == _name)
)  # fmt: skip
_file = sql.Statement(select(schema.files).where(_f.tree == _tree, _f.filename == _filename, _f.project == _name))
_any_file = sql.Statement(select(schema.files).where(_f.tree == _tree, _f.filename == _filename))
_tombstones = sql.Statement(
    select(schema.tombstones).where(_t.tree == _tree, _t.project == _name).order_by(_t.filename)
)
_tombstone = sql.Statement(select(schema.tombstones).where(_t.tree == _tree, _t.filename == _filename))
_claim = sql.Statement(select(schema.claims).where(_c.tree == _tree, _c.filename == _filename))
_set_claim = sql.Statement(
    upsert(schema.claims)
    .values({column.name: bindparam(column.name) for column in schema.claims.columns})
    .on_conflict_do_update(
        index_elements=["tree", "filename"],
        set_={name: bindparam(name) for name in ("project", "sha256", "owner", "until")},
    ),
    columns=(),
)
_drop_claim = sql.Statement(
    delete(schema.claims).where(_c.tree == _tree, _c.filename == _filename, _c.owner == bindparam("owner"))
)
_end_claim = sql.Statement(delete(schema.claims).where(_c.tree == _tree, _c.filename == _filename))
_drop_claims = sql.Statement(delete(schema.claims))
_COLUMNS = tuple(column.name for column in schema.files.columns)
_set_yanked = sql.Statement(
    update(schema.files).where(_f.tree == _tree, _f.filename == _filename).values(yanked=bindparam("reason"))
)
_u = schema.upstream_pages.c
_drop_page = sql.Statement(delete(schema.upstream_pages).where(_u.tree == _tree, _u.project == _name))
_g = schema.fetched_files.c
_drop_fetched = sql.Statement(delete(schema.fetched_files).where(_g.tree == _tree, _g.project == _name))
# Not "and stored": SQLite would rather read all that is stored.
_fetched_sizes = sql.Statement(select(_g.size, _g.stored).where(_g.tree == _tree, _g.project == _name))
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


class ClaimState(Enum):
    MINE = "mine"
    PUBLISHED = "published"  # the very bytes are there already
    HELD = "held"  # by another upload that runs


class Claim(NamedTuple):
    """What came of claiming a name; of another's claim: whether its bytes are the same, the seconds left.

    `beside`: of mine, whether the project has a file already.
    """

    state: ClaimState
    same: bool = False
    left: float = 0.0
    beside: bool = False


class Published(NamedTuple):
    """What came of publishing in one go: MINE if it was done, and the trees from which something was displaced."""

    claim: Claim
    displaced: list[str]


class Hosted(Database):
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

    def listed_files(self, tree: str, name: str) -> list[ListedFile]:
        """What a page tells of the project's files, by filename."""
        return sorted(map(listed_file, self._rows(_listed_files, tree=tree, name=name)), key=_filename_of)

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

    # The upload protocol: T1 claims, T2 publishes; between them the bytes get their name.

    def claim(self, tree: str, project: str, filename: str, *, sha256: str, owner: str) -> Future[Claim]:
        """T1. Conflict (through the future) if other bytes, or a tombstone, have the name."""

        def job(transaction: Transaction) -> Claim:
            taken = _taken(transaction, tree, filename, sha256, owner)
            if taken is not None:
                return taken
            claim = {"tree": tree, "filename": filename, "project": project, "sha256": sha256, "owner": owner}
            transaction.execute(_set_claim, claim | {"until": transaction.now + LEASE})
            return Claim(ClaimState.MINE, beside=holdings.has_files(transaction, tree, project))

        return self.writer.submit(job, durable=False)  # after a power cut nobody is there who held it

    def with_claim(self, tree: str, filename: str, owner: str, action: Callable[[], None]) -> None:
        """Renew the claim and do something while nobody else can take the name. Busy if it is lost."""

        def job(transaction: Transaction) -> None:
            held = _held(transaction, tree, filename, owner)
            action()
            transaction.execute(_set_claim, held | {"until": transaction.now + LEASE})

        self.writer.write(job)

    def publish(
        self, file: HostedFile, owner: str, *, holds: Callable[[], bool], displaces: Sequence[str] = ()
    ) -> list[str]:
        """T2: the claim is still mine and the name holds my bytes, so the row is written. Busy if either is lost.

        `displaces`: trees of upstreams, from which all that was fetched of the project's name is forgotten; returns
        those of them that had something.
        """

        def job(transaction: Transaction) -> list[str]:
            _held(transaction, file.tree, file.filename, owner)
            if not holds():
                raise Busy("the bytes were displaced while they were published: try again", retry_after=1)
            displaced = _put(transaction, file, displaces)
            transaction.execute(_drop_claim, {"tree": file.tree, "filename": file.filename, "owner": owner})
            return displaced

        return self.writer.write(job)

    def publish_at_once(
        self, file: HostedFile, *, store: Syncs, place: Callable[[], Sequence[str]], displaces: Sequence[str] = ()
    ) -> Future[Published]:
        """T1, names for the bytes, and T2, while nobody else can write; for what takes no time but the disk's.

        `place` gives the names and returns them; the store then makes durable what all of the group placed, before
        the rows are. Where another upload has claimed the name, nothing happens. Conflict as `claim` says it.
        """

        def job(transaction: Transaction) -> Published:
            taken = _taken(transaction, file.tree, file.filename, file.sha256)
            if taken is not None:
                return Published(taken, [])
            beside = holdings.has_files(transaction, file.tree, file.project)
            transaction.place(store, place(), beside=beside)
            return Published(Claim(ClaimState.MINE), _put(transaction, file, displaces))

        return self.writer.submit(job)

    def release(self, tree: str, filename: str, owner: str) -> None:
        """Give a claim back after an upload that failed; the next one need not wait for the lease."""
        params = {"tree": tree, "filename": filename, "owner": owner}
        self.writer.submit(lambda transaction: transaction.execute(_drop_claim, params), durable=False)

    def clear_claims(self) -> None:
        """Forget the claims of the dead; only where no other process serves this root."""
        self.writer.write(lambda transaction: transaction.execute(_drop_claims, {}))

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
                transaction.journal(action, actor=actor, detail=reason or "", **_subject(file))

        self.writer.write(job)

    def delete(self, files: Iterable[HostedFile], reason: str, *, actor: str) -> None:
        """Replace files by tombstones; their bytes stay for `gc`. NotFound if one is gone."""

        def job(transaction: Transaction) -> None:
            for file in files:
                if not holdings.take(transaction, file):
                    raise NotFound(f"{file.filename} is no longer there")
                grave = Tombstone(**_subject(file), deleted=transaction.now, reason=reason, yanked=file.yanked)
                holdings.bury(transaction, grave)
                listed = holdings.has_files(transaction, file.tree, file.project)
                transaction.change(file.tree, file.project, listed=listed)
                transaction.journal("delete", actor=actor, detail=reason, **_subject(file))

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
                transaction.execute(_set_claim, subject | {"owner": owner, "until": transaction.now + LEASE})
            transaction.change(tree, grave["project"])
            transaction.journal("forget", actor=actor, **subject)

        self.writer.write(job)


def _hosted(row: Any) -> HostedFile:
    values = dict(zip(_COLUMNS, row, strict=True))  # dict(row) looks for each name among all
    values["has_sig"] = bool(values["has_sig"])
    return HostedFile(**values)


def _filename_of(listed: ListedFile) -> str:
    return listed.file.filename


def _subject(file: HostedFile) -> dict[str, str]:
    return {"tree": file.tree, "project": file.project, "filename": file.filename, "sha256": file.sha256}


def _taken(transaction: Transaction, tree: str, filename: str, sha256: str, owner: str | None = None) -> Claim | None:
    """Who has the name already, None if nobody but `owner`. Conflict if it is used up."""
    name = {"tree": tree, "filename": filename}
    row = transaction.row(_any_file, name)
    if row is not None:
        if row["sha256"] == sha256:
            return Claim(ClaimState.PUBLISHED)
        raise Conflict("File already exists, with other bytes: upload a new version")
    if transaction.row(_tombstone, name) is not None:
        raise Conflict("File already exists: the name was used by a file since deleted; upload a new version")
    held = transaction.row(_claim, name)
    if held is not None and held["owner"] != owner and held["until"] > transaction.now:
        return Claim(ClaimState.HELD, held["sha256"] == sha256, held["until"] - transaction.now)
    if held is not None and held["owner"] != owner:  # it ran out: from now on its owner can't publish
        transaction.execute(_end_claim, name)
    return None


def _put(transaction: Transaction, file: HostedFile, displaces: Sequence[str]) -> list[str]:
    """The file's row and what goes with it; the trees of upstreams that had something of its project."""
    holdings.put(transaction, file)
    transaction.change(file.tree, file.project, listed=True, added=file)
    displaced = [tree for tree in displaces if _displace(transaction, tree, file.project)]
    transaction.journal("publish", actor=file.uploader, **_subject(file))
    return displaced


def _held(transaction: Transaction, tree: str, filename: str, owner: str) -> dict[str, Any]:
    """The claim's row if it is still the owner's: it can be lost but never come back."""
    held = transaction.row(_claim, {"tree": tree, "filename": filename})
    if held is None or held["owner"] != owner:
        raise Busy("another upload of this file took over: try again", retry_after=1)
    return dict(held)


def _displace(transaction: Transaction, tree: str, project: str) -> bool:
    """Forget what was fetched of a name that is ours from now on; whether there was anything."""
    name = {"tree": tree, "name": project}
    stored = [row["size"] or 0 for row in transaction.rows(_fetched_sizes, name) if row["stored"]]
    if not transaction.execute(_drop_page, name) + transaction.execute(_drop_fetched, name):
        return False
    transaction.add("cache", -sum(stored))
    holdings.count(transaction, "files", tree, -len(stored))
    transaction.change(tree, project, listed=False)
    return True
