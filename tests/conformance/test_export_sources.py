"""Exports of what is no list: a folder of packages, an index of caseus, another index."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.clients import JSON, ask, upload
from support.exported import Exported, export_by, hrefs, links, times
from support.packages import make_sdist, make_wheel, metadata, sha256
from support.server import CaseusServer, run_cli
from support.upstream import FakeUpstream, Fault, Options

WHEEL = make_wheel("acme-app", "1.0", requires=["click>=8", "rich"], requires_python=">=3.8")
SDIST = make_sdist("acme-app", "1.0", requires_python=">=3.8")
METADATA = metadata("acme-app", "1.0", requires=["click>=8", "rich"], requires_python=">=3.8")


def files_of(tree: dict[str, bytes], project: str) -> dict[str, dict[str, Any]]:
    return {file["filename"]: file for file in json.loads(tree[f"simple/{project}/index.json"])["files"]}


# A folder


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool"
    (folder / "old").mkdir(parents=True)
    for name, data in (WHEEL, SDIST, ("README.md", b"no package"), (".hidden-1.0.zip", b"")):
        (folder / name).write_bytes(data)
    (folder / "old" / "acme_app-0.9.egg").write_bytes(b"what it is, nobody asks")
    return folder


def export_folder(pool: Path, *flags: str) -> Exported:
    return export_by(pool.parent / "tree", "--package-dir", str(pool), *flags)


def test_a_folder_tells_digests_and_metadata(pool: Path) -> None:
    os.utime(pool / WHEEL[0], (1_700_000_000, 1_700_000_000))
    made = export_folder(pool, "--packages-url", "https://files.example.com/pool/")
    assert made.code == 0, made.err
    assert made.out == "3 files of 1 projects: 10 written, 0 as they were, 0 deleted\n"
    files = files_of(made.tree, "acme-app")
    assert set(files) == {WHEEL[0], SDIST[0], "acme_app-0.9.egg"}
    assert files[WHEEL[0]] == {
        "filename": WHEEL[0],
        "url": f"https://files.example.com/pool/{WHEEL[0]}",
        "hashes": {"sha256": sha256(WHEEL[1])},
        "size": len(WHEEL[1]),
        "upload-time": "2023-11-14T22:13:20Z",
        "requires-python": ">=3.8",
        "yanked": False,
    }
    assert files["acme_app-0.9.egg"]["url"] == "https://files.example.com/pool/old/acme_app-0.9.egg"
    assert json.loads(made.tree["pypi/acme-app/json"])["info"]["requires_dist"] == ["click>=8", "rich"]


def test_metadata_is_advertised_where_it_is(pool: Path) -> None:
    """A client dies of FILE.metadata that is advertised and missing."""
    (pool / f"{WHEEL[0]}.metadata").write_bytes(METADATA)
    (pool / f"{WHEEL[0]}.asc").write_bytes(b"signature")
    files = files_of(export_folder(pool, "--packages-url", "x").tree, "acme-app")
    assert files[WHEEL[0]]["core-metadata"] == {"sha256": sha256(METADATA)}
    assert files[WHEEL[0]]["gpg-sig"] is True
    (pool / f"{WHEEL[0]}.metadata").unlink()
    assert "core-metadata" not in files_of(export_folder(pool, "--packages-url", "x").tree, "acme-app")[WHEEL[0]]


def test_what_was_read_is_remembered(pool: Path) -> None:
    """A file of the same size and time is not read again; one that was touched is."""
    export_folder(pool, "--packages-url", "x")
    before = times(pool.parent / "tree")
    status = (pool / WHEEL[0]).stat()
    (pool / WHEEL[0]).write_bytes(WHEEL[1][:-1] + b"x")
    os.utime(pool / WHEEL[0], ns=(status.st_atime_ns, status.st_mtime_ns))
    made = export_folder(pool, "--packages-url", "x")
    assert files_of(made.tree, "acme-app")[WHEEL[0]]["hashes"] == {"sha256": sha256(WHEEL[1])}
    assert times(pool.parent / "tree") == before
    os.utime(pool / WHEEL[0])
    made = export_folder(pool, "--packages-url", "x")
    assert files_of(made.tree, "acme-app")[WHEEL[0]]["hashes"] == {"sha256": sha256(WHEEL[1][:-1] + b"x")}
    (pool.parent / "tree" / "caseus-export.files").write_bytes(b"damaged")
    assert export_folder(pool, "--packages-url", "x").code == 0


def test_files_in_the_tree(pool: Path) -> None:
    made = export_folder(pool, "--with-files")
    assert made.code == 0, made.err
    tree = made.tree
    assert tree[f"simple/acme-app/{WHEEL[0]}"] == WHEEL[1]
    assert tree[f"simple/acme-app/{WHEEL[0]}.metadata"] == METADATA
    assert files_of(tree, "acme-app")[WHEEL[0]]["core-metadata"] == {"sha256": sha256(METADATA)}
    assert set(hrefs(tree["simple/acme-app/index.html"])) == {
        f"{name}#sha256={sha256((path).read_bytes())}"
        for name, path in ((path.name, path) for path in pool.rglob("acme*"))
    }
    for file in files_of(tree, "acme-app").values():
        assert f"simple/acme-app/{file['url']}" in tree
    assert (pool / WHEEL[0]).stat().st_nlink == 2  # a link, no copy
    before = times(pool.parent / "tree")
    assert "0 written" in export_folder(pool, "--with-files").out
    assert times(pool.parent / "tree") == before
    (pool / WHEEL[0]).unlink()
    gone = export_folder(pool, "--with-files").tree
    assert not [path for path in gone if WHEEL[0] in path]
    elsewhere = export_folder(pool, "--packages-url", "https://files.example.com/").tree
    assert not [path for path in elsewhere if path.endswith((".tar.gz", ".egg"))]


def test_a_name_in_two_folders(pool: Path) -> None:
    (pool / "old" / WHEEL[0]).write_bytes(WHEEL[1])
    made = export_folder(pool, "--packages-url", "x")
    assert made.code == 1 and "is there twice" in made.err


def test_broken_archives_are_listed_all_the_same(pool: Path) -> None:
    (pool / "acme_app-2.0-py3-none-any.whl").write_bytes(b"PK nothing")
    files = files_of(export_folder(pool, "--with-files").tree, "acme-app")
    assert "core-metadata" not in files["acme_app-2.0-py3-none-any.whl"]
    assert files["acme_app-2.0-py3-none-any.whl"]["hashes"] == {"sha256": hashlib.sha256(b"PK nothing").hexdigest()}


def test_github_pages(pool: Path) -> None:
    tree = export_folder(pool, "--with-files", "--github-pages", "--style", "dumb-pypi").tree
    assert {".nojekyll", "404.html", "robots.txt", "index.html"} <= set(tree)
    assert tree["robots.txt"] == b"User-agent: *\nDisallow: /\n"


# An index of caseus


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CaseusServer]:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "caseus.toml").write_text('upstream = "none"\n')
    with CaseusServer(tmp_path / "root", upstream=None) as server:
        for file in (WHEEL, SDIST, make_wheel("Acme.Lib", "1.0"), make_wheel("acme-lib", "1.1")):
            assert upload(server.url, *file, login=server.admin).status == 200
        yield server


def export_index(server: CaseusServer, *flags: str) -> Exported:
    made = export_by(server.root.parent / "tree", "--index", "main", "--root", str(server.root), *flags)
    assert made.code == 0, made.err
    return made


def assert_served(server: CaseusServer, tree: dict[str, bytes], *paths: str) -> None:
    """The pages have the server's bytes, in both forms."""
    for path in paths:
        for accept, name in ((JSON, "index.json"), ("text/html", "index.html")):
            assert tree[f"{path}{name}"] == ask(server.url + path, headers={"Accept": accept}).body


