from __future__ import annotations

import re
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseus.errors import Invalid
from caseus.tokens import check_token, digest, make_token

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def from_base62(text: str) -> int:
    number = 0
    for letter in text:
        number = number * 62 + ALPHABET.index(letter)
    return number


@given(st.binary(min_size=32, max_size=32))
def test_a_token_holds_all_random_bytes_and_their_checksum(randomness: bytes) -> None:
    token = make_token(lambda size: randomness[:size])
    match = re.fullmatch(r"caseus_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", token)
    assert match
    assert from_base62(match[1]).to_bytes(32, "big") == randomness
    assert from_base62(match[2]) == zlib.crc32(match[1].encode())
    assert check_token(token) == token


def test_tokens_differ() -> None:
    assert len({make_token() for _ in range(100)}) == 100


@given(st.integers(0, 55), st.characters(exclude_categories=["Cs"]))
def test_a_typing_error_is_seen(position: int, letter: str) -> None:
    token = make_token(lambda size: bytes(range(size)))
    wrong = token[:position] + letter + token[position + 1 :]
    if wrong == token:
        return
    with pytest.raises(Invalid) as caught:
        check_token(wrong)
    assert wrong not in str(caught.value)


@pytest.mark.parametrize("text", ["", "caseus_", "caseus_" + "0" * 48, "caseus_" + "0" * 50, "pypi-" + "0" * 51])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(Invalid):
        check_token(text)


def test_digest_is_sha256_of_the_whole_token() -> None:
    assert digest("caseus_x") == "3d951e7f4e49df87a05111efa0779fb5111ef420f86ab889030ba646662c69b4"
