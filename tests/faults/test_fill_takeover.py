"""What happens to a fill when its filler dies, at any point, or is stopped."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caseus.errors import Unavailable
from caseus.fill import HOLD_BACK
from caseus.fill.part import Part, Verdict, verdict
from caseus.storage import State, file_key
from support.proxied import ALPHA, LARGE, Proxied, path_of, read_all, stored, until
from support.upstream import FakeUpstream, Fault, Options

WORKER = Path(__file__).with_name("fill_worker.py")
AFTER = 300_000


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": [LARGE]}) as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def proxied(root: Path, upstream: FakeUpstream) -> Iterator[Proxied]:
    with Proxied(root, upstream) as made:
        yield made


@contextmanager
def filler(root: Path, upstream: FakeUpstream) -> Iterator[subprocess.Popen[str]]:
    """Another process that fills; it is killed at the end."""
    command = [sys.executable, str(WORKER), str(root), upstream.url, LARGE[0]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def part_of(proxied: Proxied) -> Part:
    return Part(proxied.fill_folder, file_key(proxied.proxy.tree, "alpha", LARGE[0]))


def wait_for_bytes(proxied: Proxied, count: int = AFTER) -> None:
    part = part_of(proxied)
    until(lambda: part.path.exists() and part.path.stat().st_size >= count)


class TestKilled:
    @pytest.mark.parametrize("ranges", [True, False])
    @pytest.mark.parametrize("digest", [True, False])
    def test_a_follower_takes_over(
        self, proxied: Proxied, root: Path, upstream: FakeUpstream, ranges: bool, digest: bool
    ) -> None:
        upstream.ranges = ranges
        upstream.projects["alpha"] = [(*LARGE, Options(hashes=digest))]
        gate = threading.Event()
        upstream.fail(Fault("slow", after=AFTER, gate=gate, times=1), path_of(LARGE))
        with filler(root, upstream):
            wait_for_bytes(proxied)
            blob = proxied.proxy.open(ALPHA, LARGE[0])
            got = blob.read()
            assert got
        got += read_all(blob)
        assert got == LARGE[1]
        first, second = (request for request in upstream.requests if request.path == path_of(LARGE))
        assert "range" not in first.headers
        assert second.headers["range"] == f"bytes={AFTER}-"
        gate.set()

    def test_who_comes_later_goes_on(self, proxied: Proxied, root: Path, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", after=AFTER, gate=gate, times=1), path_of(LARGE))
        with filler(root, upstream):
            wait_for_bytes(proxied)
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        assert upstream.requests[-1].headers["range"] == f"bytes={AFTER}-"
        assert proxied.leftovers() == []
        gate.set()

    def test_a_file_that_changed_meanwhile_is_given_to_nobody(
        self, proxied: Proxied, root: Path, upstream: FakeUpstream
    ) -> None:
        """Without a digest only the bytes themselves tell: the follower has some of the old ones already."""
        upstream.projects["alpha"] = [(*LARGE, Options(hashes=False))]
        proxied.proxy.project(ALPHA)
        gate = threading.Event()
        upstream.fail(Fault("slow", after=AFTER, gate=gate, times=1), path_of(LARGE))
        with filler(root, upstream):
            wait_for_bytes(proxied)
            blob = proxied.proxy.open(ALPHA, LARGE[0])
            assert blob.read()
            other = hashlib.shake_256(b"other").digest(len(LARGE[1]))
            upstream.projects["alpha"] = [(LARGE[0], other, Options(hashes=False))]
        with pytest.raises(Unavailable, match="changed while it was fetched"):
            read_all(blob)
        gate.set()

    def test_two_processes_and_one_fetch(self, proxied: Proxied, root: Path, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", after=AFTER, gate=gate), path_of(LARGE))
        with filler(root, upstream) as other:
            wait_for_bytes(proxied)
            blob = proxied.proxy.open(ALPHA, LARGE[0])
            gate.set()
            assert read_all(blob) == LARGE[1]
            assert other.stdout is not None
            assert other.stdout.readline().strip() == hashlib.sha256(LARGE[1]).hexdigest()
        assert upstream.count(path_of(LARGE)) == 1

    def test_the_error_of_another_process_is_told(self, proxied: Proxied, root: Path, upstream: FakeUpstream) -> None:
        upstream.projects["alpha"] = [(*LARGE, Options(hashes={"sha256": hashlib.sha256(b"x").hexdigest()}))]
        gate = threading.Event()
        upstream.fail(Fault("slow", after=AFTER, gate=gate), path_of(LARGE))
        with filler(root, upstream):
            wait_for_bytes(proxied)
            blob = proxied.proxy.open(ALPHA, LARGE[0])
            gate.set()
            with pytest.raises(Unavailable, match="wrong sha256"):
                read_all(blob)
        assert upstream.count(path_of(LARGE)) == 1


class TestDeadAtOtherPoints:
    """What such a filler leaves, made by hand."""

    def write(self, proxied: Proxied, data: bytes = LARGE[1], mode: int = 0o600) -> Path:
        part = part_of(proxied)
        part.path.write_bytes(data)
        part.path.chmod(mode)
        return part.path

    def test_all_bytes_but_no_verdict(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        self.write(proxied)
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        assert upstream.count(path_of(LARGE)) == 0

    def test_stored_but_the_catalog_does_not_know(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        proxied.store.adopt(self.write(proxied), file_key(proxied.proxy.tree, "alpha", LARGE[0]))
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        assert upstream.count(path_of(LARGE)) == 0
        assert stored(proxied, LARGE)

    def test_stored_bytes_that_no_fact_knows_are_not_served(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        key = file_key(proxied.proxy.tree, "alpha", LARGE[0])
        path = proxied.fill_folder / "other"
        path.write_bytes(b"other")
        proxied.store.adopt(path, key)
        path.unlink()
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        assert read_all(proxied.store.open(key)) == LARGE[1]

    @pytest.mark.parametrize("mode", [0o644, 0o444])
    def test_known_but_the_part_is_still_there(self, proxied: Proxied, upstream: FakeUpstream, mode: int) -> None:
        read_all(proxied.proxy.open(ALPHA, LARGE[0]))
        until(lambda: proxied.leftovers() == [])
        key = file_key(proxied.proxy.tree, "alpha", LARGE[0])
        proxied.store.path(key).chmod(mode)
        os.link(proxied.store.path(key), part_of(proxied).path)
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        proxied.store.delete(key)
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        until(lambda: proxied.leftovers() == [])

    def test_failed_but_the_part_is_still_there(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        self.write(proxied, b"junk", 0o400)
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]

    def test_junk(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        self.write(proxied, b"junk")
        with pytest.raises(Unavailable, match="wrong sha256"):
            read_all(proxied.proxy.open(ALPHA, LARGE[0]))
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]

    def test_words_about_another_part_are_not_believed(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", after=0, gate=gate), path_of(LARGE))
        part = part_of(proxied)
        lock = part.take()
        assert lock is not None
        part.path.with_suffix(f".{os.fstat(lock).st_ino + 1}.json").write_text('{"size": 7, "error": "no"}')
        with proxied.proxy.open(ALPHA, LARGE[0]) as blob:
            assert blob.available() == (b"", State.WAITING)
            assert blob.size is None
            os.close(lock)
            gate.set()
            assert read_all(blob) == LARGE[1]

    def test_clean(self, proxied: Proxied) -> None:
        self.write(proxied, b"dead")
        (proxied.fill_folder / "x.json").write_text("{}")
        (proxied.fill_folder / "y.bad").write_text("")
        living = Part(proxied.fill_folder, "fetched/x/living")
        lock = living.take()
        assert lock is not None
        proxied.proxy.clean()
        assert proxied.leftovers() == [living.path.name]
        os.close(lock)
        proxied.proxy.clean()
        assert proxied.leftovers() == []


class TestGivenUp:
    def test_readers_that_had_nothing_begin_anew(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        """So it is when an evictor holds the part's lock for a moment."""
        part = part_of(proxied)
        lock = part.take()
        assert lock is not None
        blob = proxied.proxy.open(ALPHA, LARGE[0])
        assert blob.available() == (b"", State.WAITING)
        part.remove(lock)
        os.close(lock)
        assert read_all(blob) == LARGE[1]

    def test_readers_that_had_something_are_cut_off(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        part = part_of(proxied)
        lock = part.take()
        assert lock is not None
        os.pwrite(lock, LARGE[1][:AFTER], 0)
        part.tell(lock, size=len(LARGE[1]), etag=None)
        blob = proxied.proxy.open(ALPHA, LARGE[0])
        assert blob.read() == LARGE[1][: min(262_144, AFTER, len(LARGE[1]) - HOLD_BACK)]
        part.remove(lock)
        os.close(lock)
        with pytest.raises(Unavailable, match="began anew"):
            read_all(blob)

    def test_the_folder_is_emptied_by_hand(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", after=AFTER, gate=gate, times=1), path_of(LARGE))
        blob = proxied.proxy.open(ALPHA, LARGE[0])
        assert blob.read()
        for path in proxied.fill_folder.iterdir():
            path.unlink()
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        with pytest.raises(Unavailable):
            read_all(blob)
        gate.set()
        proxied.proxy.close()
        assert read_all(proxied.store.open(file_key(proxied.proxy.tree, "alpha", LARGE[0]))) == LARGE[1]


def test_stopping_keeps_the_part_for_the_next(root: Path, upstream: FakeUpstream) -> None:
    gate = threading.Event()
    upstream.fail(Fault("slow", after=AFTER, gate=gate, times=1), path_of(LARGE))
    with Proxied(root, upstream) as first:
        blob = first.proxy.open(ALPHA, LARGE[0])
        wait_for_bytes(first)
        closing = threading.Thread(target=first.proxy.close)
        closing.start()
        until(lambda: first.proxy._fills._stopping.is_set())
        gate.set()
        closing.join()
        blob.close()
        assert part_of(first).path.exists()
    with Proxied(root, upstream) as second:
        assert read_all(second.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
    assert upstream.count(path_of(LARGE)) == 2
    assert "range" in upstream.requests[-1].headers


def test_verdicts_are_read_from_the_file_itself(tmp_path: Path) -> None:
    part = Part(tmp_path, "fetched/x/y")
    for conclude, expected in (
        (part.verified, Verdict.VERIFIED),
        (lambda fd: part.failed(fd, Unavailable("no", kind="upstream")), Verdict.FAILED),
    ):
        lock = part.take()
        assert lock is not None
        assert part.take() is None
        assert verdict(lock) is Verdict.OPEN
        conclude(lock)
        assert verdict(lock) is expected
        assert not part.path.exists()
        os.close(lock)
