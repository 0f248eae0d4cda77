"""kill -9 at each step of an export and of live publishing.

No reader meets a dead link or half a page, and the next run makes the tree good, whatever list that one has.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caseus.site import MAIN, build
from faults.dying_worker import publish
from support.dying import Outcome, Worker, each_step
from support.exported import hrefs, write_list
from support.figures import Figures
from support.packages import make_wheel
from support.web import make_config

pytestmark = pytest.mark.usefixtures("no_certificates")

OLD = [
    {"filename": "gone-1.0.zip", "upload_timestamp": 10},
    {"filename": "foo-1.0.zip", "upload_timestamp": 20},
    {"filename": "foo-0.9.zip", "upload_timestamp": 30},
    {"filename": "same-1.0.zip", "upload_timestamp": 40},
    {"filename": "bar-1.0.zip", "upload_timestamp": 50},
]
NEW = [
    {"filename": "foo-1.0.zip", "upload_timestamp": 20, "yanked_reason": "breaks"},
    {"filename": "same-1.0.zip", "upload_timestamp": 40},
    {"filename": "extra-1.0.zip", "upload_timestamp": 60},
]
NOTES = re.compile(r"caseus-(export|publish)\.(state|running)|\.caseus-export\.new(/.*)?|.*\.new").fullmatch
"""What no page leads to."""


def pages(tree: Path) -> dict[str, bytes]:
    """All that a reader can ask for."""
    found = {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    return {key: data for key, data in found.items() if not NOTES(key)}


def everything(folder: Path) -> dict[str, bytes]:
    """With what is beside the tree, and folders that may be empty."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def dead_links(found: dict[str, bytes]) -> list[tuple[str, str]]:
    """Of pages to others: (page, link)."""
    dead = []
    for key, data in found.items():
        if key.endswith("index.html") or (key.startswith("changelog/") and key.endswith(".html")):
            for link in hrefs(data):
                path = posixpath.normpath(posixpath.join(posixpath.dirname(key), link.partition("#")[0]))
                path += "/index.html" if link.endswith("/") else ""
                if ":" not in link and not link.partition("#")[0].endswith((".zip", ".whl")) and path not in found:
                    dead.append((key, link))
    return dead


def check(found: dict[str, bytes], *trees: dict[str, bytes]) -> None:
    """Each page is as in one of the trees, and leads to pages."""
    assert dead_links(found) == []
    for key, data in found.items():
        assert data in [tree.get(key) for tree in trees], f"{key} is of neither tree"


@pytest.fixture
def stride(rounds: Callable[[int, int], int]) -> int:
    """Every third step; every one in the long form."""
    return rounds(3, 1)


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "next"])
@pytest.mark.parametrize(
    "ways",
    [{"atomic": False, "compress": []}, {"atomic": False, "compress": ["gz"]}, {"atomic": True, "compress": []}],
    ids=["plain", "compressed", "atomic"],
)
def test_export(
    worker: Worker, memory: Path, figures: Figures, stride: int, ways: dict[str, Any], earlier: bool
) -> None:
    template = memory / "template"
    template.mkdir()
    write_list(template / "old", OLD)
    write_list(template / "new", NEW)

    def run(root: Path, which: str, step: int = 0, torn: bool = False) -> Outcome:
        return worker.run("export", root, step, torn=torn, list=which, **ways)

    wanted = {}
    for which in ("old", "new"):
        shutil.copytree(template, memory / which)
        assert run(memory / which, which).said == ["exported"]
        wanted[which] = everything(memory / which / "tree")
    before: dict[str, bytes] = {}
    if earlier:
        shutil.copytree(memory / "old/tree", template / "tree")
        before = pages(template / "tree")
    after = pages(memory / "new/tree")
    kills = 0
    for root, outcome in each_step(template, memory, lambda root, step, torn: run(root, "new", step, torn), stride):
        kills += outcome.killed
        found = pages(root / "tree")
        check(found, before, after)
        if ways["atomic"] and earlier:
            assert found in (before, after)
        back = memory / "back"
        shutil.copytree(root, back, symlinks=True)
        for folder, which in ((root, "new"), (back, "old")):
            assert run(folder, which).said == ["exported"]
            made = everything(folder)
            assert {key for key in made if not key.startswith("tree")} == {"old", "new"}, outcome.steps[-2:]
            told = {key.removeprefix("tree/"): data for key, data in made.items() if key.startswith("tree/")}
            assert told.keys() == wanted[which].keys(), outcome.steps[-2:]
            assert pages(folder / "tree") == {
                key: data for key, data in wanted[which].items() if data and not NOTES(key)
            }
        shutil.rmtree(back)
    figures.add("kill -9 at each step", {"in an export": kills})
    assert kills > 30 / stride


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "next"])
def test_publish(worker: Worker, memory: Path, figures: Figures, stride: int, earlier: bool) -> None:
    template = memory / "template"
    index = template / "index"
    before: dict[str, bytes] = {}

    def change(*names: str, delete: str = "") -> None:
        site = build(make_config(index))
        publisher = site.indexes[MAIN].publisher
        for name in names:
            assert publish(publisher, name, "1.0", *make_wheel(name, "1.0")) == "published"
        if delete:
            publisher.delete(publisher.select(delete), "a mistake", "alice")
        site.close()

    change("foo", "gone", "same")
    if earlier:
        assert worker.run("publish", template).said == ["published"]
        before = pages(template / "tree")
        assert "simple/gone/index.html" in before
    change("extra", delete="gone")
    shutil.copytree(template, memory / "whole")
    assert worker.run("publish", memory / "whole").said == ["published"]
    after = pages(memory / "whole/tree")
    assert after.keys() >= {"index.html", "simple/index.json", "simple/extra/index.html"}
    assert b"extra" in after["simple/index.html"] and b"gone" not in after["simple/index.html"]
    kills = 0
    for root, outcome in each_step(
        template, memory, lambda root, step, torn: worker.run("publish", root, step, torn=torn), stride
    ):
        kills += outcome.killed
        if (root / "tree").exists():
            check(pages(root / "tree"), before, after)
        assert worker.run("publish", root).said == ["published"]
        assert pages(root / "tree") == after
        assert not list((root / "tree").rglob("*.new")), outcome.steps[-2:]
    figures.add("kill -9 at each step", {"in live publishing": kills})
    assert kills > 20 / stride
