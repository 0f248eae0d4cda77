"""Pages in pieces: the bytes that a page has anyway, of which a change leaves most as they were."""

from __future__ import annotations

import gzip
import subprocess
import zlib
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from caseus.model import File, Project
from caseus.render import HTML_PROJECT, JSON_PROJECT, project_html, project_json
from caseus.render.page import ProjectForm
from caseus.render.pieces import LARGE, LEAST, MOST, Pieced, cut, in_pieces

FORMS = pytest.mark.parametrize("form", [HTML_PROJECT, JSON_PROJECT], ids=["html", "json"])


def file(number: int, **facts: object) -> File:
    filename = f"acme-{number:05}-py3-none-any.whl"
    return msgspec.structs.replace(
        File(filename=filename, hashes={"sha256": sha256(filename.encode()).hexdigest()}), **facts
    )


def project(files: dict[int, File]) -> Project:
    some = tuple(file for _, file in sorted(files.items()))
    return Project(name=NormalizedName("acme"), files=some, versions=tuple(str(number) for number in sorted(files)))


def whole(form: ProjectForm, of: Project) -> bytes:
    return project_html(of) if form is HTML_PROJECT else project_json(of)


many = project({number: file(number) for number in range(1000)})


@FORMS
def test_a_page_in_pieces_is_the_page(form: ProjectForm) -> None:
    page = in_pieces(form, many)
    assert page.body == whole(form, many)
    assert sum(piece.length for piece in page.pieces) == len(page.body)
    zipped = page.gzipped()
    assert gzip.decompress(zipped) == page.body
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)  # as browsers read: to the end of the first member
    assert reader.decompress(zipped) == page.body
    assert reader.eof and reader.unused_data == b""
    done = subprocess.run(["gzip", "--test", "--verbose"], input=zipped, capture_output=True)
    assert (done.returncode, b"OK" in done.stderr) == (0, True), done.stderr


@FORMS
def test_a_change_of_one_file_makes_two_pieces_anew(form: ProjectForm) -> None:
    """Its own, and the head where a version came or went."""
    older = in_pieces(form, many)
    older.gzipped()
    files = dict(enumerate(many.files))
    for changed, anew in (
        ({500: file(500, yanked="broken")}, 1),
        ({2000: file(2000)}, 2),
        ({-1: file(0, filename="acme-0.zip")}, 3),  # a new first one: what was first stands behind it now
    ):
        page = in_pieces(form, project(files | changed), older)
        new = [piece for piece in page.pieces if piece not in older.pieces]
        assert len(new) <= anew and {piece.deflated for piece in new} == {None}
        assert page.body == whole(form, project(files | changed))
        assert gzip.decompress(page.gzipped()) == page.body


@FORMS
def test_another_piece_is_the_first(form: ProjectForm) -> None:
    first = next(cut(many.files))
    without = msgspec.structs.replace(many, files=many.files[len(first) :])
    for now, older in ((without, many), (many, without)):
        page = in_pieces(form, now, in_pieces(form, older))
        assert page.body == whole(form, now)


changes = st.lists(st.tuples(st.integers(0, 999), st.sampled_from(["yank", "add", "remove"])), max_size=30)


@FORMS
@settings(max_examples=30, deadline=None)
@given(steps=st.lists(changes, max_size=4))
def test_whatever_was_before_the_bytes_are_those_of_the_files(
    form: ProjectForm, steps: list[list[tuple[int, str]]]
) -> None:
    files = {2 * number: file(2 * number) for number in range(300)}
    older: Pieced | None = None
    for step in steps:
        for number, what in step:
            if what == "yank" and number in files:
                files[number] = msgspec.structs.replace(files[number], yanked=f"{number} is broken & <odd>")
            elif what == "add":
                files[number] = file(number)
            elif what == "remove":
                files.pop(number, None)
        now = project(files)
        page, fresh = in_pieces(form, now, older), in_pieces(form, now)
        assert page.body == fresh.body == whole(form, now)
        if page.pieces:
            assert page.gzipped() == fresh.gzipped()
            assert gzip.decompress(page.gzipped()) == page.body
        older = page


def test_files_that_are_equal_are_the_same_whoever_made_them() -> None:
    older = in_pieces(JSON_PROJECT, many)
    again = project({number: file(number) for number in range(1000)})
    assert again.files[0] is not many.files[0]
    assert in_pieces(JSON_PROJECT, again, older).pieces == older.pieces


@FORMS
def test_a_small_page_has_no_pieces_and_follows_a_large_one(form: ProjectForm) -> None:
    large, small = in_pieces(form, many), project({number: file(number) for number in range(LARGE - 1)})
    page = in_pieces(form, small, large)
    assert (page.body, page.pieces) == (whole(form, small), ())
    assert in_pieces(form, many, page).body == large.body


@FORMS
def test_a_quarantined_project_offers_no_file(form: ProjectForm) -> None:
    hidden = msgspec.structs.replace(many, status="quarantined")
    page = in_pieces(form, hidden, in_pieces(form, many))
    assert (page.body, page.pieces) == (whole(form, hidden), ())
    assert b"acme-0" not in page.body


def test_pieces_are_neither_small_nor_large_and_cut_at_names() -> None:
    sizes = [len(piece) for piece in cut(many.files)]
    assert sum(sizes) == 1000 and all(LEAST <= size <= MOST for size in sizes[:-1])
    odd = [msgspec.structs.replace(file(0), filename="a") for _ in range(600)]
    assert [len(piece) for piece in cut(odd)] in ([256, 256, 88], [64] * 9 + [24])
    assert list(cut(())) == []


def test_a_name_that_no_encoding_can_carry() -> None:
    """Of an upstream: a lone surrogate."""
    odd = project({number: file(number, filename=f"acme-{number:05}\udc80.zip") for number in range(LARGE)})
    page = in_pieces(JSON_PROJECT, odd)
    assert page.body == project_json(odd) and gzip.decompress(page.gzipped()) == page.body
