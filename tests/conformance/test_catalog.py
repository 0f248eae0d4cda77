"""The catalog through its public door: facts, claims, the journal, the serial, and what kills leave behind."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from caseus.catalog import Catalog, Changes, Claim, ClaimState, HostedFile, UpstreamPage, schema, writer
from caseus.catalog.locks import Lock, exclusive
from caseus.errors import Busy, Conflict, Invalid, NotFound, Unavailable
from caseus.model import File, Validity

MAIN = "files/main"
PYPI = "fetched/pypi"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path, clock=clock)
    yield catalog
    catalog.close()


def hosted(filename: str = "acme-1.0-py3-none-any.whl", sha256: str = "a" * 64, project: str = "acme") -> HostedFile:
    return HostedFile(
        tree=MAIN,
        project=project,
        filename=filename,
        version="1.0",
        sha256=sha256,
        size=10,
        md5="m",
        blake2b_256="b",
        uploaded=1_700_000_000.25,
        uploader="alice",
        requires_python=">=3.11",
        metadata_sha256="c" * 64,
        has_sig=True,
    )


def published(catalog: Catalog, file: HostedFile | None = None, displaces: tuple[str, ...] = ()) -> HostedFile:
    file = file or hosted()
    claim = catalog.claim(file.tree, file.project, file.filename, sha256=file.sha256, owner="me").result()
    assert claim.state is ClaimState.MINE
    catalog.publish(file, "me", holds=lambda: True, displaces=displaces)
    return file


def page(*filenames: str, **changes: object) -> UpstreamPage:
    files = tuple(File(filename=name, hashes={"sha256": "d" * 64}) for name in filenames)
    base = UpstreamPage(files=files, versions=("1.0",), etag='"e"', fetched=1.0, until=2.0)
    return msgspec.structs.replace(base, **changes)


def test_a_published_file_reads_back_as_it_was_written(catalog: Catalog) -> None:
    file = published(catalog)
    assert catalog.hosted_files(MAIN, "acme") == [file]
    assert catalog.hosted_file(MAIN, "acme", file.filename) == file
    assert catalog.hosted_file(MAIN, "other", file.filename) is None
    assert catalog.hosted_file("files/other", "acme", file.filename) is None
    assert catalog.find_file(MAIN, file.filename) == file
    assert list(catalog.all_hosted()) == [file]
    assert list(catalog.projects(MAIN)) == ["acme"]
    assert catalog.knows(MAIN, "acme") and not catalog.knows(MAIN, "acm")


def test_projects_are_sorted_and_complete_beyond_one_page(catalog: Catalog) -> None:
    names = [f"p{number:04}" for number in range(2500)]

    claims = [(f"{name}-1.0-py3-none-any.whl", name) for name in reversed(names)]
    for future in [catalog.claim(MAIN, name, file, sha256="a" * 64, owner="me") for file, name in claims]:
        future.result()
    with ThreadPoolExecutor(16) as pool:  # sixteen at a time are grouped into one commit
        jobs = [
            pool.submit(catalog.publish, hosted(file, project=name), "me", holds=lambda: True) for file, name in claims
        ]
        assert [job.result() for job in jobs] == [[]] * len(names)
    assert list(catalog.projects(MAIN)) == names
    assert [file.project for file in catalog.all_hosted()] == names


def test_each_change_moves_the_serial_by_one_and_only_its_projects(catalog: Catalog) -> None:
    file = published(catalog)
    assert (catalog.serial(), catalog.project_serial(MAIN, "acme"), catalog.project_serial(MAIN, "b")) == (1, 1, 0)
    published(catalog, hosted("b-1.0-py3-none-any.whl", project="b"))
    assert (catalog.serial(), catalog.project_serial(MAIN, "acme"), catalog.project_serial(MAIN, "b")) == (2, 1, 2)
    catalog.yank([file], "broken", actor="alice")
    assert (catalog.serial(), catalog.project_serial(MAIN, "acme")) == (3, 3)
    catalog.add_user("bob", password_hash="h", admin=False, actor="alice")
    assert catalog.serial() == 3


def test_validity_holds_until_its_project_changes_or_its_time_is_over(catalog: Catalog, clock: Clock) -> None:
    absence = Validity(serials=((MAIN, "acme", 0),))
    assert catalog.is_current(absence, clock.now)
    published(catalog)
    assert not catalog.is_current(absence, clock.now)
    assert catalog.is_current(Validity(serials=((MAIN, "acme", 1),), until=clock.now + 1), clock.now)
    assert not catalog.is_current(Validity(serials=((MAIN, "acme", 1),), until=clock.now), clock.now)


def test_a_claim_keeps_others_out_until_its_lease_ends(catalog: Catalog, clock: Clock) -> None:
    def claim(owner: str, sha256: str = "a" * 64) -> Claim:
        return catalog.claim(MAIN, "acme", "acme-1.0.tar.gz", sha256=sha256, owner=owner).result()

    assert claim("one")[0] is ClaimState.MINE
    assert catalog.knows(MAIN, "acme")
    clock.now += 10
    assert claim("two") == Claim(ClaimState.HELD, same=True, left=20.0)
    assert claim("two", "b" * 64) == Claim(ClaimState.HELD, same=False, left=20.0)
    assert claim("one")[0] is ClaimState.MINE
    clock.now += 31
    assert not catalog.knows(MAIN, "acme")
    assert claim("two", "b" * 64)[0] is ClaimState.MINE
    with pytest.raises(Busy):  # fenced: its claim was taken over
        catalog.publish(hosted("acme-1.0.tar.gz"), "one", holds=lambda: True)
    with pytest.raises(Busy):
        catalog.with_claim(MAIN, "acme-1.0.tar.gz", "one", lambda: pytest.fail("not mine"))
    assert catalog.hosted_files(MAIN, "acme") == []


def test_a_claim_released_or_cleared_is_free_at_once(catalog: Catalog) -> None:
    def release() -> None:
        catalog.release(MAIN, "f-1.tar.gz", "one")

    for give_back in (release, catalog.clear_claims):
        assert catalog.claim(MAIN, "f", "f-1.tar.gz", sha256="a", owner="one").result().state is ClaimState.MINE
        give_back()
        assert catalog.claim(MAIN, "f", "f-1.tar.gz", sha256="b", owner="two").result().state is ClaimState.MINE
        catalog.clear_claims()


def test_bytes_displaced_before_t2_are_not_published(catalog: Catalog) -> None:
    file = hosted()
    catalog.claim(MAIN, "acme", file.filename, sha256=file.sha256, owner="me").result()
    with pytest.raises(Busy, match="displaced"):
        catalog.publish(file, "me", holds=lambda: False)
    assert catalog.serial() == 0 and catalog.hosted_files(MAIN, "acme") == []


def test_a_used_name_conflicts_for_ever(catalog: Catalog) -> None:
    file = published(catalog)
    again = catalog.claim(MAIN, "acme", file.filename, sha256=file.sha256, owner="you").result()
    assert again.state is ClaimState.PUBLISHED
    with pytest.raises(Conflict, match="File already exists"):
        catalog.claim(MAIN, "acme", file.filename, sha256="f" * 64, owner="you").result()
    catalog.delete([file], "leaked a key", actor="alice")
    assert catalog.hosted_files(MAIN, "acme") == [] and list(catalog.projects(MAIN)) == []
    assert catalog.knows(MAIN, "acme")
    (grave,) = catalog.tombstones(MAIN, "acme")
    assert (grave.sha256, grave.reason) == (file.sha256, "leaked a key")
    assert list(catalog.all_tombstones()) == [grave]
    for digest in (file.sha256, "f" * 64):
        with pytest.raises(Conflict, match="File already exists"):
            catalog.claim(MAIN, "acme", file.filename, sha256=digest, owner="you").result()
    with pytest.raises(NotFound):
        catalog.delete([file], "", actor="alice")


def test_yank_and_unyank(catalog: Catalog) -> None:
    file = published(catalog)
    catalog.yank([file], "", actor="alice")
    assert [found.yanked for found in catalog.hosted_files(MAIN, "acme")] == [""]
    catalog.yank([file], None, actor="alice")
    assert [found.yanked for found in catalog.hosted_files(MAIN, "acme")] == [None]


def test_publishing_a_name_forgets_what_was_fetched_of_it(catalog: Catalog) -> None:
    catalog.save_page(PYPI, "acme", page("acme-9-py3-none-any.whl"))
    catalog.save_fetched(PYPI, "acme", "acme-9-py3-none-any.whl", sha256="d" * 64, size=100)
    catalog.save_page(PYPI, "other", page("other-1-py3-none-any.whl"))
    catalog.save_fetched(PYPI, "other", "other-1-py3-none-any.whl", sha256="d" * 64, size=7)
    published(catalog, displaces=(PYPI,))
    assert catalog.page(PYPI, "acme") is None and catalog.fetched_files(PYPI, "acme") == {}
    assert catalog.page(PYPI, "other") is not None and catalog.cache_bytes() == 7


def test_an_upstream_page_moves_the_serial_only_when_readers_see_a_difference(catalog: Catalog) -> None:
    first = catalog.save_page(PYPI, "six", page("six-1-py3-none-any.whl"))
    assert first.serial == 1 and catalog.has_page(PYPI, "six")
    again = catalog.save_page(PYPI, "six", page("six-1-py3-none-any.whl", etag='"new"', fetched=5.0, until=9.0))
    assert again.serial == 1
    assert catalog.page(PYPI, "six") == again and again.etag == '"new"'
    catalog.touch_page(PYPI, "six", fetched=20.0, until=30.0)
    touched = catalog.page(PYPI, "six")
    assert touched is not None and (touched.fetched, touched.until, touched.serial) == (20.0, 30.0, 1)
    assert catalog.save_page(PYPI, "six", page("six-1-py3-none-any.whl", "six-2-py3-none-any.whl")).serial == 2
    catalog.drop_page(PYPI, "six")
    assert catalog.page(PYPI, "six") is None and not catalog.has_page(PYPI, "six") and catalog.serial() == 3
    catalog.drop_page(PYPI, "six")
    assert catalog.serial() == 3


def test_the_first_sha256_that_was_fetched_binds(catalog: Catalog) -> None:
    catalog.save_fetched(PYPI, "six", "six-1.tar.gz", sha256="d" * 64, size=100, modified=5.0)
    assert catalog.serial() == 1
    with pytest.raises(Conflict, match="other bytes"):
        catalog.save_fetched(PYPI, "six", "six-1.tar.gz", sha256="e" * 64, size=100)
    catalog.evicted(PYPI, "six", "six-1.tar.gz")
    assert catalog.cache_bytes() == 0
    with pytest.raises(Conflict, match="other bytes"):
        catalog.save_fetched(PYPI, "six", "six-1.tar.gz", sha256="e" * 64, size=100)
    catalog.save_fetched(PYPI, "six", "six-1.tar.gz", sha256="d" * 64, size=100)
    found = catalog.fetched(PYPI, "six", "six-1.tar.gz")
    assert found is not None and found.stored and found.modified == 5.0
    assert catalog.cache_bytes() == 100 and catalog.serial() == 1  # eviction and return change no page


def test_a_first_known_metadata_digest_changes_the_page(catalog: Catalog) -> None:
    for expected in (1, 1):
        catalog.save_fetched_metadata(PYPI, "six", "six-1-py3-none-any.whl", sha256="f" * 64)
        assert catalog.project_serial(PYPI, "six") == expected
    found = catalog.fetched(PYPI, "six", "six-1-py3-none-any.whl")
    assert found is not None and found.metadata_sha256 == "f" * 64 and not found.stored


def test_least_recently_used_first(catalog: Catalog, clock: Clock) -> None:
    for name in ("a", "b", "c"):
        clock.now += 1
        catalog.save_fetched(PYPI, name, f"{name}-1.tar.gz", sha256=name, size=1)
    clock.now += 1
    catalog.used(PYPI, "a", "a-1.tar.gz")
    assert [file.project for file in catalog.least_recent(10)] == ["b", "c", "a"]
    catalog.evicted(PYPI, "b", "b-1.tar.gz")
    assert [file.project for file in catalog.least_recent(1)] == ["c"]
    assert [file.project for file in catalog.all_fetched()] == ["a", "b", "c"]


def test_users_and_tokens(catalog: Catalog, clock: Clock) -> None:
    catalog.add_user("alice", password_hash="h", admin=True, actor="cli:root")
    with pytest.raises(Conflict, match="alice exists"):
        catalog.add_user("alice", password_hash="h2", admin=False, actor="cli:root")
    with pytest.raises(NotFound, match="no user bob"):
        catalog.add_token(user="bob", digest="d", prefix="p", scope="read", expires=None, actor="cli:root")
    token = catalog.add_token(user="alice", digest="d", prefix="p", scope="upload", expires=clock.now + 5, actor="x")
    assert catalog.token("d") == token and catalog.tokens("alice") == [token] and catalog.tokens("bob") == []
    before = catalog.users_serial()
    catalog.set_password("alice", password_hash="h3", actor="cli:root")
    user = catalog.user("alice")
    assert user is not None and user.password_hash == "h3" and user.admin and catalog.users_serial() == before + 1
    catalog.token_used(token.id)
    catalog.revoke_token(token.id, actor="cli:root")
    with pytest.raises(NotFound):
        catalog.revoke_token(token.id, actor="cli:root")
    catalog.add_token(user="alice", digest="d2", prefix="p", scope="read", expires=None, actor="x")
    catalog.remove_user("alice", actor="cli:root")
    assert catalog.tokens() == [] and catalog.users() == [] and catalog.token("d2") is None
    with pytest.raises(NotFound):
        catalog.remove_user("alice", actor="cli:root")


def test_each_change_is_one_journal_entry_linked_to_the_one_before(catalog: Catalog) -> None:
    file = published(catalog)
    catalog.yank([file], "broken", actor="alice")
    catalog.delete([file], "gone", actor="bob")
    catalog.add_user("carol", password_hash="secret-hash", admin=False, actor="cli:root")
    entries = list(catalog.journal())
    assert [(entry.action, entry.actor) for entry in entries] == [
        ("publish", "alice"),
        ("yank", "alice"),
        ("delete", "bob"),
        ("user-add", "cli:root"),
    ]
    assert [entry.serial for entry in entries] == [1, 2, 3, 3]
    assert [entry.previous for entry in entries] == ["", *(entry.digest for entry in entries[:-1])]
    assert [entry.number for entry in catalog.journal(since=2)] == [3, 4]
    assert "secret-hash" not in repr(entries)
    assert catalog.check_journal() == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE journal SET detail = 'fine' WHERE number = 2", "entry 2 was changed"),
        ("DELETE FROM journal WHERE number = 2", "entry 2 is missing"),
    ],
)
def test_a_changed_or_missing_journal_entry_is_found(catalog: Catalog, tmp_path: Path, damage: str, told: str) -> None:
    file = published(catalog)
    catalog.yank([file], "broken", actor="alice")
    catalog.yank([file], None, actor="alice")
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)) as connection:
        connection.execute(damage)
    assert any(told in fault for fault in catalog.check_journal())


def test_a_failing_job_leaves_no_trace_and_its_neighbours_are_kept(catalog: Catalog) -> None:
    release = threading.Event()
    first = catalog.writer.submit(lambda transaction: release.wait(10))
    file = hosted()
    catalog.claim(MAIN, "acme", file.filename, sha256=file.sha256, owner="me")

    def failing(transaction: object) -> None:
        transaction.change(MAIN, "acme")  # type: ignore[attr-defined]
        transaction.journal("never", actor="x")  # type: ignore[attr-defined]
        raise RuntimeError("no")

    failed = catalog.writer.submit(failing)
    added = catalog.writer.submit(lambda transaction: transaction.add("users"))
    release.set()
    assert first.result() and added.result() == 1
    with pytest.raises(RuntimeError):
        failed.result()
    assert catalog.serial() == 0 and list(catalog.journal()) == [] and catalog.knows(MAIN, "acme")


def test_what_is_prepared_in_the_writers_thread_goes_into_its_next_transaction(catalog: Catalog) -> None:
    release, ran = threading.Event(), []
    first = catalog.writer.submit(lambda transaction: release.wait(10))
    jobs: list[Future[object]] = []

    def prepare() -> None:
        ran.append(threading.current_thread().name)
        jobs.append(catalog.writer.submit(lambda transaction: transaction))

    def fail() -> None:
        raise RuntimeError("no")

    failed = catalog.writer.prepare(fail)
    given_up = catalog.writer.prepare(prepare)
    assert given_up.cancel()
    prepared = [catalog.writer.prepare(prepare) for _ in range(3)]
    release.set()
    assert first.result()
    with pytest.raises(RuntimeError):
        failed.result()
    for done in prepared:
        done.result()
    assert ran == ["caseus-writer"] * 3 and len({id(job.result()) for job in jobs}) == 1


def test_while_the_disk_is_busy_what_waits_is_prepared(catalog: Catalog) -> None:
    """One by one, until there is nothing more; a job that waits goes into the transaction after this one, in order."""
    order: list[str] = []

    class Store:
        def sync(self, keys: Iterable[str], *, beside: bool, meanwhile: Callable[[], bool]) -> None:
            done = [catalog.writer.prepare(lambda: order.append("prepared"))]
            jobs.append(catalog.writer.submit(lambda transaction: order.append("job")))
            done.append(catalog.writer.prepare(lambda: order.append("prepared")))
            assert meanwhile() and meanwhile() and meanwhile() and not meanwhile()
            assert all(each.done() for each in done) and order == ["prepared", "prepared"]
            order.append("synced")

    jobs: list[Future[None]] = []
    catalog.writer.submit(lambda transaction: transaction.place(Store(), ["key"], beside=False)).result()
    jobs[0].result()
    assert order == ["prepared", "prepared", "synced", "job"]


def test_what_is_prepared_has_waited_since_it_was_handed_over(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the writer, and then for the lock, does not wait for two time limits."""
    now, jobs, limits, held = Clock(), [], [], Lock.held

    def prepare() -> None:
        now.now += 5
        jobs.append(catalog.writer.submit(lambda transaction: 1))

    def recorded(self: Lock, *, timeout: float = 10.0) -> AbstractContextManager[None]:
        limits.append(timeout)
        return held(self, timeout=timeout)

    monkeypatch.setattr(writer, "time", SimpleNamespace(monotonic=now))
    monkeypatch.setattr(Lock, "held", recorded)
    catalog.writer.prepare(prepare).result()
    assert jobs[0].result() == 1 and limits[0] == writer._PATIENCE - 5


