"""Facts of what was fetched from upstreams: their pages, and the files that were seen."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec
import zstandard
from sqlalchemy import BindParameter, and_, bindparam, delete, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert as upsert

from caseus.catalog import holdings, schema, sql
from caseus.catalog.database import Database
from caseus.catalog.rows import FetchedFile, UpstreamPage
from caseus.catalog.transaction import Transaction
from caseus.errors import Conflict
from caseus.model import File, Status

_p, _g = schema.upstream_pages.c, schema.fetched_files.c
_tree: BindParameter[str] = bindparam("tree")
_name: BindParameter[str] = bindparam("name")
_filename: BindParameter[str] = bindparam("filename")
_this_page = and_(_p.tree == _tree, _p.project == _name)
_this_file = and_(_g.tree == _tree, _g.project == _name, _g.filename == _filename)

_page = sql.Statement(select(schema.upstream_pages).where(_this_page))
_has_page = sql.Statement(select(_p.until).where(_this_page))
_save_page = sql.Statement(
    upsert(schema.upstream_pages)
    .values({column.name: bindparam(column.name) for column in schema.upstream_pages.columns})
    .on_conflict_do_update(
        index_elements=["tree", "project"],
        set_={name: bindparam(name) for name in ("body", "etag", "fetched", "until")},
    ),
    columns=(),
)
_touch_page = sql.Statement(
    update(schema.upstream_pages).where(_this_page).values(fetched=bindparam("fetched_at"), until=bindparam("until_at"))
)
_drop_page = sql.Statement(delete(schema.upstream_pages).where(_this_page))
_file = sql.Statement(select(schema.fetched_files).where(_this_file))
_files = sql.Statement(select(schema.fetched_files).where(_g.tree == _tree, _g.project == _name))
_save_file = sql.Statement(
    upsert(schema.fetched_files)
    .values({column.name: bindparam(column.name) for column in schema.fetched_files.columns})
    .on_conflict_do_update(
        index_elements=["tree", "project", "filename"],
        set_={column.name: bindparam(column.name) for column in schema.fetched_files.columns if not column.primary_key},
    ),
    columns=(),
)
_set_used = sql.Statement(update(schema.fetched_files).where(_this_file).values(used=bindparam("time")))
_set_evicted = sql.Statement(update(schema.fetched_files).where(_this_file).values(stored=False))
_least = sql.Statement(
    select(schema.fetched_files).where(_g.stored.is_(True)).order_by(_g.used).limit(bindparam("size"))
)

_key = tuple_(_g.tree, _g.project, _g.filename)
_after = tuple_(bindparam("after_tree"), bindparam("after_project"), bindparam("after_filename"))
_all_files = sql.Statement(
    select(schema.fetched_files).where(_key > _after).order_by(*_key.clauses).limit(bindparam("size"))
)


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a page that readers see."""

    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: Status = "active"
    status_reason: str | None = None


class _Bodies:
    """Bodies as they were decoded last: a page of thousands of files is asked for with each of them."""

    _LIMIT = 4 * 1024 * 1024  # bytes before decoding, which makes some twelve times as many

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[bytes, _Body]] = OrderedDict()
        self._weight = 0

    def decode(self, tree: str, name: str, raw: bytes) -> _Body:
        with self._guard:
            kept = self._kept.get((tree, name))
            if kept is not None and kept[0] == raw:
                self._kept.move_to_end((tree, name))
                return kept[1]
        body = _body_decoder.decode(zstandard.decompress(raw))
        with self._guard:
            before = self._kept.pop((tree, name), None)
            self._weight += len(raw) - (len(before[0]) if before else 0)
            self._kept[tree, name] = (raw, body)
            while self._weight > self._LIMIT:
                _, (dropped, _) = self._kept.popitem(last=False)
                self._weight -= len(dropped)
        return body


_body_decoder = msgspec.json.Decoder(_Body)


