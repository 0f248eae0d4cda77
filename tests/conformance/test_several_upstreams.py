"""Several upstreams behind one index: who answers for a name, whose files are merged, and what a failure means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from caseus.errors import NotFound, Unavailable
from caseus.index import Index
from caseus.model import Project
from caseus.names import NamePatterns, normalize
from caseus.proxy import Proxy
from caseus.site import Site, build
from caseus.views import Only
from conformance.index_conformance import (
    ALPHA,
    ALPHA_METADATA,
    ALPHA_SDIST,
    ALPHA_SIGNATURE,
    ALPHA_WHEEL,
    BETA,
    BETA_WHEEL,
    NOBODY,
    YANKED,
    IndexConformance,
    read_all,
)
from support.forms import form_for
from support.packages import make_sdist, make_wheel
from support.proxied import Clock
from support.upstream import FakeUpstream, Fault, Listed, Options
from support.web import make_config

TORCH = normalize("torch")
SDIST = (*ALPHA_SDIST, Options(signature=ALPHA_SIGNATURE, gpg_sig=True))
WHEEL = (*ALPHA_WHEEL, Options(requires_python=">=3.8"))
Content = Mapping[str, Sequence[Listed]]
Limits = Sequence[tuple[str, ...]]
ALPHA_PAGE = "/simple/alpha/"


class World:
    """A site over two fake upstreams, whose clock the test moves."""

    def __init__(self, site: Site, first: FakeUpstream, second: FakeUpstream, clock: Clock) -> None:
        self.site, self.first, self.second, self.clock = site, first, second, clock

    @property
    def index(self) -> Index:
        return self.site.indexes["main"].index

    def publish(self, filename: str, data: bytes) -> None:
        publisher = self.site.indexes["main"].publisher
        with closing(publisher.stage()) as staged:
            staged.write(data)
            form = form_for("alpha", "9.0", filename, data)
            publisher.publish(staged, form, filename=filename, signature=None, actor="test")

    def names(self, name: str = "alpha") -> list[str]:
        return [file.filename for file in self.index.project(normalize(name)).files]

    def later(self, seconds: float = 700) -> None:
        """Every page is too old now, and beyond what may be given at once."""
        self.clock.now += seconds


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def make(
            first: Content, second: Content, *, limits: Sequence[tuple[str, ...]] = ((), ()), **told: Any
        ) -> World:
            servers = [stack.enter_context(FakeUpstream(content)) for content in (first, second)]
            clock = Clock()
            upstreams = [
                {"url": server.url, "projects": limit, "proxy": "none"}
                for server, limit in zip(servers, limits, strict=True)
            ]
            site = build(make_config(tmp_path / "root", upstreams=upstreams, **told), clock=clock)
            stack.callback(site.close)
            return World(site, servers[0], servers[1], clock)

        yield make


class TestUnionAsAnIndex(IndexConformance):
    """The files of alpha lie on both, and each has one that the other has not."""

    @pytest.fixture
    def index(self, make: Make) -> Index:
        beta = (*BETA_WHEEL, Options(yanked=YANKED))
        return make({"alpha": [WHEEL]}, {"alpha": [SDIST], "beta": [beta]}, union=("alpha", "beta")).index


class TestFirstFoundAsAnIndex(IndexConformance):
    @pytest.fixture
    def index(self, make: Make) -> Index:
        return make({"alpha": [WHEEL, SDIST]}, {"beta": [(*BETA_WHEEL, Options(yanked=YANKED))]}).index


class TestOnlyAsAnIndex(IndexConformance):
    """What the patterns leave is the content; the rest is there too, and nobody sees it."""

    @pytest.fixture
    def index(self, make: Make) -> Index:
        content = {"alpha": [WHEEL, SDIST], "beta": [(*BETA_WHEEL, Options(yanked=YANKED))], "nobody": [WHEEL]}
        return Only(make(content, {}).index, NamePatterns(["alph*", "beta"]))


class TestFirstThatKnows:
    def test_nobody_else_is_asked(self, make: Make) -> None:
        world = make({"alpha": [WHEEL]}, {"alpha": [SDIST], "beta": [BETA_WHEEL]})
        assert world.names() == [WHEEL[0]]
        assert world.names("beta") == [BETA_WHEEL[0]]
        with pytest.raises(NotFound):
            world.index.open(ALPHA, SDIST[0])
        assert world.second.count(ALPHA_PAGE) == 0
        assert world.first.count("/simple/beta/") == 1

    def test_ours_comes_before_all(self, make: Make) -> None:
        world = make({"alpha": [WHEEL]}, {"alpha": [WHEEL]}, union=("alpha",), private=("beta",))
        world.publish(*make_wheel("alpha", "9.0"))
        assert world.names() == [make_wheel("alpha", "9.0")[0]]
        assert world.names("beta") == []
        for name in (WHEEL[0], f"{WHEEL[0]}.metadata", SDIST[0]):
            with pytest.raises(NotFound):
                world.index.open(ALPHA, name)
        assert world.first.requests == world.second.requests == []

    @pytest.mark.parametrize("fault", [None, Fault("status", status=500), Fault("html"), Fault("cut")])
    def test_who_can_not_answer_is_not_passed_over(self, make: Make, fault: Fault | None) -> None:
        """The second could answer with somebody else's package of that name."""
        world = make({"alpha": [WHEEL]}, {"alpha": [SDIST]})
        if fault is None:
            world.first.down()
        else:
            world.first.fail(fault)
        for ask in (lambda: world.index.project(ALPHA), lambda: world.index.open(ALPHA, SDIST[0])):
            with pytest.raises(Unavailable) as caught:
                ask()
            assert caught.value.kind in ("upstream", "timeout")
            assert world.first.origin.removeprefix("http://") in str(caught.value)  # it tells which one
        assert world.second.requests == []

    def test_what_is_kept_of_the_first_is_served_while_it_fails(self, make: Make) -> None:
        world = make({"alpha": [WHEEL]}, {"alpha": [SDIST]})
        assert read_all(world.index.open(ALPHA, WHEEL[0])) == WHEEL[1]
        world.first.down()
        world.later()
        assert world.index.project(ALPHA).validity.stale
        assert read_all(world.index.open(ALPHA, WHEEL[0])) == WHEEL[1]
        world.site.catalog.drop_page(world.site.indexes["main"].publisher.displaces[0], "alpha")
        assert read_all(world.index.open(ALPHA, WHEEL[0])) == WHEEL[1]  # the page is gone, the file is not
        with pytest.raises(Unavailable):
            world.index.open(ALPHA, SDIST[0])
        assert world.second.requests == []

    def test_absence_is_believed_for_half_a_minute(self, make: Make) -> None:
        world = make({}, {"alpha": [SDIST]})
        for _ in range(3):
            project = world.index.project(ALPHA)
        assert world.first.count(ALPHA_PAGE) == world.second.count(ALPHA_PAGE) == 1
        assert project.validity.until == world.clock.now + 30
        world.first.projects["alpha"] = [WHEEL]
        world.clock.now += 30
        assert world.names() == [WHEEL[0]]

    def test_absence_ends_with_a_publication_here(self, make: Make) -> None:
        world = make({}, {})
        for _ in range(2):
            with pytest.raises(NotFound) as caught:
                world.index.project(ALPHA)
        assert world.first.count(ALPHA_PAGE) == 1
        world.publish(*make_wheel("alpha", "9.0"))
        assert world.names() == [make_wheel("alpha", "9.0")[0]]
        assert caught.value.validity is not None
        assert not world.site.catalog.is_current(caught.value.validity, world.clock.now)
        world.first.projects["alpha"] = [WHEEL]
        assert world.site.proxies[0].knows(ALPHA)  # nothing is remembered of the name

    def test_patterns_keep_an_upstream_out(self, make: Make) -> None:
        """It is not asked about other names, so that it can neither answer for them nor fail them."""
        world = make(
            {"alpha": [WHEEL], "beta": [BETA_WHEEL]}, {"alpha": [SDIST], "beta": []}, limits=(("Beta",), ("*",))
        )
        world.first.down()
        assert world.names() == [SDIST[0]]
        world.first.up()
        assert world.names("beta") == [BETA_WHEEL[0]]
        assert {request.path for request in world.first.requests} == {"/simple/beta/"}
        assert list(world.index.projects()) == [ALPHA, BETA]