def test_a_change_is_seen_by_another_open_catalog_at_once(catalog: Catalog, tmp_path: Path) -> None:
    with closing(Catalog.open(tmp_path)) as other:
        assert not catalog.presence.try_alone()
        published(catalog)
        assert other.serial() == 1 and [file.project for file in other.hosted_files(MAIN, "acme")] == ["acme"]


def test_a_lock_that_another_keeps_is_told_and_one_that_is_given_back_is_taken(
    catalog: Catalog, tmp_path: Path
) -> None:
    with (
        exclusive(tmp_path / "write.lock"),
        pytest.raises(Unavailable, match="write lock"),
        exclusive(tmp_path / "write.lock", timeout=0.05),
    ):
        pytest.fail("two holders")
    published(catalog)


def test_the_serial_is_made_good_after_a_kill_between_commit_and_its_store(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    published(catalog)
    catalog.close()
    (tmp_path / "serial").write_bytes(bytes(16))
    again = Catalog.open(tmp_path)
    assert again.serial() == 1
    again.close()


def test_a_newer_or_foreign_catalog_is_refused_and_left_alone(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    published(catalog)
    catalog.close()
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Invalid, match="9999"):
        Catalog.open(tmp_path)
    (tmp_path / "catalog.sqlite").write_bytes(b"this is no database, but long enough to look like one\n" * 200)
    before = (tmp_path / "catalog.sqlite").read_bytes()
    with pytest.raises(Invalid, match="damaged"):
        Catalog.open(tmp_path)
    assert (tmp_path / "catalog.sqlite").read_bytes() == before


def test_the_migrations_make_the_schema_that_the_queries_use(tmp_path: Path) -> None:
    from sqlalchemy import create_engine, inspect

    Catalog.open(tmp_path).close()
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    try:
        inspector = inspect(engine)
        assert set(inspector.get_table_names()) == {*schema.metadata.tables, "alembic_version"}
        for table in schema.metadata.tables.values():
            found = {column["name"]: column for column in inspector.get_columns(table.name)}
            assert list(found) == [column.name for column in table.columns]
            for column in table.columns:
                assert str(found[column.name]["type"]) == str(column.type.compile(engine.dialect)), column
                assert found[column.name]["nullable"] == column.nullable, column
            assert {index["name"] for index in inspector.get_indexes(table.name)} == {i.name for i in table.indexes}
    finally:
        engine.dispose()


@pytest.mark.parametrize(("module", "name"), [("hosted", "_files"), ("listings", "_listed_files")])
def test_a_project_s_files_are_found_by_the_project(tmp_path: Path, module: str, name: str) -> None:
    """Not by reading all files of the tree, in order."""
    Catalog.open(tmp_path).close()
    text, _ = getattr(import_module(f"caseus.catalog.{module}"), name).compiled
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection:
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + text, _Anything())]
    assert plan == ["SEARCH files USING PRIMARY KEY (tree=? AND project=?)"]