def test_an_index_beside_its_server(server: CaseusServer) -> None:
    """Each kind of page that readers of the API see."""
    projects = ("simple/", "simple/acme-app/", "simple/acme-lib/")
    assert_served(server, export_index(server).tree, *projects)
    assert run_cli("project", "yank", "acme-lib==1.1", "--reason", "<bad>", "--root", server.root).returncode == 0
    assert run_cli("project", "yank", WHEEL[0], "--root", server.root).returncode == 0
    made = export_index(server)
    assert_served(server, made.tree, *projects)
    assert "deleted" in made.out and b"data-yanked" in made.tree["simple/acme-app/index.html"]


def test_the_page_at_the_top_is_the_servers(server: CaseusServer) -> None:
    home = ask(server.url).body
    assert export_index(server, "--base-url", server.url).tree["index.html"] == home


def test_a_name_of_which_all_was_deleted_has_a_page(server: CaseusServer) -> None:
    """A 404 would make clients look for it elsewhere."""
    export_index(server)
    assert run_cli("project", "delete", "acme-lib", "--yes", "--root", server.root).returncode == 0
    made = export_index(server)
    assert_served(server, made.tree, "simple/", "simple/acme-lib/")
    assert hrefs(made.tree["simple/acme-lib/index.html"]) == []
    assert hrefs(made.tree["simple/index.html"]) == ["acme-app/"]
    assert not [path for path in made.tree if path.startswith("pypi/acme-lib")]


