"""The parts of an upload, however the network cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus.errors import Invalid, TooLarge
from caseus.web import intake as module
from caseus.web.intake import Intake, boundary_of
from support.live import BOUNDARY, FORM_TYPE, form_body

WHEEL = b"PK\x03\x04" + bytes(range(256)) * 40 + b"\r\n--almost\r\n--" + BOUNDARY[:-1].encode() + b"\r\n"


def intake(limit: int = 1 << 20) -> Intake:
    return Intake(BOUNDARY.encode(), max_file_bytes=limit)


def feed(body: bytes, *, limit: int = 1 << 20, size: int = 1000) -> tuple[Intake, bytes]:
    taken = intake(limit)
    content = b""
    for at in range(0, len(body), size):
        taken.feed(body[at : at + size])
        content += taken.take()
    taken.finish()
    return taken, content


@settings(deadline=None)
@given(st.integers(1, 3000), st.binary(max_size=300))
def test_cuts_make_no_difference(size: int, tail: bytes) -> None:
    body = form_body(
        [(":action", "file_upload"), ("classifiers", "A"), ("classifiers", "Bé"), ("description", "")],
        ("content", "acme-1.0-py3-none-any.whl", WHEEL + tail),
        ("gpg_signature", "acme.asc", b"-----BEGIN"),
    )
    taken, content = feed(body, size=size)
    assert taken.pairs == [(":action", "file_upload"), ("classifiers", "A"), ("classifiers", "Bé"), ("description", "")]
    assert content == WHEEL + tail
    assert taken.filename == "acme-1.0-py3-none-any.whl"
    assert taken.signature == b"-----BEGIN"


def test_what_follows_the_last_boundary_is_ignored() -> None:
    assert feed(form_body({"a": "b"}) + b"\r\n")[0].pairs == [("a", "b")]


@pytest.mark.parametrize("cut", [0, 10, 60, 150, 200, 240])
def test_a_body_that_ends_early_is_refused(cut: int) -> None:
    body = form_body({"a": "b"}, ("content", "a.whl", b"x" * 100))
    assert cut < len(body) - 4
    with pytest.raises(Invalid, match="malformed upload"):
        feed(body[:cut])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (form_body({}, ("content", "a.whl", b"x"), ("content", "b.whl", b"y")), "more than one part 'content'"),
        (form_body({"content": "x"}), "no filename"),
        (form_body({}, ("content", "", b"x")), "no filename"),
        (form_body({}, ("name", "x.txt", b"x")), "a text field has a filename"),
        (form_body({}, ("gpg_signature", "a", b"x"), ("gpg_signature", "a", b"x")), "more than one part 'gpg"),
        (form_body({"a": "b"}).replace(b"form-data", b"attachment"), "malformed upload"),
        (form_body({"a": "b"}).replace(b'"\r\n', b'"\n'), "malformed upload"),
        (form_body({"a": "@"}).replace(b"@", b"\xff"), "not UTF-8"),
        (b"nothing of the kind", "malformed upload"),
    ],
)
def test_faults_are_told(body: bytes, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        feed(body)


@pytest.mark.parametrize(
    "body",
    [
        form_body({}, ("content", "a.whl", b"x" * 2001)),
        form_body({}, ("gpg_signature", "a.asc", b"x" * (module.MAX_SIGNATURE + 1))),
        form_body({"summary": "x" * (module.MAX_FIELD + 1)}),
        form_body({"description": "x" * (module.MAX_DESCRIPTION + 1)}),
        form_body([("x", "y" * module.MAX_FIELD)] * 17),
        form_body([("x", "y")] * (module.MAX_PARTS + 1)),
        form_body({"x" * 5000: "y"}),
    ],
    ids=["file", "signature", "field", "description", "all text", "parts", "header"],
)
def test_limits(body: bytes) -> None:
    with pytest.raises(TooLarge):
        feed(body, limit=2000, size=1 << 16)


def test_at_the_limits_all_is_well() -> None:
    body = form_body([("description", "x" * (2 << 20)), ("x", "y")], ("content", "a.whl", b"x" * 2000))
    assert len(feed(body, limit=2000, size=1 << 16)[1]) == 2000


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        (FORM_TYPE, BOUNDARY.encode()),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        ("multipart/mixed; boundary=x", None),
        ("application/json", None),
        (None, None),
    ],
)
def test_boundaries(header: str | None, boundary: bytes | None) -> None:
    assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    "header",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 71,
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="ä"',
    ],
)
def test_bad_boundaries(header: str) -> None:
    with pytest.raises(Invalid, match="boundary"):
        boundary_of(header)
