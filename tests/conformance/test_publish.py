"""Publishing and undoing it, on both stores, through `Publisher` and the index that readers see."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from packaging.utils import NormalizedName

from caseus.catalog import Catalog, holdings
from caseus.errors import Busy, Conflict, Denied, Invalid, NotFound, Unavailable
from caseus.index import Local
from caseus.packages import Line, PackageLists
from caseus.publish import Publisher
from caseus.storage import Storage
from caseus.storage.filesystem import FilesystemStorage
from caseus.storage.memory import MemoryStorage
from support.forms import form_for
from support.packages import make_sdist, make_wheel, metadata, sha256

MAIN = "files/main"
ACME = NormalizedName("acme")
CONTENT = {"": b"# a module\n", "large": Random(1).randbytes(2 << 20)}
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----\n"


@pytest.fixture(params=["filesystem", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return FilesystemStorage(tmp_path) if request.param == "filesystem" else MemoryStorage()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path)
    yield catalog
    catalog.close()


@pytest.fixture
def publisher(catalog: Catalog, store: Storage) -> Publisher:
    catalog.writer.after_commit = PackageLists(catalog, store).follow
    return Publisher(catalog, store, "main", displaces=["fetched/pypi"])


@pytest.fixture
def local(catalog: Catalog, store: Storage) -> Local:
    return Local(catalog, store, "main", ["corp-*"])


def upload(
    publisher: Publisher,
    filename: str,
    data: bytes,
    signature: bytes | None = None,
    name: str = "acme",
    actor: str = "alice",
) -> str:
    version = filename.split("-")[1].removesuffix(".tar.gz")
    staged = publisher.stage()
    try:
        staged.write(data)
        form = form_for(name, version, filename, data)
        return publisher.publish(staged, form, filename=filename, signature=signature, actor=actor)
    finally:
        staged.close()


def read(local: Local, filename: str) -> bytes:
    with local.open(ACME, filename) as blob:
        return b"".join(iter(blob.read, b""))


def keys(store: Storage) -> list[str]:
    return [key.removeprefix(f"{MAIN}/") for key in store.keys(f"{MAIN}/")]


def lists(store: Storage) -> list[Line]:
    with store.open(f"{MAIN}/acme/packages.jsonl") as blob:
        text = b"".join(iter(blob.read, b""))
    return [msgspec.json.decode(line, type=Line) for line in text.splitlines()]


def test_what_is_published_is_listed_and_served(publisher: Publisher, local: Local, store: Storage) -> None:
    wheel, wheel_bytes = make_wheel("acme", "1.0", requires_python=">=3.9")
    sdist, sdist_bytes = make_sdist("acme", "1.0")
    assert upload(publisher, wheel, wheel_bytes, SIGNATURE) == "published"
    assert upload(publisher, sdist, sdist_bytes) == "published"
    project = local.project(ACME)
    assert (project.versions, project.hosted, list(local.projects())) == (("1.0",), True, ["acme"])
    files = {file.filename: file for file in project.files}
    assert files[wheel].hashes["sha256"] == sha256(wheel_bytes) and files[wheel].size == len(wheel_bytes)
    assert files[wheel].requires_python == ">=3.9" and files[wheel].gpg_sig and not files[sdist].gpg_sig
    expected = metadata("acme", "1.0", requires_python=">=3.9")
    assert files[wheel].core_metadata == {"sha256": sha256(expected)} and files[sdist].core_metadata is False
    assert read(local, wheel) == wheel_bytes and read(local, f"{wheel}.metadata") == expected
    assert read(local, f"{wheel}.asc") == SIGNATURE
    for absent in (f"{sdist}.metadata", f"{sdist}.asc", f"{wheel}.provenance", "acme-9.tar.gz"):
        with pytest.raises(NotFound):
            local.open(ACME, absent)
    with pytest.raises(NotFound):
        local.open(NormalizedName("other"), wheel)
    assert keys(store) == sorted(
        f"acme/{name}" for name in (sdist, wheel, f"{wheel}.metadata", f"{wheel}.asc", "packages.jsonl")
    )


def test_the_list_beside_the_files_tells_what_the_catalog_does(
    publisher: Publisher, catalog: Catalog, store: Storage
) -> None:
    wheel, data = make_wheel("acme", "1.0", requires_python=">=3.9")
    upload(publisher, wheel, data, SIGNATURE)
    (line,) = lists(store)
    (row,) = catalog.hosted_files(MAIN, "acme")
    assert (line.filename, line.hash, line.size) == (wheel, f"sha256={sha256(data)}", len(data))
    assert (line.uploaded_by, line.upload_time, line.gpg_sig) == ("alice", row.uploaded, True)
    assert line.core_metadata == f"sha256={row.metadata_sha256}" and line.yanked_reason is None
    publisher.yank([row], "broken", "alice")
    assert lists(store)[0].yanked_reason == "broken"
    publisher.delete([row], "leaked", "alice")
    (grave,) = lists(store)
    assert grave.deleted and (grave.filename, grave.hash, grave.deleted_reason) == (wheel, line.hash, "leaked")
    assert catalog.listed == catalog.serial() == 3


def test_lists_left_behind_by_a_kill_are_made_good(publisher: Publisher, catalog: Catalog, store: Storage) -> None:
    catalog.writer.after_commit = None
    wheel, data = make_wheel("acme", "1.0")
    upload(publisher, wheel, data)
    assert f"{MAIN}/acme/packages.jsonl" not in list(store.keys())
    PackageLists(catalog, store).catch_up()
    assert [line.filename for line in lists(store)] == [wheel] and catalog.listed == catalog.serial()


def test_the_same_bytes_again_are_fine_and_other_bytes_are_not(publisher: Publisher, local: Local) -> None:
    wheel, data = make_wheel("acme", "1.0")
    _, other = make_wheel("acme", "1.0", content=b"# another build\n")
    assert [upload(publisher, wheel, data), upload(publisher, wheel, data)] == ["published", "unchanged"]
    with pytest.raises(Conflict, match=r"^File already exists"):
        upload(publisher, wheel, other)
    assert read(local, wheel) == data


def test_every_fault_is_told_at_once_and_nothing_is_left(publisher: Publisher, local: Local, store: Storage) -> None:
    wheel, data = make_wheel("acme", "1.0")
    staged = publisher.stage()
    staged.write(data)
    form = form_for("other", "2.0", wheel, data, sha256_digest="0" * 64)
    with pytest.raises(Invalid) as invalid:
        publisher.publish(staged, form, filename=wheel, signature=None, actor="alice")
    staged.close()
    assert len(invalid.value.faults) >= 3
    assert keys(store) == [] and not local.knows(ACME)


def test_undo_by_project_version_and_file(publisher: Publisher, local: Local) -> None:
    names = []
    for version in ("1.0", "2.0"):
        for filename, data in (make_wheel("acme", version), make_sdist("acme", version)):
            upload(publisher, filename, data)
            names.append(filename)
    assert len(publisher.select("Acme")) == 4
    assert {file.filename for file in publisher.select("acme==1.0.0")} == set(names[:2])
    assert [file.filename for file in publisher.select(names[3])] == [names[3]]
    for missing in ("acme==3.0", "acme-9.0.tar.gz", "nobody"):
        with pytest.raises(NotFound):
            publisher.select(missing)
    for nonsense in ("acme==x.y", "-", "a b"):
        with pytest.raises(Invalid):
            publisher.select(nonsense)
    publisher.yank(publisher.select("acme==1.0"), "broken", "alice")
    assert [file.yanked for file in local.project(ACME).files] == ["broken", "broken", False, False]
    publisher.unyank(publisher.select("acme==1.0"), "alice")
    publisher.yank(publisher.select(names[0]), "", "alice")
    assert [file.yanked for file in local.project(ACME).files].count(True) == 1
    publisher.delete(publisher.select("acme"), "all of it", "alice")
    assert local.project(ACME).files == () and local.project(ACME).versions == ()


def test_a_deleted_name_stays_ours_and_never_serves_other_bytes(publisher: Publisher, local: Local) -> None:
    wheel, data = make_wheel("acme", "1.0")
    upload(publisher, wheel, data)
    publisher.delete(publisher.select(wheel), "", "alice")
    assert local.knows(ACME) and local.project(ACME).files == () and list(local.projects()) == []
    with pytest.raises(NotFound):
        local.open(ACME, wheel)
    for again in (data, make_wheel("acme", "1.0", content=b"#")[1]):
        with pytest.raises(Conflict, match="File already exists"):
            upload(publisher, wheel, again)


def test_a_reserved_name_is_an_empty_project_and_an_unknown_one_is_not_found(local: Local) -> None:
    reserved = NormalizedName("corp-tools")
    assert local.knows(reserved) and local.project(reserved).files == ()
    assert not local.knows(ACME)
    with pytest.raises(NotFound) as missing:
        local.project(ACME)
    assert missing.value.validity is not None and missing.value.validity.serials == ((MAIN, "acme", 0),)


def test_a_first_upload_that_runs_claims_the_name_for_readers_too(catalog: Catalog, local: Local) -> None:
    catalog.claim(MAIN, "acme", "acme-1.0.tar.gz", sha256="a", owner="me").result()
    project = local.project(ACME)
    assert project.files == () and not catalog.is_current(project.validity, catalog.clock())


def test_lost_bytes_are_unavailable_and_never_not_found(publisher: Publisher, local: Local, store: Storage) -> None:
    wheel, data = make_wheel("acme", "1.0")
    upload(publisher, wheel, data)
    store.delete(f"{MAIN}/acme/{wheel}")
    with pytest.raises(Unavailable, match="lost"):
        local.open(ACME, wheel)


def test_bytes_without_a_row_never_block_a_name(publisher: Publisher, local: Local, store: Storage) -> None:
    wheel, data = make_wheel("acme", "1.0")
    for key, orphan in ((wheel, b"half a wheel"), (f"{wheel}.metadata", b"old"), (f"{wheel}.asc", b"old")):
        put(store, f"{MAIN}/acme/{key}", orphan)
    assert upload(publisher, wheel, data, SIGNATURE) == "published"
    assert read(local, wheel) == data and read(local, f"{wheel}.asc") == SIGNATURE


def test_the_same_bytes_without_a_row_are_taken_over(publisher: Publisher, local: Local, store: Storage) -> None:
    wheel, data = make_wheel("acme", "1.0")
    put(store, f"{MAIN}/acme/{wheel}", data)
    assert upload(publisher, wheel, data) == "published"
    assert read(local, wheel) == data


def put(store: Storage, key: str, data: bytes) -> None:
    staged = store.stage()
    staged.write(data)
    staged.commit(key)
    staged.close()


@pytest.mark.parametrize("step", ["link", "sync", "publish", "large link", "large sync", "large publish"])
def test_an_upload_that_fails_at_a_step_leaves_the_name_free_at_once(
    publisher: Publisher,
    catalog: Catalog,
    local: Local,
    store: Storage,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    size, _, step = step.rpartition(" ")
    wheel, data = make_wheel("acme", "1.0", content=CONTENT[size])
    _, other = make_wheel("acme", "1.0", content=b"# another build\n")

    def fail(*_: object, **__: object) -> None:
        raise Unavailable("no space left", kind="full")

    probe = publisher.stage()
    target: object = {"link": type(probe), "sync": type(store), "publish": holdings}[step]
    probe.close()
    with monkeypatch.context() as broken:
        broken.setattr(target, "put" if step == "publish" else step, fail)
        with pytest.raises(Unavailable):
            upload(publisher, wheel, data)
    assert catalog.hosted_files(MAIN, "acme") == []
    assert upload(publisher, wheel, other) == "published"
    assert read(local, wheel) == other


@pytest.mark.parametrize("size", ["", "large"])
def test_bytes_that_the_disk_may_have_lost_are_sent_to_it_again(
    publisher: Publisher, local: Local, store: Storage, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    """A disk tells once that it failed. A try that met that leaves its bytes under the name, and no fact."""
    wheel, data = make_wheel("acme", "1.0", content=CONTENT[size])
    lost: list[str] = []

    def fail(_: object, keys: Iterable[str], *, beside: bool, **more: Any) -> None:
        lost.extend(keys)
        raise Unavailable("the store can't write a file: Input/output error", kind="local")

    with monkeypatch.context() as broken:
        broken.setattr(type(store), "sync", fail)
        with pytest.raises(Unavailable):
            upload(publisher, wheel, data)
    assert lost == [f"{MAIN}/acme/{wheel}", f"{MAIN}/acme/{wheel}.metadata"]
    synced: list[list[str]] = []
    monkeypatch.setattr(type(store), "sync", lambda _, keys, **more: synced.append(list(keys)))
    assert upload(publisher, wheel, data) == "published"
    assert synced == [lost] and read(local, wheel) == data
    if isinstance(store, FilesystemStorage):
        (aside,) = (store.root / ".orphans").iterdir()
        assert aside.read_bytes() == data and not store.path(lost[0]).samefile(aside)


@pytest.mark.parametrize("size", ["", "large"])
def test_no_fact_is_written_before_its_bytes_are_durable(
    publisher: Publisher, catalog: Catalog, store: Storage, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    wheel, data = make_wheel("acme", "1.0", content=CONTENT[size])
    done: list[set[str]] = []
    sync = store.sync

    def watched_sync(keys: Iterable[str], *, beside: bool, **more: Any) -> None:
        found = set(keys)
        sync(found, beside=beside, **more)
        assert catalog.hosted_files(MAIN, "acme") == []
        done.append({key.rpartition("/")[2] for key in found})

    monkeypatch.setattr(store, "sync", watched_sync)
    assert upload(publisher, wheel, data, SIGNATURE) == "published"
    assert done == [{wheel, f"{wheel}.metadata", f"{wheel}.asc"}]


def test_uploads_that_wait_together_share_the_waits_for_the_disk_and_no_fault(
    publisher: Publisher, catalog: Catalog, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is refused by its name's use, and its neighbours of the same transaction are not."""
    wheels = [make_wheel(name, "1.0") for name in ("acme", "brie", "comte")]
    assert upload(publisher, *wheels[1], name="brie") == "published"
    synced: list[set[str]] = []
    sync = store.sync

    def watched_sync(keys: Iterable[str], *, beside: bool, **more: Any) -> None:
        found = set(keys)
        sync(found, beside=beside, **more)
        synced.append({key.rpartition("/")[2] for key in found})

    monkeypatch.setattr(store, "sync", watched_sync)
    wheels[1] = make_wheel("brie", "1.0", content=b"# another build\n")
    with ThreadPoolExecutor(len(wheels)) as pool, together(catalog, len(wheels)):
        tries = [pool.submit(upload, publisher, *wheel, name=wheel[0].split("-")[0]) for wheel in wheels]
    assert [type(each.exception()) for each in tries] == [type(None), Conflict, type(None)]
    assert synced == [{name + ending for name, _ in (wheels[0], wheels[2]) for ending in ("", ".metadata")}]
    assert catalog.check_journal() == []


