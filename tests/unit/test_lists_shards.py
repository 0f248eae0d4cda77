"""Shards: cut by the names alone, and followed where names come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseus.lists import shards
from caseus.lists.shards import Cut, cut, follow

names = st.lists(st.integers(0, 400), unique=True, max_size=300).map(lambda found: sorted(f"p{n:03}" for n in found))


class Made(NamedTuple):
    last: str
    closed: bool
    names: tuple[str, ...]


def make(found: Cut) -> Made:
    return Made(found.names[-1], found.closed, found.names)


@pytest.fixture(autouse=True, scope="module")
def small_shards() -> Iterator[None]:
    """Of 3 to 12 names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "LEAST", 3)
        patch.setattr(shards, "MOST", 12)
        patch.setattr(shards, "_ONE_IN", 4)
        yield


@given(names)
def test_a_cut_loses_nothing_and_bounds_each_shard(found: list[str]) -> None:
    made = list(cut(found))
    assert [name for each in made for name in each.names] == found
    assert all(3 <= len(each.names) <= 12 for each in made[:-1])
    assert [each.closed for each in made[:-1]] == [True] * len(made[:-1])


@given(names, names)
def test_shards_that_were_followed_are_those_that_would_be_made_now(before: list[str], after: list[str]) -> None:
    old = [make(each) for each in cut(before)]
    flips = set(before) ^ set(after)
    new = follow(old, flips, lambda behind: iter([name for name in after if name > behind]), make)
    assert new == [make(each) for each in cut(after)]


@given(names, st.integers(0, 400), st.booleans())
def test_one_name_moves_no_more_than_the_shards_near_it(before: list[str], number: int, known: bool) -> None:
    """`known`: the name only got another file, and is told all the same."""
    name = f"p{number:03}"
    after = before if known else sorted(set(before) ^ {name})
    made: list[str] = []

    def watched(found: Cut) -> Made:
        made.extend(found.names)
        return make(found)

    old = [make(each) for each in cut(before)]
    new = follow(old, [name], lambda behind: iter([each for each in after if each > behind]), watched)
    assert new == [make(each) for each in cut(after)]
    if known and name in before:
        assert made == next(list(each.names) for each in old if name in each.names)


def test_a_change_in_front_does_not_reach_the_end() -> None:
    before = [f"p{number:05}" for number in range(5000)]
    after = [name for name in before if name != "p00000"]
    made: list[str] = []

    def watched(found: Cut) -> Made:
        made.extend(found.names)
        return make(found)

    follow([make(each) for each in cut(before)], ["p00000"], lambda _: iter(after), watched)
    assert len(made) < 100
