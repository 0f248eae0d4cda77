"""The list of projects in a file: the bytes that the plain renderer gives, however it came to be."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.utils import NormalizedName

from caseus.catalog import Catalog
from caseus.index import Local
from caseus.lists import SHORT, Coding, ListFile, Opened, ProjectList
from caseus.lists import files as files_module
from caseus.lists import shards as shards_module
from caseus.render import HTML_LIST, JSON, JSON_LIST, PLAIN_HTML, ListForm, list_html, list_json
from caseus.storage.filesystem import FilesystemStorage
from support.stock import TREE, file_of, list_projects, withdraw

FORMS: dict[str, tuple[ListForm, Callable[[Iterator[str]], bytes]]] = {
    "json": (JSON_LIST, list_json),
    "html": (HTML_LIST, list_html),
}
NAMES = [f"{word}-{number:04}" for number in range(1500) for word in ("acme", "data", "lib", "py", "tool", "zope")]
NAMES_SORTED = sorted(NAMES)


@pytest.fixture(autouse=True, scope="module")
def smaller_shards() -> Iterator[None]:
    """A tenth of what they are."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LEAST", "MOST", "_ONE_IN"):
            patch.setattr(shards_module, name, getattr(shards_module, name) // 10)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    with closing(Catalog.open(root)) as catalog:
        list_projects(catalog, *NAMES)
    return root


@pytest.fixture
def catalog(template: Path, tmp_path: Path) -> Iterator[Catalog]:
    root = shutil.copytree(template, tmp_path / "root")
    with closing(Catalog.open(root)) as catalog:
        yield catalog


class Asked(NamedTuple):
    """Which names were asked for, from where on."""

    names: list[str]

    def of(self, catalog: Catalog) -> Callable[[str], Iterator[str]]:
        def names(after: str) -> Iterator[str]:
            for name in catalog.projects(TREE, after):
                self.names.append(name)
                yield name

        return names


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def list_file(catalog: Catalog, form: str, asked: Asked | None = None, made_by: str = "") -> ListFile:
    names = (asked or Asked([])).of(catalog)
    return ListFile(catalog, f"main.{form}", FORMS[form][0], names, made_by=made_by)


def body(opened: Opened, coding: str = "") -> bytes:
    data = b"".join(opened.read(piece) for piece in opened.listing.pieces("gzip" if coding else ""))
    assert len(data) == opened.listing.length("gzip" if coding else "")
    return data


def check(file: ListFile, catalog: Catalog, form: str) -> Opened:
    """The page is as the plain renderer gives it, in both codings."""
    opened = file.open()
    wanted = FORMS[form][1](catalog.projects(TREE))
    assert body(opened) == wanted
    assert gzip.decompress(body(opened, "gzip")) == wanted
    return opened


def test_the_file_gives_what_the_plain_renderer_gives(catalog: Catalog, form: str) -> None:
    with closing(check(list_file(catalog, form), catalog, form)) as opened:
        assert len(opened.listing.contents.shards) > 10


def test_names_come_and_go(catalog: Catalog, form: str) -> None:
    chance = random.Random(form)
    file, known = list_file(catalog, form), set(NAMES)
    for number in range(8):
        new = [f"new-{chance.randrange(10**6)}-{number}" for _ in range(chance.choice([0, 1, 30]))]
        gone = chance.sample(sorted(known), chance.choice([0, 1, 400]))
        list_projects(catalog, *new)
        withdraw(catalog, *gone)
        known = known - set(gone) | set(new)
        check(file, catalog, form).close()
        # Whoever makes it from nothing makes the very same.
        with closing(file.open()) as followed, closing(list_file(catalog, form, made_by="else").open()) as made:
            assert body(followed, "gzip") == body(made, "gzip")
            coding: Coding
            for coding in ("", "gzip"):
                assert followed.listing.etag(JSON, coding) == made.listing.etag(JSON, coding)
        (catalog.root / ".lists" / f"main.{form}").unlink()
        file = list_file(catalog, form)


def test_all_names_go_and_come_back(catalog: Catalog, form: str) -> None:
    file = list_file(catalog, form)
    check(file, catalog, form).close()
    withdraw(catalog, *NAMES)
    check(file, catalog, form).close()
    list_projects(catalog, "zope")
    check(file, catalog, form).close()


def test_only_the_shards_that_changed_are_made_again(catalog: Catalog, form: str) -> None:
    asked = Asked([])
    file = list_file(catalog, form, asked)
    check(file, catalog, form).close()
    assert asked.names == NAMES_SORTED
    asked.names.clear()
    list_projects(catalog, "lib-0700-more")
    check(file, catalog, form).close()
    assert "lib-0700-more" in asked.names and len(asked.names) < len(NAMES) / 4 and "acme-0000" not in asked.names


def test_a_new_version_of_a_known_project_changes_nothing(catalog: Catalog, form: str) -> None:
    asked = Asked([])
    file = list_file(catalog, form, asked)
    with closing(file.open()) as before:
        asked.names.clear()
        catalog.reinstate([file_of("lib-0700", "2.0")], [], actor="alice")
        with closing(file.open()) as after:
            assert after.listing is before.listing and asked.names == []


def test_another_process_takes_over_what_one_made(catalog: Catalog, form: str) -> None:
    list_file(catalog, form).open().close()
    asked = Asked([])
    with closing(Catalog.open(catalog.root)) as other:
        check(list_file(other, form, asked), other, form).close()
        assert asked.names == []
        list_projects(catalog, "aaa")
        theirs, ours = list_file(other, form), list_file(catalog, form)
        check(theirs, other, form).close()
        check(ours, catalog, form).close()


def test_who_reads_an_older_list_reads_it_to_its_end(
    catalog: Catalog, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the bytes move to a new file, as too many in the old one are read no more."""
    monkeypatch.setattr(files_module, "_SLACK", 0)
    file = list_file(catalog, form)
    wanted = FORMS[form][1](catalog.projects(TREE))
    with closing(file.open()) as old:
        first = old.listing.contents.file
        for number in range(30):
            list_projects(catalog, f"acme-0000-{number}", f"zope-0000-{number}")
            check(file, catalog, form).close()
        with closing(file.open()) as new:
            assert new.listing.contents.file != first
            assert [path.name for path in (catalog.root / ".lists").glob("main.*.*")] == [new.listing.contents.file]
        assert body(old) == wanted and gzip.decompress(body(old, "gzip")) == wanted
    size = (catalog.root / ".lists" / new.listing.contents.file).stat().st_size
    assert size < 4 * new.listing.length("")


def test_the_etag_tells_forms_codings_and_contents_apart(catalog: Catalog) -> None:
    told = set()
    files = {form: list_file(catalog, form) for form in FORMS}
    for name in ("", "new"):
        if name:
            list_projects(catalog, name)
        for file in files.values():
            with closing(file.open()) as opened:
                for content_type in (JSON, PLAIN_HTML):
                    told |= {opened.listing.etag(content_type, ""), opened.listing.etag(content_type, "gzip")}
    assert len(told) == 2 * 2 * 2 * 2 and all(etag[0] == etag[-1] == '"' for etag in told)


def test_a_catalog_put_back_to_what_it_was_has_its_own_list(template: Path, tmp_path: Path, form: str) -> None:
    root = shutil.copytree(template, tmp_path / "root")
    with closing(Catalog.open(root)) as catalog:
        list_projects(catalog, "gone-with-the-restore")
        list_file(catalog, form).open().close()
    shutil.copy(template / "catalog.sqlite", root)
    with closing(Catalog.open(root)) as older:
        file = list_file(older, form)
        list_projects(older, "came-after-it")  # its serial is now that of the list that was kept
        check(file, older, form).close()


def test_the_list_of_another_catalog_is_not_taken_over(catalog: Catalog, form: str, tmp_path: Path) -> None:
    list_file(catalog, form).open().close()
    (tmp_path / "other").mkdir()
    with closing(Catalog.open(tmp_path / "other")) as other:
        list_projects(other, "only")
        other.raise_serial(catalog.serial() + 5)
        shutil.copytree(catalog.root / ".lists", other.root / ".lists")
        check(list_file(other, form), other, form).close()


@pytest.mark.parametrize("damage", ["no folder", "no bytes", "no manifest", "half a manifest", "another manifest"])
def test_what_is_lost_is_made_again(catalog: Catalog, form: str, damage: str) -> None:
    folder = catalog.root / ".lists"
    file = list_file(catalog, form)
    with closing(file.open()) as opened:
        name = opened.listing.contents.file
    manifest = folder / f"main.{form}"
    if damage == "no folder":
        shutil.rmtree(folder)
    elif damage == "no bytes":
        (folder / name).unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:100] if damage == "half a manifest" else b"\x93hello")
    check(file, catalog, form).close()
    check(list_file(catalog, form), catalog, form).close()


def test_other_settings_make_another_list(catalog: Catalog, form: str) -> None:
    list_file(catalog, form, made_by="a").open().close()
    asked = Asked([])
    check(list_file(catalog, form, asked, made_by="b"), catalog, form).close()
    assert asked.names[: len(NAMES)] == NAMES_SORTED


def test_an_index_without_a_place_for_its_list_renders_it(catalog: Catalog) -> None:
    assert len(NAMES) > SHORT
    index = Local(catalog, FilesystemStorage(catalog.root), "main")
    listed = ProjectList(catalog, "main", index, made_by="")
    names = [NormalizedName(name) for name in NAMES_SORTED]
    assert listed.body(JSON) == list_json(names) and not listed.is_huge()
    shutil.rmtree(catalog.root / ".lists")
    (catalog.root / ".lists").write_text("in the way")
    list_projects(catalog, "zzz")
    assert listed.body(JSON) == list_json([*names, NormalizedName("zzz")])
    assert listed.body(PLAIN_HTML) == list_html([*names, NormalizedName("zzz")])
