"""Validators and ranges (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.web.conditional import NOTHING, Range, not_modified, parse_range, range_allowed


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (None, False),
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", W/"abc" , "y"', True),
        ('"x","abc"', True),
        ("*", True),
        (" * ", True),
        ('"abcd"', False),
        ('"x, abc"', False),
        ("abc", False),
        ("", False),
    ],
)
def test_if_none_match(header: str | None, known: bool) -> None:
    assert not_modified(header, '"abc"') is known


def test_what_has_no_etag_is_always_sent() -> None:
    assert not not_modified("*", None)
    assert not range_allowed('"abc"', None)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (None, True),
        ('"abc"', True),
        ('W/"abc"', False),
        ('"abd"', False),
        ("Mon, 01 Jan 2024 00:00:00 GMT", False),
    ],
)
def test_if_range(header: str | None, allowed: bool) -> None:
    assert range_allowed(header, '"abc"') is allowed


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-0", Range(0, 1)),
        ("bytes=5-9", Range(5, 10)),
        ("Bytes=5-", Range(5, None)),
        ("bytes=-20", Range(-20, None)),
        ("bytes=-0", NOTHING),
        ("bytes=9-5", None),
        ("bytes=0-1,3-4", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=1_0-20", None),
        ("bytes=٣-٤", None),
        ("items=0-5", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_range(header: str | None, wanted: Range | None) -> None:
    assert parse_range(header) == wanted


@settings(deadline=None)
@given(st.integers(0, 10**17), st.integers(0, 10**6))
def test_every_pair_in_order_is_a_range(first: int, length: int) -> None:
    assert parse_range(f"bytes={first}-{first + length}") == Range(first, first + length + 1)
