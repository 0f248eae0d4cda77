"""Copies, moves, renames, removals and touches in any order: in the end the catalog says what the folder holds."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from caseus.checks.found import check_found
from caseus.errors import Invalid
from caseus.names import normalize
from caseus.watch.tree import is_package
from support.packages import make_sdist, make_wheel
from support.watched import TREE, Watched, until

SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----\n"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Watched(tmp_path_factory.mktemp("watched") / "root") as made:
        yield made


@dataclass
class Hands:
    """A person at work in the folder of one project, who remembers which names were touched how."""

    watched: Watched
    project: str
    aside: Path
    disturbed: set[str] = field(default_factory=set)
    """Names that were ever taken away, or given other bytes, after something lay there."""
    promised: dict[str, str] = field(default_factory=dict)
    """sha256 under which a name was ever seen listed."""

    @property
    def folder(self) -> Path:
        return self.watched.folder(self.project)

    def file(self, kind: int, build: int) -> tuple[str, bytes]:
        """One of three names, of which there are two builds, of different lengths."""
        content = f"# {hashlib.shake_256(bytes([build])).hexdigest(50 + 50 * build)}\n".encode()
        if kind == 2:
            return make_sdist(self.project, "1.0", content=content)
        return make_wheel(self.project, f"{kind + 1}.0", content=content)

    # What can be done. `kind` and `build` choose a file.

    def cp(self, kind: int, build: int) -> None:
        name, data = self.file(kind, build)
        self._overwrites(name, data)
        (self.folder / name).write_bytes(data)

    def cp_with_its_time(self, kind: int, build: int) -> None:
        self.cp(kind, build)
        os.utime(self.folder / self.file(kind, build)[0], (0, 1_500_000_000 + build))

    def cp_in_two_parts(self, kind: int, build: int) -> None:
        name, data = self.file(kind, build)
        self._overwrites(name, data)
        with (self.folder / name).open("wb", buffering=0) as file:
            file.write(data[:100])
            file.write(data[100:])

    def cp_that_breaks_off(self, kind: int, build: int) -> None:
        name, data = self.file(kind, build)
        self._overwrites(name, data[:-30])
        (self.folder / name).write_bytes(data[:-30])

    def mv_in(self, kind: int, build: int) -> None:
        name, data = self.file(kind, build)
        self._overwrites(name, data)
        self.aside.write_bytes(data)
        self.aside.rename(self.folder / name)

    def mv_away_and_back(self, kind: int, build: int) -> None:
        path = self.folder / self.file(kind, build)[0]
        if path.exists():
            self.disturbed.add(path.name)
            path.rename(self.aside)
            self.aside.rename(path)

    def rename(self, kind: int, build: int) -> None:
        """To the other wheel's name."""
        source, target = (self.folder / self.file(each, 0)[0] for each in (kind % 2, 1 - kind % 2))
        if source.exists():
            self.disturbed.add(source.name)
            self._overwrites(target.name, source.read_bytes())
            source.rename(target)

    def rm(self, kind: int, build: int) -> None:
        name = self.file(kind, build)[0]
        if (self.folder / name).exists():
            self.disturbed.add(name)
            (self.folder / name).unlink()

    def touch(self, kind: int, build: int) -> None:
        path = self.folder / self.file(kind, build)[0]
        if path.exists():
            os.utime(path, (0, 1_600_000_000 + build))

    def sign(self, kind: int, build: int) -> None:
        (self.folder / f"{self.file(kind, build)[0]}.asc").write_bytes(SIGNATURE if build else SIGNATURE[:40])

    def unsign(self, kind: int, build: int) -> None:
        (self.folder / f"{self.file(kind, build)[0]}.asc").unlink(missing_ok=True)

    def mark(self, kind: int, build: int) -> None:
        (self.folder / (".private", ".internal")[build]).touch()

    def unmark(self, kind: int, build: int) -> None:
        (self.folder / (".private", ".internal")[build]).unlink(missing_ok=True)

    def tidy(self, kind: int, build: int) -> None:
        """rm of what caseus itself has put there."""
        for name in (f"{self.file(kind, build)[0]}.metadata", "packages.jsonl"):
            (self.folder / name).unlink(missing_ok=True)

    def wait(self, kind: int, build: int) -> None:
        until(self.is_equal, why=self.differences)
        for name, row in self.watched.rows(self.project).items():
            assert self.promised.setdefault(name, row.sha256) == row.sha256, f"{name} has other bytes than before"

    def _overwrites(self, name: str, data: bytes) -> None:
        path = self.folder / name
        if path.exists() and path.read_bytes() != data:
            self.disturbed.add(name)

    # What has to be so.

    def is_equal(self) -> bool:
        """Whether the catalog says what the folder holds."""
        return not list(self.differences())

    def differences(self) -> Iterator[str]:
        rows, graves = self.watched.rows(self.project), self.watched.graves(self.project)
        there = {path.name: path for path in self.folder.iterdir() if is_package(path.name)}
        for name, path in there.items():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if name in graves:
                if graves[name].sha256 == digest:
                    yield f"{name} has its bytes back"
            elif name not in rows:
                if self._is_whole(path):
                    yield f"{name} is not listed"
            elif rows[name].sha256 != digest:
                yield f"{name} has other bytes"
            elif abs(path.stat().st_mtime_ns - rows[name].uploaded * 1e9) > 1000:
                yield f"{name} has another time"
            elif rows[name].has_sig != self._is_signed(name):
                yield f"{name} is signed otherwise"
        yield from (f"{name} is gone" for name in rows.keys() - there.keys())
        marked = any((self.folder / marker).exists() for marker in (".private", ".internal"))
        if marked != self.watched.site.catalog.is_marked(TREE, self.project):
            yield "it is marked otherwise"
        for damage in self.watched.damages():
            if damage.kind not in ("extra", "changed") and damage.key.startswith(f"{TREE}/{self.project}/"):
                yield f"{damage.kind} {damage.key}"

    def _is_whole(self, path: Path) -> bool:
        try:
            with path.open("rb") as reader:
                check_found(normalize(self.project), path.name, reader)
        except Invalid:
            return False
        return True

    def _is_signed(self, name: str) -> bool:
        path = self.folder / f"{name}.asc"
        return path.exists() and path.read_bytes() == SIGNATURE