def test_only_what_changed_in_the_index_is_written(server: CaseusServer) -> None:
    export_index(server)
    before = times(server.root.parent / "tree")
    assert upload(server.url, *make_wheel("acme-new", "1.0"), login=server.admin).status == 200
    export_index(server)
    after = times(server.root.parent / "tree")
    assert {path for path in before if after[path] != before[path]} == {
        "caseus-export.state", "changelog/page1.html", "index.html", "packages.json", "simple/index.html",
        "simple/index.json",
    }  # fmt: skip


def test_a_stopped_index_with_its_files(server: CaseusServer) -> None:
    server.stop()
    tree = export_index(server, "--with-files").tree
    assert tree[f"simple/acme-app/{WHEEL[0]}"] == WHEEL[1]
    assert tree[f"simple/acme-app/{WHEEL[0]}.metadata"] == METADATA
    for name in ("acme-app", "acme-lib"):
        assert all(
            f"simple/{name}/{href.partition('#')[0]}" in tree for href in hrefs(tree[f"simple/{name}/index.html"])
        )


def test_cached_files_of_an_upstream(tmp_path: Path) -> None:
    """Only those whose bytes are here; a name of ours is never an upstream's."""
    with FakeUpstream(style="html") as upstream:
        upstream.projects["lib-a"] = [make_wheel("lib-a", version) for version in ("1.0", "2.0")]
        upstream.projects["acme-app"] = [make_wheel("acme-app", "9.0")]
        with CaseusServer(tmp_path / "root", upstream=upstream.url) as server:
            assert ask(f"{server.url}simple/lib-a/lib_a-1.0-py3-none-any.whl").status == 200
            assert ask(f"{server.url}simple/lib-a/lib_a-1.0-py3-none-any.whl.metadata").status == 200
            assert ask(f"{server.url}simple/acme-app/acme_app-9.0-py3-none-any.whl").status == 200
            assert upload(server.url, *WHEEL, login=server.admin).status == 200
            assert "simple/lib-a/index.html" not in export_index(server).tree
            tree = export_index(server, "--with-cached", "--with-files").tree
    assert set(files_of(tree, "lib-a")) == {"lib_a-1.0-py3-none-any.whl"}
    assert "core-metadata" in files_of(tree, "lib-a")["lib_a-1.0-py3-none-any.whl"]
    assert set(files_of(tree, "acme-app")) == {WHEEL[0]}
    assert tree["simple/lib-a/lib_a-1.0-py3-none-any.whl"] == upstream.projects["lib-a"][0][1]


def test_no_index_there(tmp_path: Path) -> None:
    made = export_by(tmp_path / "tree", "--index", "main", "--root", str(tmp_path / "nope"))
    assert (made.code, made.tree) == (2, {}) and "no index in" in made.err


