"""gzip streams put together of parts: one member, whichever reader."""

from __future__ import annotations

import gzip
import subprocess
import zlib

from hypothesis import given
from hypothesis import strategies as st

from caseus import gzips

parts = st.lists(st.binary(max_size=2000), max_size=6)


def joined(data: list[bytes], tail: bytes = b"") -> bytes:
    crc = length = 0
    for each in [*data, tail]:
        crc, length = gzips.joined_crc(crc, zlib.crc32(each), len(each)), length + len(each)
    blocks = b"".join(map(gzips.deflate, data)) + gzips.deflate(tail, last=True)
    return gzips.HEAD + blocks + gzips.trailer(crc, length)


@given(parts, st.binary(max_size=100))
def test_parts_make_one_member_that_holds_them_all(data: list[bytes], tail: bytes) -> None:
    stream = joined(data, tail)
    assert gzip.decompress(stream) == b"".join(data) + tail
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)  # as browsers read: to the end of the first member
    assert reader.decompress(stream) == b"".join(data) + tail
    assert reader.eof and reader.unused_data == b""


@given(st.binary(max_size=500), st.binary(max_size=500), st.integers(0, 5000))
def test_checksums_are_joined(first: bytes, second: bytes, more: int) -> None:
    second += bytes(more)
    assert gzips.joined_crc(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_a_part_looks_back_at_nothing_before_it() -> None:
    data = b"the same again and again " * 100
    assert gzips.deflate(data) == gzips.deflate(data)
    other = joined([b"something else", data])
    assert gzips.deflate(data) in other  # whatever stands before


def test_gzip_itself_finds_nothing_to_complain_of() -> None:
    done = subprocess.run(
        ["gzip", "--test", "--verbose"], input=joined([b"a" * 70_000, b","], b"]}"), capture_output=True
    )
    assert (done.returncode, b"OK" in done.stderr) == (0, True), done.stderr


def test_the_length_is_told_modulo_four_gigabytes() -> None:
    assert gzips.trailer(1, (5 << 32) + 7) == bytes([1, 0, 0, 0, 7, 0, 0, 0])
