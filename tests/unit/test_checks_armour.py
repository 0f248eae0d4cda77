"""Which bytes are an armoured signature: what gpg writes is, half of it is not."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseus.checks.armour import check_signature
from caseus.errors import Invalid
from support.gpg import Gpg

FIRST, LAST = b"-----BEGIN PGP SIGNATURE-----\n", b"-----END PGP SIGNATURE-----\n"
BODY = b"iHUEABYKAB0WIQ==\n"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    file: Path = tmp_path_factory.mktemp("signed") / "file"
    file.write_bytes(b"content")
    with Gpg() as gpg:
        yield gpg.sign(file).read_bytes()


def test_what_gpg_writes(real: bytes) -> None:
    check_signature(real)


def test_no_part_of_what_gpg_writes_is_enough(real: bytes) -> None:
    for length in range(len(real.rstrip())):
        with pytest.raises(Invalid):
            check_signature(real[:length])


@pytest.mark.parametrize(
    "data",
    [
        FIRST + b"\n" + BODY + LAST,
        FIRST + b"\n" + BODY + b"=AAAA\n" + LAST,
        FIRST + b"Version: GnuPG v2\nComment:\n\n" + BODY * 3 + b"=AAAA\n" + LAST,
        (FIRST + b"\n" + BODY + LAST).replace(b"\n", b"\r\n"),
        b"\n\n" + FIRST + b" \n" + BODY + LAST.rstrip() + b"\n\n\n",
    ],
    ids=["bare", "wrong checksum", "headers", "CRLF", "space around"],
)
def test_forms(data: bytes) -> None:
    check_signature(data.replace(b"WIQ==\niHUE", b"WIQAAiHUE"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not ASCII-armoured"),
        (b"<html>", "is not ASCII-armoured"),
        (base64.b64decode(BODY), "is not ASCII-armoured"),
        (b"-----BEGIN PGP MESSAGE-----\n\n" + BODY + b"-----END PGP MESSAGE-----\n", "is not ASCII-armoured"),
        (b"Hello\n" + FIRST + b"\n" + BODY + LAST, "is not ASCII-armoured"),
        (FIRST + b"\n" + BODY, "ends before its armour does"),
        (FIRST + b"\n" + BODY + LAST + b"more\n", "ends before its armour does"),
        (FIRST + BODY + LAST, "no blank line"),
        (FIRST + b"\n\n" + LAST, "no base64"),
        (FIRST + b"\n=AAAA\n" + LAST, "no base64"),
        (FIRST + b"\n<b>bold</b>\n" + LAST, "no base64"),
        (FIRST + b"\n" + BODY + LAST + FIRST + b"\n" + BODY + LAST, "no base64"),
        (FIRST + b"Comment: \xe9\n\n" + BODY + LAST, "is not ASCII-armoured"),
        (FIRST + b"\n" + b"A" * 70_000 + b"\n" + LAST, "larger than 64 KiB"),
    ],
)
def test_refused(data: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check_signature(data)


@given(st.binary(max_size=300).map(lambda body: FIRST + body + LAST) | st.binary(max_size=300))
def test_nothing_else_is_raised(data: bytes) -> None:
    with suppress(Invalid):
        check_signature(data)
