"""The cache stays under its size, and nobody's download is cut for it."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caseus.storage import file_key
from support.proxied import ALPHA, Proxied, path_of, read_all, stored, until
from support.upstream import FakeUpstream

A, B, C = (
    (f"alpha-{n}.tar.gz", hashlib.shake_256(str(n).encode()).digest(100_000)) for n in (1, 2, 3)
)  # pairs of name and bytes
HUGE = ("alpha-9.tar.gz", hashlib.shake_256(b"9").digest(300_000))


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": [A, B, C, HUGE]}) as server:
        yield server


@pytest.fixture
def proxied(tmp_path: Path, upstream: FakeUpstream) -> Iterator[Proxied]:
    with Proxied(tmp_path / "root", upstream, cache_bytes=250_000) as made:
        yield made


@pytest.fixture
def get(proxied: Proxied) -> Callable[[tuple[str, bytes]], None]:
    def get_one(file: tuple[str, bytes]) -> None:
        proxied.clock.now += 1
        assert read_all(proxied.proxy.open(ALPHA, file[0])) == file[1]
        until(lambda: proxied.leftovers() == [])

    return get_one


def kept(proxied: Proxied) -> set[str]:
    return {key.rpartition("/")[2] for key in proxied.store.keys("fetched/")}


def is_left(proxied: Proxied, *files: tuple[str, bytes]) -> bool:
    names = {file[0] for file in files}
    return kept(proxied) == names and {f[0] for f in (A, B, C, HUGE) if stored(proxied, f)} == names


def test_the_least_recently_used_goes(proxied: Proxied, get: Callable[[tuple[str, bytes]], None]) -> None:
    get(A)
    get(B)
    get(A)
    get(C)
    until(lambda: is_left(proxied, A, C))
    assert proxied.catalog.cache_bytes() == 200_000


def test_what_is_gone_is_fetched_again(
    proxied: Proxied, upstream: FakeUpstream, get: Callable[[tuple[str, bytes]], None]
) -> None:
    for file in (A, B, C):
        get(file)
    until(lambda: is_left(proxied, B, C))
    get(A)
    until(lambda: is_left(proxied, A, C))
    assert upstream.count(path_of(A)) == 2


def test_what_is_being_read_stays(proxied: Proxied, get: Callable[[tuple[str, bytes]], None]) -> None:
    get(A)
    with proxied.proxy.open(ALPHA, A[0]) as blob:
        proxied.clock.now += 1
        get(B)
        get(C)
        until(lambda: is_left(proxied, A, C))
        assert blob.read() == A[1]
    get(B)
    until(lambda: is_left(proxied, B, C))


def test_what_another_process_reads_stays(proxied: Proxied, get: Callable[[tuple[str, bytes]], None]) -> None:
    get(A)
    fd = os.open(proxied.store.path(file_key(proxied.proxy.tree, "alpha", A[0])), os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    get(B)
    get(C)
    until(lambda: is_left(proxied, A, C))
    os.close(fd)


def test_who_followed_the_fill_counts_as_a_reader(proxied: Proxied, get: Callable[[tuple[str, bytes]], None]) -> None:
    with proxied.proxy.open(ALPHA, A[0]) as blob:
        assert blob.read(10) == A[1][:10]
        until(lambda: stored(proxied, A) and proxied.leftovers() == [])
        assert blob.read(10) == A[1][10:20]
        get(B)
        get(C)
        until(lambda: is_left(proxied, A, C))


def test_when_all_is_being_read_the_cache_may_be_larger(
    proxied: Proxied, get: Callable[[tuple[str, bytes]], None]
) -> None:
    blobs = []
    for file in (A, B, C):
        get(file)
        blobs.append(proxied.proxy.open(ALPHA, file[0]))
    assert kept(proxied) == {A[0], B[0], C[0]} or kept(proxied) == {A[0], B[0]}
    for blob, file in zip(blobs, (A, B, C), strict=True):
        assert read_all(blob) == file[1]


def test_a_file_larger_than_the_cache_is_served_and_not_kept(
    proxied: Proxied, upstream: FakeUpstream, get: Callable[[tuple[str, bytes]], None]
) -> None:
    get(A)
    get(HUGE)
    get(HUGE)
    assert is_left(proxied, A)
    assert upstream.count(path_of(HUGE)) == 2
    row = proxied.catalog.fetched(proxied.proxy.tree, "alpha", HUGE[0])
    assert row is not None
    assert row.sha256 == hashlib.sha256(HUGE[1]).hexdigest()


def test_a_cache_of_nothing_still_serves(tmp_path: Path, upstream: FakeUpstream) -> None:
    with Proxied(tmp_path / "other", upstream, cache_bytes=0) as made:
        assert read_all(made.proxy.open(ALPHA, A[0])) == A[1]
        until(lambda: made.leftovers() == [])
        assert list(made.store.keys("fetched/")) == []
