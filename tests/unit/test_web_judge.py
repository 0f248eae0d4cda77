"""What was made is right exactly while its facts are, and the catalog is asked once a change."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.errors import Unavailable
from caseus.model import Validity
from caseus.web import judge as module
from caseus.web.judge import Judge, Made
from support.web import NOW, ScriptedCatalog

TREE = "files/main"


def made(catalog: ScriptedCatalog, *names: str, of_all: bool = False, validity: Validity | None = None) -> Made:
    serials = tuple((TREE, name, catalog.projects.get((TREE, name), 0)) for name in names)
    found = Validity(serials=serials) & (validity or Validity())
    return Made(validity=found, serial=catalog.number, of_all=of_all)


def test_others_changes_do_no_harm_and_are_asked_for_once() -> None:
    catalog = ScriptedCatalog()
    judge = Judge(catalog, catalog.clock)
    mine, both, absent = made(catalog, "acme"), made(catalog, "acme", "brie"), made(catalog, "none")
    assert judge.is_right(mine) and judge.is_right(both) and catalog.looked == 0
    catalog.change(TREE, "cheddar")
    assert all(judge.is_right(each) for each in (mine, both, absent) for _ in range(3))
    assert catalog.looked == 1
    catalog.change(TREE, "brie")
    assert judge.is_right(mine) and judge.is_right(both) is False and judge.is_right(both) is False
    catalog.change(TREE, "none")
    assert judge.is_right(absent) is False and judge.is_right(mine)
    catalog.change("fetched/pypi", "acme")  # another tree's
    assert judge.is_right(mine)
    assert catalog.looked == 4 and catalog.asked == 0


def test_any_change_puts_in_doubt_what_is_made_of_all() -> None:
    catalog = ScriptedCatalog()
    judge = Judge(catalog, catalog.clock)
    everything = made(catalog, of_all=True)
    assert judge.is_right(everything)
    catalog.change(TREE, "acme")
    assert judge.is_right(everything) is None


def test_time() -> None:
    catalog = ScriptedCatalog()
    judge = Judge(catalog, catalog.clock)
    page = made(catalog, validity=Validity(until=NOW + 10, fetched=NOW))
    file = Made(validity=Validity(until=NOW + 10), serial=1, until=NOW + 5)
    assert judge.is_right(page) and judge.is_right(file)
    catalog.now = NOW + 5
    assert judge.is_right(page) and judge.is_right(file) is False
    catalog.now = NOW + 10
    assert judge.is_right(page) is False
    catalog.now = NOW - 59
    assert judge.is_right(page)
    catalog.now = NOW - 61  # the clock was set back: `until` may be far
    assert judge.is_right(page) is False


def test_what_can_not_be_told_at_once() -> None:
    catalog = ScriptedCatalog()
    judge = Judge(catalog, catalog.clock)
    page = made(catalog, "acme")
    catalog.change(TREE, "brie")
    catalog.broken = Unavailable("locked", kind="local")
    assert judge.is_right(page) is None
    catalog.broken = None
    assert judge.is_right(page)
    for number in range(module._MOST_AT_ONCE):
        catalog.change(TREE, f"p{number}")
    assert judge.is_right(page) is None  # too many at once to look through
    later = made(catalog, "acme")
    assert judge.is_right(later)
    catalog.change(TREE, "acme")
    assert judge.is_right(later) is False
    catalog.number = 500  # a catalog that goes back is no longer the one that was judged
    assert judge.is_right(later) is None


def test_what_was_made_before_this_began_to_look() -> None:
    catalog = ScriptedCatalog()
    older = made(catalog, "acme")
    catalog.change(TREE, "acme")
    judge = Judge(catalog, catalog.clock)
    assert judge.is_right(older) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["change", "make", "ask", "break"]), st.integers(0, 3)), max_size=60))
def test_it_says_right_only_of_what_the_catalog_calls_current(steps: list[tuple[str, int]]) -> None:
    catalog = ScriptedCatalog()
    judge = Judge(catalog, catalog.clock)
    everything: list[Made] = []
    for what, number in steps:
        if what == "change":
            catalog.change(TREE, f"p{number}")
        elif what == "make":
            everything.append(made(catalog, f"p{number}", f"p{number + 1}"))
        elif what == "break":
            catalog.broken = Unavailable("locked", kind="local") if number % 2 else None
        else:
            for each in everything:
                current = catalog.is_current(each.validity, catalog.now)
                told = judge.is_right(each)
                assert told is current or (told is None and catalog.broken is not None)