def test_a_new_catalog_is_what_the_migrations_make(tmp_path: Path) -> None:
    from caseus.catalog import migration

    found = []
    for make in (migration._create, migration._upgrade):
        path = tmp_path / f"{make.__name__}.sqlite"
        sqlite3.connect(path).close()
        make(path)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT value FROM counters WHERE name = 'identity'").fetchone() > (0,)
            connection.execute("UPDATE counters SET value = 1 WHERE name = 'identity'")
            schemas = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
            rows = [sorted(connection.execute(f"SELECT * FROM {table}")) for table in ("counters", "alembic_version")]
            mode = connection.execute("PRAGMA journal_mode").fetchone()
        found.append((sorted((*names, " ".join((text or "").split())) for *names, text in schemas), rows, mode))
    assert found[0] == found[1]


class _Anything(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def _run(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(processes: list[subprocess.Popen[str]]) -> list[int]:
    codes = []
    for process in processes:
        _, errors = process.communicate(timeout=60)
        codes.append(process.returncode)
        assert "Traceback" not in errors, errors
    return codes


def test_four_starts_at_once_make_one_catalog(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from caseus.catalog import Catalog
        catalog = Catalog.open(Path(sys.argv[1]))
        catalog.add_user(sys.argv[2], password_hash="h", admin=False, actor="test")
        catalog.close()
    """
    assert _finish([_run(script, str(tmp_path), f"u{number}") for number in range(4)]) == [0, 0, 0, 0]
    catalog = Catalog.open(tmp_path)
    assert [user.name for user in catalog.users()] == ["u0", "u1", "u2", "u3"]
    assert catalog.check_journal() == [] and catalog.users_serial() == 4
    catalog.close()


@pytest.mark.parametrize("step", ["before the first table", "between tables", "before the commit"])
def test_a_kill_in_a_migration_leaves_a_root_that_the_next_start_opens(tmp_path: Path, step: str) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from alembic import command, op
        from caseus.catalog import migration
        from caseus.catalog.migration import migrate

        migration._create = migration._upgrade  # there is no older schema yet
        step, calls, create, upgrade = sys.argv[2], [0], op.create_table, command.upgrade

        def die():
            os.kill(os.getpid(), signal.SIGKILL)

        def counting(*args, **kwargs):
            calls[0] += 1
            if calls[0] == {"before the first table": 1, "between tables": 5}.get(step):
                die()
            return create(*args, **kwargs)

        def finishing(*args, **kwargs):
            upgrade(*args, **kwargs)
            die()

        op.create_table = counting
        if step == "before the commit":
            command.upgrade = finishing
        migrate(Path(sys.argv[1]) / "catalog.sqlite", Path(sys.argv[1]) / "write.lock")
    """
    assert _finish([_run(script, str(tmp_path), step)]) == [-9]
    catalog = Catalog.open(tmp_path)
    published(catalog)
    catalog.close()


def older(path: Path) -> None:
    """Makes a catalog of the first schema of it, if it is none yet."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if connection.execute("SELECT version_num FROM alembic_version").fetchone() == (schema.HEAD,):
            for table in ("projects", "files", "tombstones"):
                columns = [column.name for column in schema.metadata.tables[table].columns]
                old = [name for name in columns if not name.startswith("listed")]
                connection.execute(f"CREATE TABLE old AS SELECT {', '.join(old)} FROM {table}")
                connection.execute(f"DROP TABLE {table}")
                connection.execute(f"CREATE TABLE {table} ({', '.join(old)})")  # affinities don't matter here
                connection.execute(f"INSERT INTO {table} SELECT * FROM old")
                connection.execute("DROP TABLE old")
            connection.executescript(
                "CREATE INDEX projects_serial ON projects (serial);"
                "CREATE INDEX files_project ON files (tree, project);"
                "CREATE INDEX tombstones_project ON tombstones (tree, project);"
                "DELETE FROM counters WHERE name NOT IN ('serial', 'users', 'cache');"
                "ALTER TABLE users DROP COLUMN read_only; DROP TABLE uploaders; DROP TABLE aliases;"
                "DROP TABLE markers; ALTER TABLE tombstones DROP COLUMN yanked;"
                "ALTER TABLE fetched_files DROP COLUMN has_sig"
            )
            connection.execute("UPDATE alembic_version SET version_num = '0001'")


def test_an_older_catalog_is_backed_up_before_it_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog.open(tmp_path)
    published(catalog)
    catalog.close()
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")

    def failing(path: Path) -> None:
        raise RuntimeError("the migration fails")

    monkeypatch.setattr("caseus.catalog.migration._upgrade", failing)
    with pytest.raises(RuntimeError):
        Catalog.open(tmp_path)
    with closing(sqlite3.connect(tmp_path / f"catalog.sqlite.before-{schema.HEAD}")) as backup:
        assert backup.execute("SELECT count(*) FROM files").fetchone() == (1,)


def test_a_catalog_of_the_first_schema_is_migrated(tmp_path: Path) -> None:
    """Users of a caseus that knew neither read-only users nor uploaders."""
    catalog = Catalog.open(tmp_path)
    file = published(catalog)
    catalog.add_user("alice", password_hash="x", admin=True, actor="test")
    catalog.close()
    older(tmp_path / "catalog.sqlite")
    catalog = Catalog.open(tmp_path)
    assert catalog.user("alice") == msgspec.structs.replace(catalog.users()[0], admin=True, read_only=False)
    assert catalog.hosted_files(MAIN, "acme") == [file] and catalog.uploaders(MAIN, "acme") == []
    catalog.add_user("eve", password_hash="x", read_only=True, actor="test")
    catalog.close()


def test_accounts_of_a_catalog_of_the_first_schema_are_adopted(tmp_path: Path) -> None:
    for name in ("old", "new0", "new1"):
        (tmp_path / name).mkdir()
    catalog = Catalog.open(tmp_path / "old")
    catalog.add_user("alice", password_hash="x", admin=True, actor="test")
    catalog.change_uploaders(MAIN, "acme", add=["alice"], actor="test")
    catalog.add_alias("mia/dev", "main", actor="test")
    catalog.close()
    for number in range(2):
        with_accounts = Catalog.open(tmp_path / f"new{number}")
        assert with_accounts.adopt_accounts(tmp_path / "old/catalog.sqlite", actor="test") == 1
        assert [(user.name, user.admin, user.read_only) for user in with_accounts.users()] == [("alice", True, False)]
        assert with_accounts.uploaders(MAIN, "acme") == ["alice"][number:]
        assert with_accounts.alias("mia/dev") == ("main", None)[number]
        with_accounts.close()
        older(tmp_path / "old/catalog.sqlite")


def test_processes_that_write_at_once_all_succeed(tmp_path: Path) -> None:
    Catalog.open(tmp_path).close()
    script = """
        import sys
        from pathlib import Path
        from caseus.catalog import Catalog
        catalog = Catalog.open(Path(sys.argv[1]))
        for number in range(100):
            catalog.writer.write(lambda transaction: transaction.change("files/main", sys.argv[2]))
        catalog.close()
    """
    assert _finish([_run(script, str(tmp_path), f"p{number}") for number in range(3)]) == [0, 0, 0]
    catalog = Catalog.open(tmp_path)
    assert catalog.serial() == 300
    catalog.close()


def test_lists_that_fall_behind_are_written_with_the_next_change(catalog: Catalog) -> None:
    written: list[set[tuple[str, str]]] = []
    failures = iter([OSError("disk full")])

    def write(changes: Changes) -> None:
        for failure in failures:
            raise failure
        written.append(set(changes.projects))

    catalog.writer.after_commit = write
    file = published(catalog)
    assert catalog.listed == 0 and written == []
    catalog.yank([file], "", actor="alice")
    published(catalog, hosted("b-1.0-py3-none-any.whl", project="b"))
    assert catalog.listed == 3 and written == [{(MAIN, "acme")}, {(MAIN, "b")}]
