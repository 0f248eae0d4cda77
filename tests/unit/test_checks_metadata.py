from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.checks.metadata import CoreMetadata, parse_metadata
from caseus.errors import Invalid

GOOD = b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n"


def test_the_fields_are_read() -> None:
    assert parse_metadata(GOOD + b"Requires-Python: >=3.9\n\nA description.\nName: other\n") == CoreMetadata(
        metadata_version="2.1", name="acme", version="1.0", requires_python=">=3.9"
    )


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_any_newline_ends_a_header(newline: bytes) -> None:
    data = (GOOD + b"\nName: in the description\n").replace(b"\n", newline)
    core = parse_metadata(data)
    assert (core.name, core.version, core.doubled) == ("acme", "1.0", ())


def test_a_folded_header_is_unfolded() -> None:
    assert parse_metadata(GOOD + b"Requires-Python: >=3.9,\n        <4\n").requires_python == ">=3.9, <4"


@pytest.mark.parametrize("line", [b"Requires-Python:\n", b"Requires-Python:  \n", b""])
def test_empty_is_absent(line: bytes) -> None:
    assert parse_metadata(GOOD + line).requires_python is None


def test_doubled_fields_are_told_and_not_believed() -> None:
    core = parse_metadata(GOOD + b"name: other\nVersion: 2\nClassifier: a\nClassifier: b\n")
    assert (core.name, core.version, core.doubled) == (None, None, ("Name", "Version"))


@pytest.mark.parametrize(
    "extra",
    [
        b"Classifier: Private :: Do Not Upload\nX-Tool: yes\nProvides: old\nHome-page: not a URL\n",
        b"Author: J\xc3\xb6rg\nDescription-Content-Type: text/unknown\n",
        b"Project-URL: Label, https://pkgs.example.com\nProject-URL: Label, https://pkgs.example.com/2\n",
        b"Content-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: base64\n\n--x\n\nName: inner\n--x--\n",
        b"Keywords: =?utf-8?b?broken=\n",
        b"License-Expression: none of these\nMetadata-Versio: 9\n",
    ],
)
def test_what_private_packages_carry_is_accepted(extra: bytes) -> None:
    core = parse_metadata(GOOD + extra)
    assert (core.name, core.version, core.doubled) == ("acme", "1.0", ())


def test_text_in_another_encoding_is_refused() -> None:
    for data in (GOOD + b"Author: J\xf6rg\n", GOOD + b"\nJ\xf6rg\n"):
        with pytest.raises(Invalid, match="UTF-8"):
            parse_metadata(data)


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"F%d: x\n" % number for number in range(1000)),
        b"Requires-Dist: a\n" * 30_000,
        b"Requires-Python: " + b">=3," * 1000 + b">=3\n",
        b"Name: " + b"a" * 2000 + b"\n",
    ],
)
def test_what_takes_long_to_parse_is_refused(head: bytes) -> None:
    with pytest.raises(Invalid):
        parse_metadata(head)


def test_a_long_description_costs_nothing() -> None:
    assert parse_metadata(GOOD + b"\n" + b"Field: x\n" * 1_000_000).name == "acme"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=200)
def test_any_bytes_are_metadata_or_invalid(data: bytes) -> None:
    for candidate in (data, GOOD + data, GOOD + b"Author: =?" + data):
        try:
            core = parse_metadata(candidate)
        except Invalid:
            continue
        assert core.name is None or "\n" not in core.name