def torch_wheel(version: str) -> tuple[str, bytes]:
    return make_wheel("torch", version)


class TestUnion:
    """The accelerated builds' index beside the public one."""

    PUBLIC, ACCELERATED = torch_wheel("2.3.0"), torch_wheel("2.3.0+cu121")

    @pytest.fixture
    def world(self, make: Make) -> World:
        accelerated = {"torch": [self.ACCELERATED, torch_wheel("2.4.0+cu121")], "alpha": [WHEEL]}
        public = {"torch": [torch_wheel("2.10.0"), self.PUBLIC], "alpha": [SDIST]}
        return make(accelerated, public, union=("torch*",))

    def project(self, world: World) -> Project:
        return world.index.project(TORCH)

    def test_files_of_both_and_local_versions(self, world: World) -> None:
        project = self.project(world)
        assert project.versions == ("2.3.0", "2.3.0+cu121", "2.4.0+cu121", "2.10.0")
        assert len(project.files) == 4
        assert not project.hosted
        for filename, data in (self.PUBLIC, self.ACCELERATED):
            assert read_all(world.index.open(TORCH, filename)) == data
            assert b"Name: torch" in read_all(world.index.open(TORCH, f"{filename}.metadata"))
        assert world.first.count(world.first.file_path("torch", self.PUBLIC[0])) == 0

    def test_other_names_are_not_merged(self, world: World) -> None:
        assert world.names() == [WHEEL[0]]
        assert world.second.count(ALPHA_PAGE) == 0

    def test_the_first_that_lists_a_filename_owns_it(self, world: World) -> None:
        """With its sidecars: a signature that only the second has would be one of other bytes."""
        mine, theirs = (make_sdist("torch", "1.0", content=content) for content in (b"mine", b"theirs"))
        world.first.projects["torch"] = [mine]
        world.second.projects["torch"] = [(*theirs, Options(signature=ALPHA_SIGNATURE, gpg_sig=True))]
        (file,) = self.project(world).files
        assert file.hashes == {"sha256": hashlib.sha256(mine[1]).hexdigest()}
        assert read_all(world.index.open(TORCH, mine[0])) == mine[1]
        with pytest.raises((NotFound, Unavailable)):
            world.index.open(TORCH, f"{mine[0]}.asc")
        assert world.second.count(world.second.file_path("torch", mine[0])) == 0
        assert world.second.count(world.second.file_path("torch", f"{mine[0]}.asc")) == 0

    def test_no_list_of_files_is_made_to_open_one(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some projects have ten thousand, and installers open METADATA by the dozen."""

        def refuse(*_: object) -> Project:
            raise AssertionError("a project was listed")

        monkeypatch.setattr(Proxy, "project", refuse)
        for filename, data in (self.PUBLIC, self.ACCELERATED):
            assert read_all(world.index.open(TORCH, filename)) == data
            assert b"Name: torch" in read_all(world.index.open(TORCH, f"{filename}.metadata"))
        with pytest.raises(NotFound):
            world.index.open(TORCH, "torch-99.zip")

    def test_one_that_fails_fails_all(self, world: World) -> None:
        """Half of the files would make clients choose another version."""
        world.second.fail(Fault("status", status=500), "/simple/torch/")
        for ask in (lambda: self.project(world), lambda: world.index.open(TORCH, self.PUBLIC[0])):
            with pytest.raises(Unavailable):
                ask()
        assert read_all(world.index.open(TORCH, self.ACCELERATED[0])) == self.ACCELERATED[1]  # it is the first's anyhow

    def test_one_that_is_stale_makes_all_stale(self, world: World) -> None:
        fresh = self.project(world)
        world.second.fail(Fault("status", status=500))
        world.later()
        stale = self.project(world)
        assert stale.validity.stale
        assert stale.files == fresh.files

    def test_validity_ends_with_either(self, world: World) -> None:
        before = self.project(world).validity
        assert {tree for tree, _, _ in before.serials} >= set(world.site.indexes["main"].publisher.displaces)
        world.clock.now += 700
        assert not world.site.catalog.is_current(before, world.clock.now)
        world.second.projects["torch"] = [torch_wheel("2.11.0")]
        assert "2.11.0" in self.project(world).versions
        assert not world.site.catalog.is_current(before, 0)

    def test_known_to_one_only(self, world: World) -> None:
        del world.first.projects["torch"]
        assert self.project(world).versions == ("2.3.0", "2.10.0")
        del world.second.projects["torch"]
        world.later()
        with pytest.raises(NotFound):
            self.project(world)
        assert not world.index.knows(TORCH)

    def test_quarantine_empties_its_own_half(self, world: World) -> None:
        body = (
            b'{"files":[{"filename":"torch-1.0.zip","url":"a","hashes":{}}],"project-status":{"status":"quarantined"}}'
        )
        world.second.fail(Fault("raw", body=body), "/simple/torch/")
        project = self.project(world)
        assert project.status == "active"
        assert project.versions[-1] != "2.10.0"
        with pytest.raises(NotFound):
            world.index.open(TORCH, "torch-1.0.zip")
        world.first.fail(Fault("raw", body=body), "/simple/torch/")
        world.later()
        assert (self.project(world).status, self.project(world).files) == ("quarantined", ())


class TestRemoved:
    """A file that the upstream took back, after it was cached here."""

    def remove(self, world: World) -> None:
        read_all(world.index.open(ALPHA, WHEEL[0]))
        read_all(world.index.open(ALPHA, f"{WHEEL[0]}.metadata"))
        world.first.projects["alpha"] = [SDIST]
        world.later()
        assert world.names() == [SDIST[0]]

    def test_it_is_gone(self, make: Make) -> None:
        world = make({"alpha": [WHEEL, SDIST]}, {})
        self.remove(world)
        for name in (WHEEL[0], f"{WHEEL[0]}.metadata"):
            with pytest.raises(NotFound):
                world.index.open(ALPHA, name)

    def test_kept_for_those_who_know_it(self, make: Make) -> None:
        world = make({"alpha": [WHEEL, SDIST]}, {}, keep_removed=True)
        self.remove(world)
        assert read_all(world.index.open(ALPHA, WHEEL[0])) == WHEEL[1]
        assert read_all(world.index.open(ALPHA, f"{WHEEL[0]}.metadata")) == ALPHA_METADATA
        del world.first.projects["alpha"]
        world.later()
        with pytest.raises(NotFound):
            world.index.project(ALPHA)
        assert read_all(world.index.open(ALPHA, WHEEL[0])) == WHEEL[1]
        for missing in (SDIST[0], f"{WHEEL[0]}.asc", "alpha-9.0.zip"):
            with pytest.raises(NotFound):
                world.index.open(ALPHA, missing)

    def test_not_of_a_quarantined_project(self, make: Make) -> None:
        world = make({"alpha": [WHEEL, SDIST]}, {}, keep_removed=True)
        self.remove(world)
        world.first.fail(Fault("raw", body=b'{"files":[],"project-status":{"status":"quarantined"}}'), ALPHA_PAGE)
        world.later()
        assert world.index.project(ALPHA).status == "quarantined"
        with pytest.raises(NotFound):
            world.index.open(ALPHA, WHEEL[0])

    def test_not_of_a_name_that_became_ours(self, make: Make) -> None:
        world = make({"alpha": [WHEEL, SDIST]}, {}, keep_removed=True)
        self.remove(world)
        world.publish(*make_wheel("alpha", "9.0"))
        with pytest.raises(NotFound):
            world.index.open(ALPHA, WHEEL[0])

    def test_not_of_a_name_that_was_reserved_since(self, make: Make, tmp_path: Path) -> None:
        world = make({"alpha": [WHEEL, SDIST]}, {}, keep_removed=True)
        self.remove(world)
        again = build(
            make_config(tmp_path / "root", upstreams=[world.first.url], keep_removed=True, private=("alpha",)),
            clock=world.clock,
        )
        with closing(again), pytest.raises(NotFound):
            again.indexes["main"].index.open(ALPHA, WHEEL[0])

    def test_yanks_are_followed(self, make: Make) -> None:
        world = make({"alpha": [WHEEL]}, {})
        assert world.index.project(ALPHA).files[0].yanked is False
        world.first.projects["alpha"] = [(*ALPHA_WHEEL, Options(yanked=YANKED))]
        world.later()
        assert world.index.project(ALPHA).files[0].yanked == YANKED
        assert not world.index.knows(NOBODY)