def test_lists_beside_the_files_are_lists_too(server: CaseusServer, tmp_path: Path) -> None:
    """packages.jsonl of all projects, one after the other: what an index is rebuilt from."""
    assert run_cli("project", "yank", "acme-lib==1.1", "--root", server.root).returncode == 0  # for no reason
    whole = export_index(server).tree
    text = "".join(path.read_text() for path in sorted(server.root.rglob("packages.jsonl")))
    flags = ["--package-list-json", "-", "--style", "caseus", "--packages-url", "https://files.example.com/"]
    again = export_by(tmp_path / "again", *flags, input=text).tree
    assert again["simple/index.html"] == whole["simple/index.html"]
    for name in ("acme-app", "acme-lib"):
        told = [files_of(tree, name).values() for tree in (whole, again)]
        keys = ("filename", "hashes", "size", "upload-time", "requires-python", "core-metadata", "yanked")
        assert [[file.get(key) for key in keys] for file in told[0]] == [
            [file.get(key) for key in keys] for file in told[1]
        ]


# Another index


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        upstream.projects["lib-a"] = [
            (*make_wheel("lib-a", "1.0"), Options(requires_python=">=3.7", metadata=b"Metadata-Version: 2.1\n")),
            (*make_sdist("lib-a", "2.0"), Options(yanked="bad", upload_time="2024-01-02T03:04:05Z")),
            (*make_wheel("lib-a", "3.0"), Options(yanked=True)),
        ]
        upstream.projects["lib-b"] = [make_wheel("lib-b", "1.0")]
        yield upstream


@pytest.mark.parametrize("style", ["json", "html"])
def test_another_index(upstream: FakeUpstream, tmp_path: Path, style: Any) -> None:
    upstream.style = style
    made = export_by(tmp_path / "tree", "--simple-url", upstream.url)
    assert made.code == 0, made.err
    files = files_of(made.tree, "lib-a")
    wheel = files["lib_a-1.0-py3-none-any.whl"]
    assert wheel["url"] == upstream.url.removesuffix("simple/") + "files/lib-a/lib_a-1.0-py3-none-any.whl"
    assert wheel["core-metadata"] == {"sha256": sha256(b"Metadata-Version: 2.1\n")}
    assert [files[name]["yanked"] for name in sorted(files)] == [False, "bad", True]
    assert files["lib_a-2.0.tar.gz"]["upload-time"] == "2024-01-02T03:04:05Z"
    assert ask(wheel["url"]).body == upstream.projects["lib-a"][0][1]
    attributes = {link.text: link.attributes for link in links(made.tree["simple/lib-a/index.html"])}
    assert attributes["lib_a-2.0.tar.gz"]["data-yanked"] == "bad"
    assert "data-yanked" in attributes["lib_a-3.0-py3-none-any.whl"]


def test_some_projects_of_another_index(upstream: FakeUpstream, tmp_path: Path) -> None:
    made = export_by(tmp_path / "tree", "--simple-url", upstream.url, "--project", "lib-*", "--exclude", "*-b")
    assert hrefs(made.tree["simple/index.html"]) == ["lib-a/"]


def test_a_page_that_fails_leaves_the_tree_as_it_was(upstream: FakeUpstream, tmp_path: Path) -> None:
    """An index that errs must cost nobody a project."""
    whole = export_by(tmp_path / "tree", "--simple-url", upstream.url).tree
    upstream.fail(Fault("status", status=503), "/simple/lib-b/")
    made = export_by(tmp_path / "tree", "--simple-url", upstream.url)
    assert made.code == 2 and "503" in made.err
    assert made.tree == whole
    del upstream.projects["lib-b"]
    upstream.heal()
    assert hrefs(export_by(tmp_path / "tree", "--simple-url", upstream.url).tree["simple/index.html"]) == ["lib-a/"]


def test_an_index_is_only_read(server: CaseusServer, start_caseus: Callable[..., CaseusServer]) -> None:
    """Exporting changes nothing that the catalog knows."""
    with closing(sqlite3.connect(server.root / "catalog.sqlite")) as connection:
        before = list(connection.iterdump())
    export_index(server, "--with-cached", "--with-files")
    with closing(sqlite3.connect(server.root / "catalog.sqlite")) as connection:
        assert list(connection.iterdump()) == before