def test_what_waits_beside_an_upload_whose_bytes_the_disk_refuses_is_written(
    publisher: Publisher, catalog: Catalog, local: Local, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wheel, data), (old, old_data) = make_wheel("acme", "1.0"), make_wheel("brie", "1.0")
    assert upload(publisher, old, old_data, name="brie") == "published"

    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the store can't write a file: Input/output error", kind="local")

    with monkeypatch.context() as broken, ThreadPoolExecutor(2) as pool:
        broken.setattr(type(store), "sync", fail)
        with together(catalog, 2):
            refused = pool.submit(upload, publisher, wheel, data)
            yanked = pool.submit(publisher.yank, publisher.select(old), "old", "mia")
        assert isinstance(refused.exception(), Unavailable)
        yanked.result()
    assert [file.yanked for file in catalog.hosted_files(MAIN, "brie")] == ["old"]
    assert catalog.hosted_files(MAIN, "acme") == [] and catalog.check_journal() == []
    assert upload(publisher, wheel, data) == "published"
    assert read(local, wheel) == data


def test_a_claim_that_ran_out_is_taken_over_and_its_owner_told(
    publisher: Publisher, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, data = make_wheel("acme", "1.0")
    with monkeypatch.context() as early:
        early.setattr(catalog.writer, "_clock", lambda: 1000.0)
        catalog.claim(MAIN, "acme", wheel, sha256="0" * 64, owner="slow").result()
    assert upload(publisher, wheel, data) == "published"
    with pytest.raises(Busy):
        catalog.with_claim(MAIN, wheel, "slow", lambda: None)


@contextmanager
def together(catalog: Catalog, jobs: int) -> Iterator[None]:
    """What is submitted inside, so many jobs, comes into one transaction: the writer is kept busy until all wait."""
    begun, go = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        begun.set()
        assert go.wait(30)

    writer = catalog.writer
    busy = writer.submit(wait)
    assert begun.wait(30)
    yield
    end = time.monotonic() + 30
    while writer._queue.qsize() < jobs and time.monotonic() < end:
        time.sleep(0.001)
    assert writer._queue.qsize() == jobs
    go.set()
    busy.result()


def test_uploads_of_one_name_at_once_have_one_winner(publisher: Publisher, local: Local) -> None:
    builds = [make_wheel("acme", "1.0", content=f"# build {number}\n".encode()) for number in range(3)]
    start = threading.Barrier(9)

    def attempt(number: int) -> str:
        filename, data = builds[number % 3]
        start.wait()
        while True:
            try:
                return f"{upload(publisher, filename, data)} {number % 3}"
            except Busy:
                continue
            except Conflict:
                return "conflict"

    with ThreadPoolExecutor(9) as pool:
        outcomes = list(pool.map(attempt, range(9)))
    winners = {outcome.split()[1] for outcome in outcomes if outcome != "conflict"}
    assert len(winners) == 1 and outcomes.count(f"published {winners.pop()}") == 1
    assert outcomes.count("conflict") == 6
    assert read(local, builds[0][0]) in [data for _, data in builds]


def test_an_equal_upload_waits_for_the_one_that_runs(publisher: Publisher, catalog: Catalog) -> None:
    wheel, data = make_wheel("acme", "1.0")
    catalog.claim(MAIN, "acme", wheel, sha256=sha256(data), owner="other").result()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        catalog.release(MAIN, wheel, "other")

    publisher._sleep = sleep
    assert upload(publisher, wheel, data) == "published" and len(waits) == 1


def test_another_upload_of_other_bytes_is_busy_with_the_seconds_left(publisher: Publisher, catalog: Catalog) -> None:
    wheel, data = make_wheel("acme", "1.0")
    catalog.claim(MAIN, "acme", wheel, sha256="f" * 64, owner="other").result()
    with pytest.raises(Busy, match="another upload") as busy:
        upload(publisher, wheel, data)
    assert 25 < busy.value.retry_after <= 30


def test_publishing_deletes_what_was_fetched_of_the_name(
    publisher: Publisher, catalog: Catalog, store: Storage
) -> None:
    put(store, "fetched/pypi/acme/acme-9-py3-none-any.whl", b"theirs")
    put(store, "fetched/pypi/acme-extra/acme_extra-9-py3-none-any.whl", b"theirs")
    catalog.save_fetched("fetched/pypi", "acme", "acme-9-py3-none-any.whl", sha256="d" * 64, size=6)
    wheel, data = make_wheel("acme", "1.0")
    upload(publisher, wheel, data)
    assert list(store.keys("fetched/")) == ["fetched/pypi/acme-extra/acme_extra-9-py3-none-any.whl"]


def test_an_upload_reads_the_staged_bytes_only_in_pieces(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, data = make_wheel("acme", "1.0", files={"acme/big.bin": bytes(8_000_000)})
    largest = [0]
    staged = publisher.stage()
    staged.write(data)
    real = staged.reader

    class Watched(io.RawIOBase):
        def __init__(self) -> None:
            self.inner = real()

        def read(self, size: int = -1, /) -> bytes:
            found = self.inner.read(size)
            largest[0] = max(largest[0], len(found))
            return found

        def seek(self, *arguments: int) -> int:
            return self.inner.seek(*arguments)

        def tell(self) -> int:
            return self.inner.tell()

        def seekable(self) -> bool:
            return True

        def close(self) -> None:
            self.inner.close()

    monkeypatch.setattr(staged, "reader", Watched, raising=False)
    form = form_for("acme", "1.0", wheel, data)
    publisher.publish(staged, form, filename=wheel, signature=None, actor="alice")
    staged.close()
    assert 0 < largest[0] <= 1_048_576


def test_where_uploaders_are_named_nobody_else_uploads(
    publisher: Publisher, catalog: Catalog, store: Storage, local: Local
) -> None:
    first = make_wheel("acme", "1.0")
    upload(publisher, *first)
    catalog.add_user("root", password_hash="x", admin=True, actor="test")
    catalog.add_user("mia", password_hash="x", actor="test")
    catalog.change_uploaders(MAIN, "acme", add=["bob"], actor="test")
    for stranger in ("alice", "mia"):
        for file in (first, make_wheel("acme", "2.0")):
            with pytest.raises(Denied, match=f"{stranger} may not upload to acme") as denied:
                upload(publisher, *file, actor=stranger)
            assert not denied.value.anonymous
    assert upload(publisher, *make_wheel("acme", "2.0"), actor="bob") == "published"
    assert upload(publisher, *make_wheel("acme", "3.0"), actor="root") == "published"
    assert upload(publisher, *make_wheel("other", "1.0"), name="other", actor="mia") == "published"
    catalog.change_uploaders(MAIN, "acme", remove=["bob"], actor="test")
    assert upload(publisher, *make_wheel("acme", "4.0"), actor="mia") == "published"
    assert local.project(ACME).versions == ("1.0", "2.0", "3.0", "4.0")


@pytest.mark.parametrize("size", CONTENT)
def test_a_right_that_is_taken_away_while_a_file_is_checked_is_gone(
    publisher: Publisher, catalog: Catalog, store: Storage, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    wheel, data = make_wheel("acme", "1.0", content=CONTENT[size])
    staged = publisher.stage()
    staged.write(data)
    stamp = staged.stamp

    def meanwhile(time: float) -> None:
        catalog.change_uploaders(MAIN, "acme", add=["bob"], actor="test")
        stamp(time)

    monkeypatch.setattr(staged, "stamp", meanwhile)
    form = form_for("acme", "1.0", wheel, data)
    with pytest.raises(Denied, match="alice may not upload to acme"):
        publisher.publish(staged, form, filename=wheel, signature=None, actor="alice")
    staged.close()
    assert not keys(store) and not catalog.hosted_files(MAIN, "acme")
    assert upload(publisher, wheel, data, actor="bob") == "published"  # the name was not claimed


def test_folders_are_synced_until_something_durable_lies_in_them(
    publisher: Publisher, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside_something: list[bool] = []
    sync = store.sync

    def watched_sync(keys: Iterable[str], *, beside: bool, **more: Any) -> None:
        beside_something.append(beside)
        sync(keys, beside=beside, **more)

    with monkeypatch.context() as broken:
        broken.setattr(type(store), "sync", lambda *_, **__: (_ for _ in ()).throw(OSError("lost")))
        with pytest.raises(OSError, match="lost"):
            upload(publisher, *make_wheel("acme", "0.9"))
    monkeypatch.setattr(store, "sync", watched_sync)
    for name, version in (("acme", "1.0"), ("acme", "2.0"), ("other", "1.0")):
        upload(publisher, *make_wheel(name, version), name=name)
    assert beside_something == [False, True, False]
