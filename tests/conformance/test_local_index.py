"""What is published here as an Index, alone and in front of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caseus.catalog import Catalog
from caseus.errors import NotFound, Unavailable
from caseus.index import FirstFound, Index, Local
from caseus.names import normalize
from caseus.packages import PackageLists
from caseus.publish import Publisher
from caseus.storage.filesystem import FilesystemStorage
from conformance.index_conformance import (
    ALPHA,
    ALPHA_SDIST,
    ALPHA_SIGNATURE,
    BETA,
    BETA_WHEEL,
    NOBODY,
    YANKED,
    IndexConformance,
)
from support.forms import form_for
from support.packages import make_wheel, metadata

ALPHA_WHEEL = make_wheel("alpha", "1.0", metadata_bytes=metadata("alpha", "1.0", requires_python=">=3.8"))


class Place:
    """A catalog and a store, and the names of indexes in them."""

    def __init__(self, root: Path) -> None:
        self.catalog = Catalog.open(root)
        self.store = FilesystemStorage(root)
        self.catalog.writer.after_commit = PackageLists(self.catalog, self.store).follow

    def index(self, name: str, *private: str) -> Local:
        return Local(self.catalog, self.store, name, private)

    def publish(
        self, index: str, project: str, version: str, file: tuple[str, bytes], sig: bytes | None = None
    ) -> None:
        publisher = Publisher(self.catalog, self.store, index)
        staged = publisher.stage()
        staged.write(file[1])
        form = form_for(project, version, *file)
        publisher.publish(staged, form, filename=file[0], signature=sig, actor="test")
        staged.close()

    def publish_content(self, index: str) -> None:
        self.publish(index, "alpha", "1.0", ALPHA_WHEEL)
        self.publish(index, "alpha", "1.0", ALPHA_SDIST, ALPHA_SIGNATURE)
        self.publish(index, "beta", "2.0", BETA_WHEEL)
        publisher = Publisher(self.catalog, self.store, index)
        publisher.yank(publisher.select("beta"), YANKED, "test")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.catalog.close()


class TestLocal(IndexConformance):
    @pytest.fixture
    def index(self, place: Place) -> Index:
        place.publish_content("main")
        return place.index("main")


class TestFirstFound(IndexConformance):
    """The content behind an empty index."""

    @pytest.fixture
    def index(self, place: Place) -> Index:
        place.publish_content("second")
        return FirstFound([place.index("first"), place.index("second")])


class TestFirstFoundSplit(IndexConformance):
    """alpha in the first index, beta in the second, and an alpha there that nobody must see."""

    @pytest.fixture
    def index(self, place: Place) -> Index:
        place.publish("second", "alpha", "9.0", make_wheel("alpha", "9.0"))
        place.publish("second", "beta", "2.0", BETA_WHEEL)
        publisher = Publisher(place.catalog, place.store, "second")
        publisher.yank(publisher.select("beta"), YANKED, "test")
        place.publish("first", "alpha", "1.0", ALPHA_WHEEL)
        place.publish("first", "alpha", "1.0", ALPHA_SDIST, ALPHA_SIGNATURE)
        return FirstFound([place.index("first"), place.index("second")])


class Alarm:
    """An index that must not be asked."""

    def knows(self, name: object) -> bool:
        raise AssertionError(f"asked for {name}")

    project = open = knows

    def projects(self, after: str = "") -> Iterator[object]:
        return iter(())


@pytest.mark.parametrize("how", ["published", "deleted", "claimed", "reserved"])
def test_a_name_that_is_ours_is_asked_of_nobody_else(place: Place, how: str) -> None:
    index = FirstFound([place.index("main", *(["al*"] if how == "reserved" else [])), Alarm()])  # type: ignore[list-item]
    if how in ("published", "deleted"):
        place.publish("main", "alpha", "1.0", ALPHA_WHEEL)
    if how == "deleted":
        publisher = Publisher(place.catalog, place.store, "main")
        publisher.delete(publisher.select("alpha"), "", "test")
    if how == "claimed":
        place.catalog.claim("files/main", "alpha", ALPHA_WHEEL[0], sha256="a", owner="me").result()
    assert index.knows(ALPHA)
    assert len(index.project(ALPHA).files) == (1 if how == "published" else 0)
    with pytest.raises(NotFound):
        index.open(ALPHA, "alpha-9.0-py3-none-any.whl")
    with pytest.raises(AssertionError, match="asked for beta"):
        index.project(BETA)


def test_while_the_catalog_cannot_be_read_nobody_else_is_asked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise Unavailable("the catalog can't be read", kind="local")

    index = FirstFound([place.index("main"), Alarm()])  # type: ignore[list-item]
    monkeypatch.setattr(place.catalog, "_row", broken)
    monkeypatch.setattr(place.catalog, "_rows", broken)
    for ask in (lambda: index.project(ALPHA), lambda: index.open(ALPHA, ALPHA_WHEEL[0]), lambda: index.knows(ALPHA)):
        with pytest.raises(Unavailable):
            ask()


def test_an_answer_is_right_only_while_the_earlier_indexes_lack_the_name(place: Place) -> None:
    place.publish("second", "alpha", "1.0", ALPHA_WHEEL)
    index = FirstFound([place.index("first"), place.index("second")])
    before = index.project(ALPHA)
    assert place.catalog.is_current(before.validity, 0)
    with pytest.raises(NotFound) as nobody:
        index.project(NOBODY)
    assert nobody.value.validity is not None
    assert [tree for tree, _, _ in nobody.value.validity.serials] == ["files/first", "files/second"]
    place.publish("first", "alpha", "3.0", make_wheel("alpha", "3.0"))
    assert not place.catalog.is_current(before.validity, 0)
    assert index.project(ALPHA).versions == ("3.0",)


def test_an_empty_index_of_indexes_finds_nothing(place: Place) -> None:
    index = FirstFound([place.index("first"), place.index("second")])
    assert list(index.projects()) == [] and not index.knows(normalize("alpha"))
    with pytest.raises(NotFound):
        index.open(ALPHA, ALPHA_WHEEL[0])
