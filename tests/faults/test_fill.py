"""One fetch however many ask, and nothing unverified that ends as if it were a file."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caseus.errors import BadRange, Unavailable
from caseus.fill import HOLD_BACK
from caseus.fill.part import Part
from caseus.storage import Blob, State, file_key
from support.proxied import ALPHA, LARGE, SMALL, Proxied, path_of, read_all, stored, until
from support.upstream import FakeUpstream, Fault, Options

BOTH = pytest.mark.parametrize("file", [LARGE, SMALL], ids=["large", "small"])


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": [LARGE, SMALL]}) as server:
        yield server


@pytest.fixture
def proxied(tmp_path: Path, upstream: FakeUpstream) -> Iterator[Proxied]:
    with Proxied(tmp_path / "root", upstream) as made:
        yield made


def drain(blob: Blob) -> bytes:
    """What a client gets until the end or the failure, which is raised."""
    got = b""
    try:
        while data := blob.read():
            got += data
    except Unavailable as error:
        error.got = got  # type: ignore[attr-defined]
        raise
    finally:
        blob.close()
    return got


def assert_refused(proxied: Proxied, file: tuple[str, bytes], match: str, kind: str = "upstream") -> None:
    """The reader gets an error and never the last 64 KiB; nothing is kept."""
    with pytest.raises(Unavailable, match=match) as caught:
        drain(proxied.proxy.open(ALPHA, file[0]))
    assert caught.value.kind == kind
    assert len(caught.value.got) <= max(0, len(file[1]) - HOLD_BACK)  # type: ignore[attr-defined]
    until(lambda: proxied.leftovers() == [])
    assert not stored(proxied, file)
    assert list(proxied.store.keys("fetched/")) == []


class TestFollowing:
    def test_two_hundred_readers_and_one_fetch(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", gate=gate), path_of(LARGE))
        threads = threading.active_count()
        blobs = [proxied.proxy.open(ALPHA, LARGE[0]) for _ in range(200)]
        hashers = [hashlib.sha256() for _ in blobs]
        left = set(range(200))
        until(lambda: blobs[0].available()[1] is State.MORE)
        assert threading.active_count() <= threads + 4  # the filler, and the upstream's side
        gate.set()
        blobs[0].close()
        left.remove(0)
        deadline = time.monotonic() + 60
        while left:
            assert time.monotonic() < deadline
            for number in list(left):
                data, state = blobs[number].available()
                hashers[number].update(data)
                if state is State.END:
                    blobs[number].close()
                    left.remove(number)
        assert {hasher.hexdigest() for hasher in hashers[1:]} == {hashlib.sha256(LARGE[1]).hexdigest()}
        assert upstream.count(path_of(LARGE)) == 1

    def test_the_end_waits_for_the_verdict(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", gate=gate, after=len(LARGE[1]) - 1), path_of(LARGE))
        with proxied.proxy.open(ALPHA, LARGE[0]) as blob:
            assert blob.size is None
            got = b""
            while len(got) < len(LARGE[1]) - HOLD_BACK:
                got += blob.read()
            assert blob.size == blob.stop == len(LARGE[1])
            assert len(got) == len(LARGE[1]) - HOLD_BACK
            assert blob.available() == (b"", State.MORE)
            with proxied.proxy.open(ALPHA, LARGE[0], 0, 10) as part:  # a short range is held back too
                until(lambda: part.available() == (b"", State.WAITING) and part.size is not None)
            gate.set()
            while data := blob.read():
                got += data
        assert got == LARGE[1]

    def test_a_range_behind_the_end_of_what_is_not_there_yet(self, proxied: Proxied) -> None:
        with proxied.proxy.open(ALPHA, LARGE[0], len(LARGE[1])) as blob, pytest.raises(BadRange) as caught:
            blob.read()
        assert caught.value.size == len(LARGE[1])

    def test_the_fill_goes_on_when_the_client_leaves(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", gate=gate), path_of(LARGE))
        proxied.proxy.open(ALPHA, LARGE[0]).close()
        upstream.wait_for(path_of(LARGE))
        gate.set()
        until(lambda: stored(proxied, LARGE) and proxied.leftovers() == [])
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        assert upstream.count(path_of(LARGE)) == 1

    def test_an_empty_file(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.projects["alpha"] = [("alpha-0.tar.gz", b"")]
        assert read_all(proxied.proxy.open(ALPHA, "alpha-0.tar.gz")) == b""
        assert read_all(proxied.proxy.open(ALPHA, "alpha-0.tar.gz")) == b""


class TestBadUpstreams:
    @BOTH
    def test_other_bytes(self, proxied: Proxied, upstream: FakeUpstream, file: tuple[str, bytes]) -> None:
        upstream.fail(Fault("other"), path_of(file))
        assert_refused(proxied, file, "wrong sha256")
        upstream.heal()
        with pytest.raises(Unavailable, match="wrong sha256"):  # a moment ago it was: it is not fetched again
            proxied.proxy.open(ALPHA, file[0])
        assert upstream.count(path_of(file)) == 1
        proxied.clock.now += 60
        assert read_all(proxied.proxy.open(ALPHA, file[0])) == file[1]

    def test_a_page_that_tells_something_new_is_believed(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.projects["alpha"] = [(*SMALL, Options(hashes={"sha256": "0" * 64}))]
        assert_refused(proxied, SMALL, "wrong sha256")
        with pytest.raises(Unavailable) as caught:
            proxied.proxy.open(ALPHA, SMALL[0])
        assert caught.value.retry_after == 60
        upstream.projects["alpha"] = [SMALL]
        proxied.catalog.drop_page(proxied.proxy.tree, "alpha")
        assert read_all(proxied.proxy.open(ALPHA, SMALL[0])) == SMALL[1]

    @BOTH
    @pytest.mark.parametrize("kind", ["cut", "cut-chunked"])
    def test_cut(self, proxied: Proxied, upstream: FakeUpstream, file: tuple[str, bytes], kind: Any) -> None:
        upstream.fail(Fault(kind), path_of(file))
        assert_refused(proxied, file, "broke the connection off|cut off")

    @BOTH
    @pytest.mark.parametrize("ranges", [True, False])
    def test_cut_once(self, proxied: Proxied, upstream: FakeUpstream, file: tuple[str, bytes], ranges: bool) -> None:
        upstream.ranges = ranges
        upstream.fail(Fault("cut", times=1), path_of(file))
        assert read_all(proxied.proxy.open(ALPHA, file[0])) == file[1]
        again = upstream.requests[-1].headers
        assert again["range"] == f"bytes={len(file[1]) // 2}-"
        assert again["if-range"].startswith('"')

    @BOTH
    def test_html(self, proxied: Proxied, upstream: FakeUpstream, file: tuple[str, bytes]) -> None:
        upstream.fail(Fault("html"), path_of(file))
        assert_refused(proxied, file, "HTML")

    @pytest.mark.parametrize("status", [404, 410, 403, 500, 503])
    def test_statuses(self, proxied: Proxied, upstream: FakeUpstream, status: int) -> None:
        upstream.fail(Fault("status", status=status), path_of(LARGE))
        assert_refused(proxied, LARGE, "no such file" if status in (404, 410) else str(status))

    def test_hanging(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.fail(Fault("hang"), path_of(LARGE))
        assert_refused(proxied, LARGE, "too long", "timeout")

    def test_unplugged(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        proxied.proxy.project(ALPHA)
        upstream.down()
        assert_refused(proxied, LARGE, "can't be reached")

    def test_redirected_elsewhere(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        with FakeUpstream({"alpha": [LARGE]}) as canary:
            upstream.fail(Fault("redirect", url=canary.origin + path_of(LARGE)), path_of(LARGE))
            assert_refused(proxied, LARGE, "not contacted")
            assert canary.requests == []

    def test_another_length_than_the_page_tells(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        proxied.proxy.project(ALPHA)
        upstream.fail(Fault("raw", body=LARGE[1] + b"x"), path_of(LARGE))
        assert_refused(proxied, LARGE, "500001 bytes instead of 500000")
        proxied.clock.now += 60
        upstream.projects["alpha"] = [(LARGE[0], LARGE[1] + b"x", Options(length=False))]
        upstream.heal()
        assert_refused(proxied, LARGE, "more than its 500000 bytes")

    def test_a_range_behind_the_end_of_what_is_not_the_file(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        """Which bytes there are only the right file tells, so nothing is said of them before the verdict."""
        gate = threading.Event()
        told = Options(hashes={"sha256": hashlib.sha256(LARGE[1]).hexdigest()}, size=False)
        upstream.projects["alpha"] = [(LARGE[0], b"short", told)]
        upstream.fail(Fault("slow", gate=gate), path_of(LARGE))
        blob = proxied.proxy.open(ALPHA, LARGE[0], 1000)
        until(lambda: any(b'"size":5' in path.read_bytes() for path in proxied.fill_folder.glob("*.json")))
        assert blob.available() == (b"", State.WAITING)
        gate.set()
        with pytest.raises(Unavailable, match="wrong sha256"):
            drain(blob)

    def test_every_reader_is_told(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", gate=gate), path_of(LARGE))
        wrong = hashlib.sha256(b"wrong").hexdigest()
        upstream.projects["alpha"] = [(*LARGE, Options(hashes={"sha256": wrong}))]
        blobs = [proxied.proxy.open(ALPHA, LARGE[0]) for _ in range(20)]
        gate.set()
        for blob in blobs:
            with pytest.raises(Unavailable, match="wrong sha256"):
                drain(blob)

    def test_a_late_reader_is_told_of_its_own_attempt(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        """Though by then others have failed as well, with other words."""
        blobs = []
        for status in (500, 403):
            upstream.fail(Fault("status", status=status), path_of(LARGE))
            blobs.append(proxied.proxy.open(ALPHA, LARGE[0]))
            upstream.wait_for(path_of(LARGE), len(blobs))
            until(lambda: proxied.leftovers() == [])
        for blob, status in zip(blobs, (500, 403), strict=True):
            with pytest.raises(Unavailable, match=f"answers {status}") as caught:
                drain(blob)
            assert caught.value.kind == "upstream"

    def test_no_space(self, proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        proxied.proxy.project(ALPHA)
        monkeypatch.setattr("caseus.fill.filling.os.pwrite", full)
        assert_refused(proxied, LARGE, "no space left", "full")
        monkeypatch.undo()
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]

    def test_no_descriptor_for_the_reader(self, proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
        """It had the lock already, and gives it back: nobody waits for a filler that there is not."""
        follow = Part.follow
        shortages = iter([OSError(errno.EMFILE, os.strerror(errno.EMFILE))])

        def following(part: Part) -> int | None:
            for shortage in shortages:
                raise shortage
            return follow(part)

        monkeypatch.setattr(Part, "follow", following)
        with pytest.raises(Unavailable, match="the cache can't write"):
            proxied.proxy.open(ALPHA, LARGE[0])
        assert drain(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]


class TestDigests:
    @pytest.mark.parametrize("algorithm", ["sha512", "sha384", "blake2b", "sha3_256", "md5"])
    def test_others(self, proxied: Proxied, upstream: FakeUpstream, algorithm: str) -> None:
        right = hashlib.new(algorithm, SMALL[1]).hexdigest()
        upstream.projects["alpha"] = [
            (*SMALL, Options(hashes={algorithm: right})),
            (*LARGE, Options(hashes={algorithm: hashlib.new(algorithm).hexdigest()})),
        ]
        assert read_all(proxied.proxy.open(ALPHA, SMALL[0])) == SMALL[1]
        with pytest.raises(Unavailable, match=f"wrong {algorithm}"):
            drain(proxied.proxy.open(ALPHA, LARGE[0]))
        until(lambda: proxied.leftovers() == [])

    def test_none_but_a_length_and_then_the_first_seen_binds(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.style = "html"
        upstream.projects["alpha"] = [(*LARGE, Options(hashes=False))]
        assert read_all(proxied.proxy.open(ALPHA, LARGE[0])) == LARGE[1]
        proxied.store.delete(file_key(proxied.proxy.tree, "alpha", LARGE[0]))
        upstream.fail(Fault("other"), path_of(LARGE))
        with pytest.raises(Unavailable, match=r"the upstream's .* has other bytes than when it was first fetched"):
            drain(proxied.proxy.open(ALPHA, LARGE[0]))

    @pytest.mark.parametrize("hashes", [False, {"md5": hashlib.md5(LARGE[1]).hexdigest()}])
    def test_neither_a_good_one_nor_a_length(self, proxied: Proxied, upstream: FakeUpstream, hashes: Any) -> None:
        upstream.projects["alpha"] = [(*LARGE, Options(hashes=hashes, size=False, length=False))]
        assert_refused(proxied, LARGE, "neither a digest nor a length")

    def test_one_without_a_length(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        gate = threading.Event()
        upstream.fail(Fault("slow", gate=gate), path_of(LARGE))
        upstream.projects["alpha"] = [(*LARGE, Options(size=False, length=False))]
        with proxied.proxy.open(ALPHA, LARGE[0], -10) as blob:
            upstream.wait_for(path_of(LARGE))
            assert blob.available() == (b"", State.WAITING)
            assert (blob.size, blob.stop) == (None, None)
            gate.set()
            assert blob.read() == LARGE[1][-10:]
            assert (blob.size, blob.start) == (len(LARGE[1]), len(LARGE[1]) - 10)

    def test_a_short_file_without_a_digest(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.projects["alpha"] = [(*LARGE, Options(hashes=False))]
        upstream.fail(Fault("cut-chunked"), path_of(LARGE))
        assert_refused(proxied, LARGE, "broke the connection off|cut off")