ACTIONS = [
    Hands.cp, Hands.cp_with_its_time, Hands.cp_in_two_parts, Hands.cp_that_breaks_off, Hands.mv_in,
    Hands.mv_away_and_back, Hands.rename, Hands.rm, Hands.touch, Hands.sign, Hands.unsign, Hands.mark, Hands.unmark,
    Hands.tidy, Hands.wait,
]  # fmt: skip

steps = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=25)


@given(steps)
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],  # one that fails takes a minute, and shrinking is many of them
)
def test_the_catalog_is_as_the_folder(watched: Watched, steps: list[tuple[object, int, int]]) -> None:
    project = f"p{next(_numbers)}-{time.time_ns()}"
    hands = Hands(watched, project, watched.root / f"aside-{project}")
    hands.folder.mkdir(parents=True)
    for act, kind, build in steps:
        act(hands, kind, build)  # type: ignore[operator]
    hands.wait(0, 0)
    assert set(watched.graves(project)) <= hands.disturbed


def test_it_stays_so(watched: Watched) -> None:
    """All those folders, once nothing happened in them for a while."""
    later = Hands(watched, f"later-{time.time_ns()}", watched.root / "aside")
    later.folder.mkdir(parents=True)
    later.cp(0, 0)
    later.wait(0, 0)
    for path in (watched.root / TREE).iterdir():
        hands = Hands(watched, path.name, watched.root / "aside")
        assert list(hands.differences()) == []
