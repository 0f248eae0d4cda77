"""What is asked for stays, what is not is forgotten, and there are never more than twice as many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caseus.recent import Recent


def test_what_is_in_use_outlives_any_number_of_others() -> None:
    recent: Recent[int, str] = Recent(10)
    recent.put(-1, "used")
    for number in range(1000):
        recent.put(number, "once")
        assert number % 5 or recent.get(-1) == "used"
        assert len(recent) <= 20
    assert recent.get(-1) == "used" and recent.get(0) is None and recent.get(999) == "once"
    recent.clear()
    assert recent.get(-1) is None and len(recent) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20))))
def test_it_never_tells_what_was_not_put(steps: list[tuple[bool, int]]) -> None:
    recent: Recent[int, int] = Recent(3)
    last: dict[int, int] = {}
    for number, (put, key) in enumerate(steps):
        if put:
            recent.put(key, number)
            last[key] = number
            assert recent.get(key) == number
        else:
            assert recent.get(key) in (None, last.get(key))
        assert len(recent) <= 6
