"""Records of recutils, as far as they hold core metadata."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caseus.importers.recfile import parse_records


def test_fields_comments_and_continuations() -> None:
    data = (
        b"# by GoCheese\n%rec: Metadata\n\n"
        b"Metadata_Version: 2.1\nName: acme\nClassifier: first\nClassifier: second\nVersion:1.0\n"
        b"Description: one\n+ two\n+\n+three\n"
        b"\n\nName: acme\nRequires-Python: >=3.8\nno field\n+ of nothing\n"
    )
    assert parse_records(data) == (
        {
            "metadata-version": "2.1",
            "name": "acme",
            "classifier": "first",
            "version": "1.0",
            "description": "one\ntwo\n\nthree",
        },
        {"name": "acme", "requires-python": ">=3.8"},
    )


@given(st.binary())
def test_any_bytes_can_be_parsed(data: bytes) -> None:
    for record in parse_records(data):
        assert record and all(name == name.lower() for name in record)
