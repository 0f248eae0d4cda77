"""kill -9 at each step of an upload, a start, a fill and a migration, one after the other, with nothing left to chance.

What was acknowledged is there, what was not is wholly there or wholly absent, and nobody is in the way of the next.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from caseus.catalog import Catalog, schema
from caseus.catalog.migration import current
from caseus.errors import Conflict, Invalid, NotFound
from caseus.names import normalize
from caseus.site import MAIN, Site, build
from caseus.verify import verify
from faults.dying_worker import copy_migrations, publish
from support.dying import Outcome, Worker, each_step
from support.figures import Figures
from support.packages import make_wheel, metadata
from support.proxied import Clock, read_all
from support.upstream import FakeUpstream, Options
from support.web import make_config

MINE = make_wheel("acme", "2.0")
OTHER = make_wheel("acme", "2.0", content=b"# another build\n")
FIRST = make_wheel("acme", "1.0")
ELSE = make_wheel("else", "1.0")
LARGE = make_wheel("big", "1.0", files={"padding": bytes(range(256)) * 4000}, compress=False)
LEASE = 31.0

pytestmark = pytest.mark.usefixtures("no_certificates")


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        upstream.projects["big"] = [(*LARGE, Options(metadata=metadata("big", "1.0")))]
        upstream.projects["acme"] = [make_wheel("acme", "0.9")]
        yield upstream


@contextmanager
def opened(root: Path, upstream: FakeUpstream, clock: Clock | None = None) -> Iterator[Site]:
    site = build(make_config(root, upstreams=(upstream.url,)), clock=clock or time.time)
    try:
        yield site
    finally:
        site.close()


def read(site: Site, project: str, filename: str) -> bytes:
    return read_all(site.indexes[MAIN].index.open(normalize(project), filename))


# An upload.


def empty(root: Path, upstream: FakeUpstream) -> None:
    with opened(root, upstream):
        pass


def with_more_of_it(root: Path, upstream: FakeUpstream) -> None:
    with opened(root, upstream) as site:
        assert publish(site.indexes[MAIN].publisher, "acme", "1.0", *FIRST) == "published"


def fetched_before(root: Path, upstream: FakeUpstream) -> None:
    """What was fetched of the name is to be forgotten."""
    with opened(root, upstream) as site:
        assert read(site, "acme", "acme-0.9-py3-none-any.whl")


def orphans_in_the_way(root: Path, upstream: FakeUpstream) -> None:
    """An upload was cut before, so that other bytes have the names."""
    empty(root, upstream)
    folder = root / "files/main/acme"
    folder.mkdir(parents=True)
    (folder / OTHER[0]).write_bytes(OTHER[1])
    (folder / f"{OTHER[0]}.metadata").write_bytes(b"of another build")


@pytest.mark.parametrize("claims", [False, True], ids=["at-once", "with-a-claim"])
@pytest.mark.parametrize("alone", [True, False], ids=["then-a-start", "beside-a-living-one"])
@pytest.mark.parametrize("before", [empty, with_more_of_it, fetched_before, orphans_in_the_way])
def test_upload(
    worker: Worker,
    upstream: FakeUpstream,
    memory: Path,
    figures: Figures,
    before: Callable[[Path, FakeUpstream], None],
    alone: bool,
    claims: bool,
) -> None:
    """`claims`: as a large file is published, which nobody else waits for."""
    template = memory / "template"
    before(template, upstream)
    wheel = memory / MINE[0]
    wheel.write_bytes(MINE[1])

    def upload(root: Path, step: int, torn: bool) -> Outcome:
        return worker.run(
            "upload", root, step, torn=torn, upstreams=[upstream.url], file=wheel, name="acme", version="2.0",
            claims=claims,
        )  # fmt: skip

    def upload_beside(root: Path, step: int, torn: bool) -> Outcome:
        clock = Clock()
        with opened(root, upstream, clock) as site:
            outcome = upload(root, step, torn)
            clock.now += LEASE  # the dead one's claim ends by itself
            check_upload(site, outcome)
        return outcome

    kills = 0
    for root, outcome in each_step(template, memory, upload if alone else upload_beside):
        kills += outcome.killed
        if alone:
            with opened(root, upstream) as site:
                assert not list((root / ".incoming").iterdir())
                check_upload(site, outcome)
    figures.add("kill -9 at each step", {"kills in an upload": kills})
    assert kills > 20 and not outcome.killed


def check_upload(site: Site, outcome: Outcome) -> None:
    told = f"killed at step {len(outcome.steps)}: {outcome.steps[-3:]}"
    catalog, publisher = site.catalog, site.indexes[MAIN].publisher
    row = catalog.find_file("files/main", MINE[0])
    assert row is not None or not outcome.said, f"an acknowledged upload is lost, {told}"
    if row is None:
        with pytest.raises(NotFound):
            read(site, "acme", MINE[0])
        assert publish(publisher, "acme", "2.0", *OTHER) == "published", told
    else:
        assert publish(publisher, "acme", "2.0", *MINE) == "unchanged", told
        with pytest.raises(Conflict):
            publish(publisher, "acme", "2.0", *OTHER)
    assert read(site, "acme", MINE[0]) == (OTHER if row is None else MINE)[1], told
    publish(publisher, "else", "1.0", *ELSE)  # with any change lists are made good that the dead left behind
    assert [(each.kind, each.key) for each in verify(catalog, site.store, settle=lambda: None)] == [], told


# A start after such a kill.


def test_start(worker: Worker, upstream: FakeUpstream, memory: Path, figures: Figures) -> None:
    template, wheel = memory / "template", memory / MINE[0]
    empty(template, upstream)
    wheel.write_bytes(MINE[1])
    job: dict[str, Any] = {"upstreams": [], "file": wheel, "name": "acme", "version": "2.0"}
    steps = worker.run("upload", template / "probe", **job).steps
    shutil.rmtree(template / "probe")
    durable = max(number for number, step in enumerate(steps, 1) if step == "COMMIT" and "rename" in steps[number:])
    assert worker.run("upload", template, durable + 1, **job).killed
    assert not list(template.glob("files/main/acme/packages.jsonl")), "the list should be behind"
    (template / ".incoming/left").write_bytes(b"by the dead")
    (template / ".fill/left.part").write_bytes(b"by the dead")

    kills = 0
    for root, outcome in each_step(
        template, memory, lambda root, step, torn: worker.run("start", root, step, torn=torn, upstreams=[])
    ):
        kills += outcome.killed
        with opened(root, upstream) as site:
            assert not list((root / ".incoming").iterdir()) and not list((root / ".fill").iterdir())
            assert publish(site.indexes[MAIN].publisher, "acme", "2.0", *MINE) == "unchanged"
            assert list(verify(site.catalog, site.store, settle=lambda: None)) == []
    figures.add("kill -9 at each step", {"in a start": kills})
    assert kills > 5


# A fill.


@pytest.mark.parametrize("alone", [True, False], ids=["then-a-start", "beside-a-living-one"])
def test_fill(worker: Worker, upstream: FakeUpstream, memory: Path, figures: Figures, alone: bool) -> None:
    template = memory / "template"
    empty(template, upstream)

    def fill(root: Path, step: int, torn: bool) -> Outcome:
        return worker.run("fill", root, step, torn=torn, upstreams=[upstream.url], name="big", filename=LARGE[0])

    def fill_beside(root: Path, step: int, torn: bool) -> Outcome:
        with opened(root, upstream) as site:
            outcome = fill(root, step, torn)
            check_fill(site, outcome)
        return outcome

    kills = 0
    for root, outcome in each_step(template, memory, fill if alone else fill_beside):
        kills += outcome.killed
        if alone:
            for stored in root.glob(f"fetched/*/big/{LARGE[0]}"):
                assert stored.read_bytes() == LARGE[1], "bytes got their name before they were right"
            with opened(root, upstream) as site:
                assert not list((root / ".fill").iterdir())
                check_fill(site, outcome)
        assert not list((root / ".fill").glob("*.part")) or not alone
    figures.add("kill -9 at each step", {"in a fill": kills})
    assert kills > 15


def check_fill(site: Site, outcome: Outcome) -> None:
    told = f"killed at step {len(outcome.steps)}: {outcome.steps[-3:]}"
    assert read(site, "big", LARGE[0]) == LARGE[1], told
    assert read(site, "big", f"{LARGE[0]}.metadata") == metadata("big", "1.0"), told
    assert list(verify(site.catalog, site.store, settle=lambda: None)) == [], told


# A migration.


def test_migration_of_nothing(worker: Worker, upstream: FakeUpstream, memory: Path, figures: Figures) -> None:
    template = memory / "template"
    template.mkdir()
    kills = 0
    for root, outcome in each_step(
        template, memory, lambda root, step, torn: worker.run("migrate", root, step, torn=torn)
    ):
        kills += outcome.killed
        with opened(root, upstream) as site:
            assert publish(site.indexes[MAIN].publisher, "acme", "1.0", *FIRST) == "published"
        assert current(root / "catalog.sqlite") == schema.HEAD
    figures.add("kill -9 at each step", {"in a migration": kills})
    assert kills > 20


def test_migration_of_facts(worker: Worker, upstream: FakeUpstream, memory: Path, figures: Figures) -> None:
    template = memory / "template"
    with_more_of_it(template, upstream)
    more = copy_migrations(memory / "more")

    def migrate(root: Path, step: int = 0, torn: bool = False) -> Outcome:
        return worker.run("migrate", root, step, torn=torn, next=more)

    kills = 0
    for root, outcome in each_step(template, memory, migrate):
        kills += outcome.killed
        path = root / "catalog.sqlite"
        version = query(path, "SELECT version_num FROM alembic_version")
        assert version == [("test",)] or (outcome.killed and version == [(schema.HEAD,)])
        if version == [("test",)]:
            with pytest.raises(Invalid, match="start the newer caseus"):
                Catalog.open(root)
        else:
            with closing(Catalog.open(root)) as catalog:
                assert [file.filename for file in catalog.all_hosted()] == [FIRST[0]]
        assert migrate(root).said == ["opened"]
        assert query(path, "PRAGMA integrity_check") == [("ok",)]
        assert query(path, "SELECT filename, colour FROM files") == [(FIRST[0], "blue")]
        assert query(path, "SELECT filename FROM extra") == [(FIRST[0],)]
        kept = path.with_name("catalog.sqlite.before-test")
        assert query(kept, "SELECT version_num FROM alembic_version") == [(schema.HEAD,)]
        assert query(kept, "SELECT filename FROM files") == [(FIRST[0],)]
    figures.add("kill -9 at each step", {"in a migration": kills})
    assert kills > 5


def query(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()
