"""What every store must do, as tests: subclass `StorageConformance` and give it a `storage` fixture.

Needs pytest, which caseus itself does not.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import pytest

from caseus.errors import BadRange, Conflict, Invalid, NotFound
from caseus.storage import Blob, State, Storage

KIB = 1024
SIZES = (0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 5 * KIB * KIB)
KEY = "files/main/acme-tool/acme_tool-1.0-py3-none-any.whl"
ILLEGAL_KEYS = (
    "", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "../a", "a/.", "a\\b", "a b", "a\nb", "a\n", "a\0b", "ü", "a%2fb",
    ".incoming/a", ".orphans/a",
)  # fmt: skip

S = TypeVar("S", bound=Storage)


def content(size: int, seed: int = 0) -> bytes:
    """Bytes in which every 8-byte word is another, so that a shifted or repeated chunk shows."""
    words = range(seed << 40, (seed << 40) + size // 8 + 1)
    return b"".join(word.to_bytes(8, "big") for word in words)[:size]


def put(storage: Storage, key: str, data: bytes) -> None:
    """Stages and commits."""
    staged = storage.stage()
    try:
        staged.write(data)
        staged.commit(key)
    finally:
        staged.close()


def read_all(blob: Blob, n: int = 100_000) -> bytes:
    """The rest of the blob, by `read`; closes it."""
    with blob:
        return b"".join(iter(lambda: blob.read(n), b""))


class StorageConformance(Generic[S]):
    """Tests of the `Storage` protocol.

    A subclass gives a fixture `storage` (an empty store for each test) and says what `leftovers` are: names of what is
    still staged.
    """

    @pytest.fixture
    def storage(self) -> S:
        raise NotImplementedError("a subclass provides the store")

    def leftovers(self, storage: S) -> list[str]:
        """What lies in staging, under no name."""
        raise NotImplementedError("a subclass knows where its staging is")

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, storage: S) -> Iterator[None]:
        yield
        assert self.leftovers(storage) == []

    @pytest.mark.parametrize("size", SIZES)
    def test_what_was_put_is_read(self, storage: S, size: int) -> None:
        data = content(size)
        put(storage, KEY, data)
        blob = storage.open(KEY)
        assert (blob.size, blob.start, blob.stop) == (size, 0, size)
        assert read_all(blob) == data

    @pytest.mark.parametrize("size", SIZES)
    def test_available_tells_the_end_with_the_last_bytes(self, storage: S, size: int) -> None:
        data = content(size)
        put(storage, KEY, data)
        got = bytearray()
        with storage.open(KEY) as blob:
            state = State.MORE
            while state is State.MORE:
                chunk, state = blob.available(64 * KIB)
                assert len(chunk) <= 64 * KIB
                got += chunk
                assert (state is State.END) == (len(got) == size)
            assert blob.available() == (b"", State.END)
            assert blob.read() == b""
        assert got == data

    @pytest.mark.parametrize("size", SIZES)
    def test_digests_are_those_of_what_was_written(self, storage: S, size: int) -> None:
        data = content(size)
        staged = storage.stage()
        try:
            for at in range(0, size, 100_003):
                staged.write(data[at : at + 100_003])
            assert staged.size == size
            assert staged.digests == {
                "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
                "sha256": hashlib.sha256(data).hexdigest(),
                "blake2b_256": hashlib.blake2b(data, digest_size=32).hexdigest(),
            }
        finally:
            staged.close()

    def test_the_reader_seeks_in_what_was_written_so_far(self, storage: S) -> None:
        data = content(200_000)
        staged = storage.stage()
        try:
            staged.write(data[:150_000])
            with staged.reader() as reader:
                assert reader.read() == data[:150_000]
                assert reader.seek(-10, io.SEEK_END) == 149_990
                assert reader.read(4) == data[149_990:149_994]
                assert reader.tell() == 149_994
                reader.seek(7)
                assert reader.read(9) == data[7:16]
            staged.write(data[150_000:])
            staged.sync()
            staged.commit(KEY)
        finally:
            staged.close()
        assert read_all(storage.open(KEY)) == data

    @pytest.mark.parametrize(
        ("start", "stop", "begin", "end"),
        [
            (0, None, 0, 100_000),
            (0, 1, 0, 1),
            (1, None, 1, 100_000),
            (99_999, None, 99_999, 100_000),
            (65_535, 65_537, 65_535, 65_537),
            (10, 10, 10, 10),
            (10, 5, 10, 10),
            (0, 10**12, 0, 100_000),
            (-1, None, 99_999, 100_000),
            (-100_000, None, 0, 100_000),
            (-100_001, None, 0, 100_000),
            (-(10**12), 5, 0, 5),
        ],
    )
    def test_ranges(self, storage: S, start: int, stop: int | None, begin: int, end: int) -> None:
        data = content(100_000)
        put(storage, KEY, data)
        blob = storage.open(KEY, start, stop)
        assert (blob.size, blob.start, blob.stop) == (100_000, begin, end)
        assert read_all(blob, 30_000) == data[begin:end]
        with storage.open(KEY, start, stop) as again:
            chunk, state = again.available(10**6)
        assert (chunk, state) == (data[begin:end], State.END)

    @pytest.mark.parametrize(("size", "start"), [(10, 10), (10, 11), (10, 10**12), (0, 1)])
    def test_a_range_behind_the_end_is_refused_with_the_size(self, storage: S, size: int, start: int) -> None:
        put(storage, KEY, content(size))
        with pytest.raises(BadRange) as refused:
            storage.open(KEY, start)
        assert refused.value.size == size

    @pytest.mark.parametrize("start", [0, -1])
    def test_an_empty_file_can_be_read(self, storage: S, start: int) -> None:
        put(storage, KEY, b"")
        assert read_all(storage.open(KEY, start)) == b""

    @pytest.mark.parametrize("key", ["nobody", "files/main/acme-tool/other.whl", "files", KEY + "/below"])
    def test_an_absent_key_is_not_found(self, storage: S, key: str) -> None:
        put(storage, KEY, b"x")
        with pytest.raises(NotFound):
            storage.open(key)

    def test_the_same_bytes_may_be_committed_twice(self, storage: S) -> None:
        put(storage, KEY, b"same")
        put(storage, KEY, b"same")
        assert list(storage.keys()) == [KEY]

    def test_a_commit_may_be_repeated(self, storage: S) -> None:
        staged = storage.stage()
        try:
            staged.write(b"x")
            staged.commit(KEY)
            staged.commit(KEY)
            assert staged.holds(KEY)
        finally:
            staged.close()
            staged.close()
        assert read_all(storage.open(KEY)) == b"x"

    @pytest.mark.parametrize("other", [b"", b"two", b"one more"])
    def test_other_bytes_are_a_conflict_and_change_nothing(self, storage: S, other: bytes) -> None:
        put(storage, KEY, b"one")
        with pytest.raises(Conflict):
            put(storage, KEY, other)
        assert read_all(storage.open(KEY)) == b"one"

    def test_after_a_conflict_the_bytes_can_still_be_committed(self, storage: S) -> None:
        put(storage, KEY, b"orphan")
        staged = storage.stage()
        try:
            staged.write(b"mine")
            with pytest.raises(Conflict):
                staged.commit(KEY)
            storage.set_aside(KEY, staged.digests["sha256"])
            staged.commit(KEY)
        finally:
            staged.close()
        assert read_all(storage.open(KEY)) == b"mine"

    def test_link_gives_a_name_that_sync_makes_durable(self, storage: S) -> None:
        staged = storage.stage()
        try:
            staged.write(b"x")
            staged.link(KEY)
            staged.link(KEY)
            assert staged.holds(KEY)
            storage.sync([KEY, f"{KEY}.asc", "nobody/here"])
            storage.sync([])
        finally:
            staged.close()
        assert read_all(storage.open(KEY)) == b"x"

    @pytest.mark.parametrize("there", [b"x", b"y", b""])
    def test_link_trusts_no_bytes_from_elsewhere(self, storage: S, there: bytes) -> None:
        put(storage, KEY, there)
        staged = storage.stage()
        try:
            staged.write(b"x")
            with pytest.raises(Conflict):
                staged.link(KEY)
            storage.set_aside(KEY, "")
            staged.link(KEY)
            assert staged.holds(KEY)
        finally:
            staged.close()
        assert read_all(storage.open(KEY)) == b"x"

    def test_holds_compares_bytes(self, storage: S) -> None:
        staged = storage.stage()
        try:
            staged.write(b"bytes")
            assert not staged.holds(KEY)
            put(storage, KEY, b"BYTES")
            assert not staged.holds(KEY)
            storage.delete(KEY)
            put(storage, KEY, b"bytes")
            assert staged.holds(KEY)
            assert not staged.holds("files/main/acme-tool/other.whl")
        finally:
            staged.close()

    def test_of_concurrent_commits_under_one_key_exactly_one_wins(self, storage: S) -> None:
        for round_ in range(5):
            key = f"files/main/round-{round_}/a.whl"
            datas = [content(70_000, seed) for seed in range(8)]
            errors = _at_once([lambda data=data, key=key: put(storage, key, data) for data in datas])  # type: ignore[misc]
            assert [type(error) for error in errors if error] == [Conflict] * 7
            assert read_all(storage.open(key)) == datas[errors.index(None)]

    def test_concurrent_commits_of_the_same_bytes_all_succeed(self, storage: S) -> None:
        data = content(70_000)
        assert _at_once([lambda: put(storage, KEY, data)] * 8) == [None] * 8
        assert read_all(storage.open(KEY)) == data

    def test_commits_survive_deletes_of_their_neighbours(self, storage: S) -> None:
        def churn(name: str) -> Callable[[], None]:
            def run() -> None:
                for _ in range(25):
                    put(storage, f"files/main/busy/{name}", name.encode())
                    storage.delete(f"files/main/busy/{name}")

            return run

        assert _at_once([churn(f"{n}.whl") for n in range(4)]) == [None] * 4
        assert list(storage.keys()) == []

    def test_set_aside_takes_other_bytes_away_only(self, storage: S) -> None:
        put(storage, KEY, b"orphan")
        storage.set_aside(KEY, hashlib.sha256(b"orphan").hexdigest())
        assert read_all(storage.open(KEY)) == b"orphan"
        storage.set_aside(KEY, hashlib.sha256(b"mine").hexdigest())
        with pytest.raises(NotFound):
            storage.open(KEY)
        assert list(storage.keys()) == []
        storage.set_aside(KEY, hashlib.sha256(b"mine").hexdigest())

    def test_replace_makes_and_replaces(self, storage: S) -> None:
        key = "files/main/acme-tool/packages.jsonl"
        storage.replace(key, io.BytesIO(b"first, and longer"))
        assert read_all(storage.open(key)) == b"first, and longer"
        storage.replace(key, io.BytesIO(b"second"))
        assert read_all(storage.open(key)) == b"second"
        storage.replace(key, io.BytesIO(b"third"), durable=False)
        storage.sync([key])
        assert read_all(storage.open(key)) == b"third"

    def test_append_adds_to_the_end(self, storage: S) -> None:
        key = "files/main/acme-tool/packages.jsonl"
        assert not storage.append(key, b"none there\n", behind=b"\n")
        assert list(storage.keys()) == []
        storage.replace(key, io.BytesIO(b"first\n"))
        with storage.open(key) as earlier:
            assert storage.append(key, b"second\n", behind=b"\n")
            assert storage.append(key, b"third", behind=b"\n")
            assert not storage.append(key, b"fourth\n", behind=b"\n")
            assert earlier.size == len(b"first\n")
        storage.sync([key])
        assert read_all(storage.open(key)) == b"first\nsecond\nthird"

    @pytest.mark.parametrize("data", [b"", b"x"])
    def test_append_looks_at_what_is_shorter(self, storage: S, data: bytes) -> None:
        storage.replace(KEY, io.BytesIO(data))
        assert not storage.append(KEY, b"more", behind=b"xx")
        assert read_all(storage.open(KEY)) == data

    def test_readers_see_the_old_or_the_new_of_what_is_replaced(self, storage: S) -> None:
        key = "files/main/acme-tool/packages.jsonl"
        versions = [content(100_000 + 1000 * n, n) for n in range(10)]
        storage.replace(key, io.BytesIO(versions[0]))
        done = threading.Event()

        def write() -> None:
            try:
                for version in versions[1:] * 2:
                    storage.replace(key, io.BytesIO(version))
            finally:
                done.set()

        def read() -> None:
            last = False
            while not last:
                last = done.is_set()
                assert read_all(storage.open(key), 10_000) in versions

        assert _at_once([write, read, read, read]) == [None] * 4
        assert read_all(storage.open(key)) == versions[-1]

    def test_an_open_blob_outlives_its_key(self, storage: S) -> None:
        data = content(300_000)
        put(storage, KEY, data)
        with storage.open(KEY) as blob:
            head = blob.read(1000)
            storage.delete(KEY)
            assert head + read_all(blob) == data

    def test_keys_are_sorted_complete_and_of_the_exact_prefix(self, storage: S) -> None:
        folders = [
            "a",
            "a-b",
            "a.b",
            "a0",
            "A",
            "a_b",
            "a/b",
            "a-/b",
            "b/a/c",
            "files/main/x",
            "files/main/xy",
            "files/main-2/x",
        ]
        keys = sorted(
            f"{folder}/{name}" for folder in folders for name in ("f", "F", "f-1.0", "f.whl", "f.whl.asc", "g+1")
        )
        for key in reversed(keys):
            put(storage, key, b"")
        for prefix in ("", "a", "a/", "a/b", "a/b/f", "a-", "A", "b", "b/a", "b/a/", "files/main", "files/main/",
                       "files/main/x", "files/main/x/", "files/main/x/f.", "files/main/x/f.whl", "z", "a/f/none",
                       "a/../a", "/", "//", "a//", ".", "..", "../"):  # fmt: skip
            assert list(storage.keys(prefix)) == [key for key in keys if key.startswith(prefix)], prefix

    def test_keys_leaves_out_what_is_staged_and_set_aside(self, storage: S) -> None:
        put(storage, KEY, b"orphan")
        storage.set_aside(KEY, hashlib.sha256(b"mine").hexdigest())
        staged = storage.stage()
        try:
            staged.write(b"x")
            assert [list(storage.keys(prefix)) for prefix in ("", ".", ".incoming/", ".orphans/")] == [[], [], [], []]
        finally:
            staged.close()

    @pytest.mark.parametrize("key", ILLEGAL_KEYS)
    def test_illegal_keys_are_refused_everywhere(self, storage: S, key: str) -> None:
        staged = storage.stage()
        try:
            staged.write(b"x")
            for act in (
                lambda: storage.open(key),
                lambda: storage.delete(key),
                lambda: storage.replace(key, io.BytesIO(b"x")),
                lambda: storage.append(key, b"x", behind=b""),
                lambda: storage.set_aside(key, "0" * 64),
                lambda: staged.commit(key),
                lambda: staged.link(key),
                lambda: storage.sync([key]),
                lambda: staged.holds(key),
            ):
                with pytest.raises(Invalid):
                    act()
        finally:
            staged.close()
        assert list(storage.keys()) == []

    def test_delete_of_a_present_and_of_an_absent_key(self, storage: S) -> None:
        put(storage, KEY, b"x")
        put(storage, KEY + ".asc", b"y")
        storage.delete(KEY)
        with pytest.raises(NotFound):
            storage.open(KEY)
        assert list(storage.keys()) == [KEY + ".asc"]
        storage.delete(KEY)
        storage.delete(KEY + ".asc")
        storage.delete("nobody/here")
        storage.delete(KEY + "/below")
        assert list(storage.keys()) == []
        put(storage, KEY, b"other bytes")
        assert read_all(storage.open(KEY)) == b"other bytes"

    def test_what_is_closed_without_a_name_leaves_nothing(self, storage: S) -> None:
        staged = storage.stage()
        staged.write(content(300_000))
        staged.sync()
        staged.close()
        staged.close()
        assert self.leftovers(storage) == []
        assert list(storage.keys()) == []

    def test_what_is_staged_shows_as_a_leftover(self, storage: S) -> None:
        """Or else the check after each test would check nothing."""
        staged = storage.stage()
        try:
            staged.write(content(3 * KIB * KIB))
            assert len(self.leftovers(storage)) == 1
        finally:
            staged.close()


def _at_once(acts: list[Callable[[], None]]) -> list[BaseException | None]:
    """Runs each in its own thread, all started together; what each raised."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], None]) -> None:
        barrier.wait()
        act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.exception() for future in [pool.submit(run, act) for act in acts]]