class Fetched(Database):
    """Reads answer at once; writes return when they are durable, but for `used`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bodies = _Bodies()
        self._used: dict[tuple[str, str, str], float] = {}
        self._used_guard = threading.Lock()

    def page(self, tree: str, name: str) -> UpstreamPage | None:
        """What the upstream last said of the project; None if it never did, or said 404 last."""
        serial = self.project_serial(tree, name)  # first: a page newer than its serial is only read again
        row = self._row(_page, tree=tree, name=name)
        if row is None:
            return None
        body = self._bodies.decode(tree, name, row["body"])
        return UpstreamPage(
            files=body.files,
            versions=body.versions,
            status=body.status,
            status_reason=body.status_reason,
            etag=row["etag"],
            fetched=row["fetched"],
            until=row["until"],
            serial=serial,
        )

    def has_page(self, tree: str, name: str) -> bool:
        return self._row(_has_page, tree=tree, name=name) is not None

    def save_page(self, tree: str, name: str, page: UpstreamPage) -> UpstreamPage:
        """Keep the page; the project's serial moves if what readers see of it differs. Returns it with its serial."""
        body = _encode(page)

        def job(transaction: Transaction) -> UpstreamPage:
            key = {"tree": tree, "name": name}
            before = transaction.row(_page, key)
            times = {"etag": page.etag, "fetched": page.fetched, "until": page.until}
            transaction.execute(_save_page, {"tree": tree, "project": name, "body": body} | times)
            if before is None or before["body"] != body:
                return msgspec.structs.replace(page, serial=transaction.change(tree, name, listed=True))
            return msgspec.structs.replace(page, serial=self.project_serial(tree, name))

        return self.writer.write(job)

    def touch_page(self, tree: str, name: str, *, fetched: float, until: float) -> None:
        """The upstream said that nothing changed."""
        params = {"tree": tree, "name": name, "fetched_at": fetched, "until_at": until}
        self.writer.write(lambda transaction: transaction.execute(_touch_page, params))

    def drop_page(self, tree: str, name: str) -> None:
        """The upstream no longer knows the project."""

        def job(transaction: Transaction) -> None:
            if transaction.execute(_drop_page, {"tree": tree, "name": name}):
                transaction.change(tree, name, listed=False)

        self.writer.write(job)

    def fetched(self, tree: str, name: str, filename: str) -> FetchedFile | None:
        row = self._row(_file, tree=tree, name=name, filename=filename)
        return fetched_file(row) if row else None

    def fetched_files(self, tree: str, name: str) -> dict[str, FetchedFile]:
        """All files of the project that were ever seen, by filename."""
        return {row["filename"]: fetched_file(row) for row in self._rows(_files, tree=tree, name=name)}

    def all_fetched(self) -> Iterator[FetchedFile]:
        """Every file that was ever seen, of every upstream."""
        pages = self._pages(_all_files, {}, ("tree", "project", "filename"))
        return (fetched_file(row) for row in pages)

    def save_fetched(
        self, tree: str, name: str, filename: str, *, sha256: str, size: int, modified: float | None = None
    ) -> None:
        """The bytes are stored now. Conflict if another sha256 is bound to the name."""

        def job(transaction: Transaction) -> None:
            row, known = _state(transaction, tree, name, filename)
            if known.sha256 is not None and known.sha256 != sha256:
                raise Conflict(f"{filename} has other bytes than when it was first fetched")
            transaction.add("cache", size - ((known.size or 0) if known.stored else 0))
            holdings.count(transaction, "files", tree, 0 if known.stored else 1)
            seen = {"sha256": sha256, "size": size, "stored": True, "used": transaction.now}
            transaction.execute(_save_file, row | seen | ({"modified": modified} if modified is not None else {}))
            if known.sha256 is None:
                transaction.change(tree, name)
                subject = {"tree": tree, "project": name, "filename": filename, "sha256": sha256}
                transaction.journal("fetch", actor="cache", **subject)

        self.writer.write(job)

    def save_known(self, tree: str, name: str, filename: str, *, sha256: str) -> None:
        """Nobody fetched it here, but this is its sha256: it binds. Conflict if another one does."""

        def job(transaction: Transaction) -> None:
            row, known = _state(transaction, tree, name, filename)
            if known.sha256 is not None and known.sha256 != sha256:
                raise Conflict(f"another sha256 of {filename} is bound here")
            if known.sha256 is None:
                transaction.execute(_save_file, row | {"sha256": sha256})
                transaction.change(tree, name)

        self.writer.write(job)

    def save_fetched_metadata(self, tree: str, name: str, filename: str, *, sha256: str) -> None:
        """The sidecar FILE.metadata is stored now; `sha256` is the sidecar's."""

        def job(transaction: Transaction) -> None:
            row, known = _state(transaction, tree, name, filename)
            if known.metadata_sha256 != sha256:
                transaction.execute(_save_file, row | {"metadata_sha256": sha256})
                transaction.change(tree, name)

        self.writer.write(job)

    def save_fetched_signature(self, tree: str, name: str, filename: str) -> None:
        """The sidecar FILE.asc is stored now."""

        def job(transaction: Transaction) -> None:
            row, known = _state(transaction, tree, name, filename)
            if not known.has_sig:
                transaction.execute(_save_file, row | {"has_sig": True})
                transaction.change(tree, name)

        self.writer.write(job)

    def used(self, tree: str, name: str, filename: str) -> None:
        """Somebody read it just now. Kept in memory and written with the next change, or within half a minute."""
        with self._used_guard:
            self._used[tree, name, filename] = self.clock()

    def write_used(self, transaction: Transaction) -> None:
        """The writer's idle work."""
        with self._used_guard:
            used, self._used = self._used, {}
        for (tree, name, filename), time in used.items():
            transaction.execute(_set_used, {"tree": tree, "name": name, "filename": filename, "time": time})

    def cache_bytes(self) -> int:
        """Bytes of all stored fetched files."""
        return self.counter("cache")

    def least_recent(self, limit: int) -> list[FetchedFile]:
        """Stored files, the least recently used first."""
        self.writer.write(self.write_used)
        return [fetched_file(row) for row in self._rows(_least, size=limit)]

    def evicted(self, tree: str, name: str, filename: str) -> None:
        """The bytes are gone; what is known of the file stays."""

        def job(transaction: Transaction) -> None:
            _, known = _state(transaction, tree, name, filename)
            if known.stored:
                transaction.execute(_set_evicted, {"tree": tree, "name": name, "filename": filename})
                transaction.add("cache", -(known.size or 0))
                holdings.count(transaction, "files", tree, -1)

        self.writer.write(job)


def _encode(page: UpstreamPage) -> bytes:
    """Equal pages give equal bytes (hash keys sorted, a fixed level): that is how a change is noticed."""
    body = _Body(page.files, page.versions, page.status, page.status_reason)
    return zstandard.compress(msgspec.json.encode(body, order="deterministic"), 3)


def fetched_file(row: Any) -> FetchedFile:
    values = dict(row)
    del values["used"]
    return FetchedFile(**{**values, "stored": bool(values["stored"]), "has_sig": bool(values["has_sig"])})


def _state(transaction: Transaction, tree: str, name: str, filename: str) -> tuple[dict[str, Any], FetchedFile]:
    """The row as it is, or as it would begin."""
    row = transaction.row(_file, {"tree": tree, "name": name, "filename": filename})
    if row is not None:
        return dict(row), fetched_file(row)
    known = FetchedFile(tree=tree, project=name, filename=filename)
    return msgspec.structs.asdict(known) | {"used": transaction.now}, known
