"""What may be kept, and for how long."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caseus.model import Validity
from caseus.web.caching import page_headers, scoped, vary

NOW = 1_000_000.0


def told(*, hosted: bool, validity: Validity, private: bool = False, now: float = NOW) -> dict[str, str]:
    return dict(page_headers(hosted=hosted, validity=validity, now=now, private=private)[0])


@pytest.mark.parametrize(
    ("hosted", "validity", "control"),
    [
        (True, Validity(), "no-cache"),
        (True, Validity(until=NOW + 50), "no-cache"),
        (False, Validity(until=NOW + 50.9), "max-age=50"),
        (False, Validity(until=NOW + 5000), "max-age=600"),
        (False, Validity(until=NOW - 5), "max-age=0"),
        (False, Validity(until=math.inf), "max-age=600"),
        (False, Validity(), "no-cache"),
        (False, Validity(until=NOW + 50, stale=True), "max-age=0"),
    ],
)
def test_cache_control(hosted: bool, validity: Validity, control: str) -> None:
    headers = told(hosted=hosted, validity=validity)
    assert headers["Cache-Control"] == control
    private = told(hosted=hosted, validity=validity, private=True)
    assert private["Cache-Control"] == f"private, {control}"


def test_an_older_answer_is_marked() -> None:
    headers = told(hosted=False, validity=Validity(fetched=NOW - 99.5, stale=True))
    assert headers["X-Caseus-Stale"] == "1"
    assert headers["Age"] == "99"
    fresh = told(hosted=False, validity=Validity(fetched=NOW - 99))
    assert not {"X-Caseus-Stale", "Age"} & set(fresh)


@example(hosted=False, stale=False, until=NOW + 1, fetched=NOW - 500, later=0.0)
@given(
    st.booleans(), st.booleans(), st.none() | st.floats(NOW, NOW + 2000), st.floats(NOW - 500, NOW), st.floats(0, 1000)
)
def test_headers_are_the_same_until_then_and_others_afterwards(
    hosted: bool, stale: bool, until: float | None, fetched: float, later: float
) -> None:
    validity = Validity(until=until, fetched=fetched, stale=stale)
    first, same_until = page_headers(hosted=hosted, validity=validity, now=NOW, private=False)
    assert same_until >= NOW  # not later where whole seconds are left: any moment from now on it is one less
    now = NOW + later
    if until is not None and now >= until:  # the page's own end
        return
    same = told(hosted=hosted, validity=validity, now=now) == dict(first)
    assert same == (now < same_until) or abs(now - same_until) < 0.001


def test_vary() -> None:
    assert vary("Accept", private=False) == [("Vary", "Accept")]
    assert vary("Accept", private=True) == [("Vary", "Accept, Authorization")]
    assert vary(private=False) == []
    assert scoped("no-store", private=True) == "private, no-store"
