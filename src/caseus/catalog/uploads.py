"""Facts of uploads that run: T1 claims, T2 publishes, and between them the bytes get their name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, bindparam, delete, exists, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from caseus.catalog import holdings, schema, sql
from caseus.catalog.database import Database
from caseus.catalog.rows import HostedFile
from caseus.catalog.transaction import Syncs, Transaction
from caseus.errors import Busy, Conflict, Denied

LEASE = 30.0
"""Seconds for which a claim holds a name unless it is renewed."""

_f, _t, _c = schema.files.c, schema.tombstones.c, schema.claims.c
_tree: BindParameter[str] = bindparam("tree")
_name: BindParameter[str] = bindparam("name")
_filename: BindParameter[str] = bindparam("filename")
_user: BindParameter[str] = bindparam("user_name")

_w = schema.uploaders.c
_claimed = (_c.tree == _tree) & (_c.filename == _filename)
# One statement, for each costs several microseconds besides what SQLite does.
_used = sql.Statement(
    select(
        select(_f.sha256).where(_f.tree == _tree, _f.filename == _filename).scalar_subquery().label("published"),
        select(_t.sha256).where(_t.tree == _tree, _t.filename == _filename).scalar_subquery().label("deleted"),
        select(_c.sha256).where(_claimed).scalar_subquery().label("claimed"),
        select(_c.owner).where(_claimed).scalar_subquery().label("owner"),
        select(_c.until).where(_claimed).scalar_subquery().label("until"),
        exists().where(_f.tree == _tree, _f.project == _name).label("beside"),
        # 1 where the user is one of the project's uploaders, 0 where others are, and nothing where all are
        select(func.max(_w.user == _user)).where(_w.tree == _tree, _w.project == _name).scalar_subquery().label("may"),
    )
)
_admin = sql.Statement(select(schema.users.c.admin).where(schema.users.c.name == _user))
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
_u = schema.upstream_pages.c
_drop_page = sql.Statement(delete(schema.upstream_pages).where(_u.tree == _tree, _u.project == _name))
_g = schema.fetched_files.c
_drop_fetched = sql.Statement(delete(schema.fetched_files).where(_g.tree == _tree, _g.project == _name))
# Not "and stored": SQLite would rather read all that is stored.
_fetched_sizes = sql.Statement(select(_g.size, _g.stored).where(_g.tree == _tree, _g.project == _name))


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


class Uploads(Database):
    """Writes return when they are durable, or give a future."""

    def claim(
        self, tree: str, project: str, filename: str, *, sha256: str, owner: str, user: str | None = None
    ) -> Future[Claim]:
        """T1. Through the future Conflict if other bytes, or a tombstone, have the name; Denied if `user` is told and
        may not upload to the project."""

        def job(transaction: Transaction) -> Claim:
            found = _look(transaction, tree, project, filename, sha256, owner=owner, user=user)
            if found.state is not ClaimState.MINE:
                return found
            claim = {"tree": tree, "filename": filename, "project": project, "sha256": sha256, "owner": owner}
            transaction.execute(_set_claim, claim | {"until": transaction.now + LEASE})
            return found

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
        self,
        file: HostedFile,
        *,
        store: Syncs,
        place: Callable[[], Sequence[str]],
        displaces: Sequence[str] = (),
        user: str | None = None,
    ) -> Future[Published]:
        """T1, names for the bytes, and T2, while nobody else can write; for what takes no time but the disk's.

        `place` gives the names and returns them; the store then makes durable what all of the group placed, before
        the rows are. Where another upload has claimed the name, nothing happens. Conflict, Denied as `claim` says it.
        """

        def job(transaction: Transaction) -> Published:
            found = _look(transaction, file.tree, file.project, file.filename, file.sha256, user=user)
            if found.state is not ClaimState.MINE:
                return Published(found, [])
            transaction.place(store, place(), beside=found.beside)
            return Published(found, _put(transaction, file, displaces))

        return self.writer.submit(job)

    def release(self, tree: str, filename: str, owner: str) -> None:
        """Give a claim back after an upload that failed; the next one need not wait for the lease."""
        params = {"tree": tree, "filename": filename, "owner": owner}
        self.writer.submit(lambda transaction: transaction.execute(_drop_claim, params), durable=False)

    def clear_claims(self) -> None:
        """Forget the claims of the dead; only where no other process serves this root."""
        self.writer.write(lambda transaction: transaction.execute(_drop_claims, {}))

    def hold(self, transaction: Transaction, claim: dict[str, Any], owner: str) -> None:
        """Give a name to who has no upload yet, for the time of a lease."""
        transaction.execute(_set_claim, claim | {"owner": owner, "until": transaction.now + LEASE})


def subject(file: HostedFile) -> dict[str, str]:
    """As the journal and a tombstone name the file."""
    return {"tree": file.tree, "project": file.project, "filename": file.filename, "sha256": file.sha256}


def _look(
    transaction: Transaction,
    tree: str,
    project: str,
    filename: str,
    sha256: str,
    *,
    owner: str | None = None,
    user: str | None = None,
) -> Claim:
    """Who has the name already, MINE if nobody but `owner`. Conflict if it is used up; Denied if not for the `user`."""
    name = {"tree": tree, "name": project, "filename": filename}
    [used] = transaction.rows(_used, name | {"user_name": user})
    if user is not None and used["may"] == 0 and not _is_admin(transaction, user):
        raise Denied(f"{user} may not upload to {project}: ask one of its uploaders, or an administrator")
    if used["published"] is not None:
        if used["published"] == sha256:
            return Claim(ClaimState.PUBLISHED)
        raise Conflict("File already exists, with other bytes: upload a new version")
    if used["deleted"] is not None:
        raise Conflict("File already exists: the name was used by a file since deleted; upload a new version")
    if used["owner"] is not None and used["owner"] != owner:
        if used["until"] > transaction.now:
            return Claim(ClaimState.HELD, used["claimed"] == sha256, used["until"] - transaction.now)
        transaction.execute(_end_claim, name)  # it ran out: from now on its owner can't publish
    return Claim(ClaimState.MINE, beside=bool(used["beside"]))


def _is_admin(transaction: Transaction, user: str) -> bool:
    row = transaction.row(_admin, {"user_name": user})
    return row is not None and bool(row["admin"])


def _put(transaction: Transaction, file: HostedFile, displaces: Sequence[str]) -> list[str]:
    """The file's row and what goes with it; the trees of upstreams that had something of its project."""
    holdings.put(transaction, file)
    transaction.change(file.tree, file.project, listed=True, added=file)
    displaced = [tree for tree in displaces if _displace(transaction, tree, file.project)]
    transaction.journal("publish", actor=file.uploader, **subject(file))
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
