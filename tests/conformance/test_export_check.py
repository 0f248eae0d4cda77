"""`caseus export --check`: a tree compared with what it should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caseus.errors import NotFound
from caseus.export import Difference, Options, PackageList, check, export
from support.clients import upload
from support.exported import Exported, export_by, many_lines, times, write_list
from support.packages import make_wheel
from support.server import CaseusServer

WAYS: list[dict[str, Any]] = [
    {},
    {"timestamp": False, "compress": ("gz", "zst")},
    {"style": "caseus", "simple_json": True, "rss": True, "base_url": "https://pkgs.example.com/", "compress": ("gz",)},
]


@pytest.fixture(params=WAYS, ids=["classic", "compressed", "caseus"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[PackageList, Path, Options]:
    """A source, its tree, and the options that it was made by."""
    options = Options(packages_url="x", **request.param)
    source = PackageList(write_list(tmp_path / "list", [*many_lines(60), {"filename": "foo-1.0.zip"}]))
    export(source, tmp_path / "tree", options, clock=lambda: 1_700_000_000)
    return source, tmp_path / "tree", options


def test_a_tree_that_is_right(made: tuple[PackageList, Path, Options]) -> None:
    before = times(made[1])
    assert check(*made) == []
    assert times(made[1]) == before


def test_every_difference_is_found(made: tuple[PackageList, Path, Options]) -> None:
    _, tree, _ = made
    pages = [path for path in times(tree) if path != "caseus-export.state"]
    for path in pages:
        data = (tree / path).read_bytes()
        (tree / path).write_bytes(data[:-3] + b"???")
        assert check(*made) == [Difference("different", path)], path
        (tree / path).unlink()
        assert check(*made) == [Difference("missing", path)], path
        (tree / path).write_bytes(data)
    assert check(*made) == []


def test_what_is_too_much(made: tuple[PackageList, Path, Options]) -> None:
    """Only pages that an export would write; other files are somebody's."""
    _, tree, _ = made
    extra = ["changelog/page9.html", "pypi/gone/1.0/json", "pypi/gone/json", "simple/gone/index.html"]
    for path in [*extra, "simple/foo/foo-1.0.zip", "favicon.ico", "pypi/gone/notes"]:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(b"")
    assert check(*made) == [Difference("extra", path) for path in extra]


def test_no_tree(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no tree"):
        check(PackageList(write_list(tmp_path / "list", [])), tmp_path / "nope")


def test_an_index_and_its_tree(tmp_path: Path, start_caseus: Callable[..., CaseusServer]) -> None:
    server = start_caseus(root=tmp_path / "root")
    assert upload(server.url, *make_wheel("acme-app", "1.0"), login=server.admin).status == 200
    flags = ("--index", "main", "--root", str(tmp_path / "root"), "--with-files")

    def run(*more: str) -> Exported:
        return export_by(tmp_path / "tree", *flags, *more)

    assert run().code == 0
    assert (run("--check").code, run("--check").out) == (0, "")
    assert upload(server.url, *make_wheel("acme-app", "2.0"), login=server.admin).status == 200
    (tmp_path / "tree/simple/acme-app/acme_app-1.0-py3-none-any.whl.metadata").unlink()
    os.unlink(tmp_path / "tree/simple/acme-app/acme_app-1.0-py3-none-any.whl")
    (tmp_path / "tree/simple/acme-app/acme_app-1.0-py3-none-any.whl").write_bytes(b"damaged")
    found = run("--check", "--json")
    assert found.code == 1 and "differences found in" in found.err
    kinds = {each["key"]: each["kind"] for each in json.loads(found.out)}
    assert kinds["simple/acme-app/acme_app-1.0-py3-none-any.whl"] == "different"
    assert kinds["simple/acme-app/acme_app-1.0-py3-none-any.whl.metadata"] == "missing"
    assert kinds["simple/acme-app/acme_app-2.0-py3-none-any.whl"] == "missing"
    assert kinds["simple/acme-app/index.json"] == "different"
    assert run().code == 0
    (tmp_path / "tree/caseus-export.state").unlink()
    assert run().code == 0
    assert run("--check").out == ""
