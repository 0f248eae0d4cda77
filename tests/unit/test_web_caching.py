"""What may be kept, and for how long."""

from __future__ import annotations

import math

import pytest

from caseus.model import Validity
from caseus.web.caching import page_headers, scoped, vary

NOW = 1_000_000.0


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
    headers = dict(page_headers(hosted=hosted, validity=validity, now=NOW, private=False))
    assert headers["Cache-Control"] == control
    private = dict(page_headers(hosted=hosted, validity=validity, now=NOW, private=True))
    assert private["Cache-Control"] == f"private, {control}"


def test_an_older_answer_is_marked() -> None:
    headers = dict(
        page_headers(hosted=False, validity=Validity(fetched=NOW - 99.5, stale=True), now=NOW, private=False)
    )
    assert headers["X-Caseus-Stale"] == "1"
    assert headers["Age"] == "99"
    fresh = dict(page_headers(hosted=False, validity=Validity(fetched=NOW - 99), now=NOW, private=False))
    assert not {"X-Caseus-Stale", "Age"} & set(fresh)


def test_vary() -> None:
    assert vary("Accept", private=False) == [("Vary", "Accept")]
    assert vary("Accept", private=True) == [("Vary", "Accept, Authorization")]
    assert vary(private=False) == []
    assert scoped("no-store", private=True) == "private, no-store"
