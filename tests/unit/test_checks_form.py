from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.checks.form import Form


def test_values_keep_their_order() -> None:
    form = Form.parse([("classifiers", "b"), ("name", "acme"), ("classifiers", "a")])
    assert form.fields == {"classifiers": ["b", "a"], "name": ["acme"]}


def test_unknown_is_nothing_and_nul_is_made_visible() -> None:
    form = Form.parse([("home_page", " UNKNOWN\n"), ("summary", "a\0b"), ("author", "UNKNOWN person")])
    assert form.fields == {"summary": ["a\\x00b"], "author": ["UNKNOWN person"]}


def test_first_is_none_for_what_is_absent_or_empty() -> None:
    form = Form.parse([("name", " acme "), ("name", "other"), ("md5_digest", ""), ("version", "  ")])
    assert form.first("name") == "acme"
    assert [form.first(name) for name in ("md5_digest", "version", "summary")] == [None, None, None]


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=20)), max_size=8))
@settings(max_examples=50)
def test_no_pairs_make_it_raise(pairs: list[tuple[str, str]]) -> None:
    form = Form.parse(pairs)
    assert "\0" not in "".join(value for values in form.fields.values() for value in values)
    assert set(form.fields) <= {name for name, _ in pairs}
