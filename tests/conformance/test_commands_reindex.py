"""`caseus reindex`: what readers see comes back from files/ alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.clients import ask
from support.packages import make_sdist, make_wheel, metadata, sha256
from support.server import CaseusServer, run_cli
from support.stocked import (
    DELETED,
    JSON,
    SDIST,
    SIGNATURE,
    WHEEL,
    YANKED,
    cli_json,
    pages,
    publish,
    stocked_root,
)

ACME = Path("files/main/acme")


Pages = dict[tuple[str, str], bytes]


@pytest.fixture
def served(tmp_path: Path) -> Pages:
    """What the server served when `root` was its."""
    return stocked_root(tmp_path / "data")


@pytest.fixture
def root(served: Pages, tmp_path: Path) -> Path:
    return tmp_path / "data"


def lose_catalog(root: Path) -> None:
    for path in (*root.glob("catalog.sqlite*"), root / "serial"):
        path.unlink()


def project_json(server: CaseusServer, project: str) -> Any:
    return ask(f"{server.url}simple/{project}/", headers={"Accept": JSON}).json()


@pytest.mark.parametrize("fate", ["lost", "overwritten", "cut", "whole"])
def test_pages_are_what_they_were(root: Path, served: Pages, fate: str) -> None:
    catalog = root / "catalog.sqlite"
    if fate == "lost":
        lose_catalog(root)
    elif fate == "overwritten":
        catalog.write_bytes(os.urandom(20_000))
    elif fate == "cut":
        catalog.write_bytes(catalog.read_bytes()[:6000])
    done = cli_json("reindex", "--root", root, *(["--yes"] if fate != "lost" else []))
    assert (done["projects"], done["files"], done["tombstones"], done["damages"]) == (3, 6, 2, [])
    assert done["unlisted"] == []
    if fate == "lost":
        assert done["moved_to"] is None
    else:
        assert done["moved_to"].startswith(f"catalog.sqlite.{'replaced' if fate == 'whole' else 'damaged'}-")
        assert (root / done["moved_to"]).exists()
    assert run_cli("verify", "--root", root).stdout == "verified 6 files: all as they were\n"
    assert not (root / ".reindex").exists()
    with CaseusServer(root) as server:
        assert pages(server) == served
        assert ask(f"{server.url}simple/acme/{WHEEL[0]}").body == WHEEL[1]
        assert ask(f"{server.url}simple/acme/{WHEEL[0]}.asc").body == SIGNATURE
        assert publish(server, DELETED) == 409  # a tombstone outlives the catalog
        assert publish(server, make_wheel("acme", "2.0")) == 200


def test_users_and_tokens_of_a_whole_catalog_stay(root: Path) -> None:
    token = run_cli("token", "create", "--user", "admin", "--root", root).stdout.strip()
    assert cli_json("reindex", "--yes", "--root", root)["users"] == 1
    with CaseusServer(root) as server:
        assert publish(server, make_wheel("acme", "2.0"), login=("__token__", token)) == 200
        assert publish(server, make_wheel("acme", "2.1"), login=server.admin) == 200


def test_the_serial_goes_on_growing(root: Path) -> None:
    before = cli_json("info", "--root", root)["serial"]
    (root / "catalog.sqlite").unlink()
    run_cli("reindex", "--root", root)
    assert cli_json("info", "--root", root)["serial"] > before


def test_without_a_catalog_nothing_is_served_beside_the_files(root: Path) -> None:
    """An empty catalog would take private names for nobody's, and ask the upstream for them."""
    lose_catalog(root)
    for command in (("serve", root, "--port", "0"), ("user", "add", "eve", "--password-stdin", "--root", root)):
        done = run_cli(*command, input="correct horse")
        assert done.returncode == 2 and "caseus reindex" in done.stderr
        assert not (root / "catalog.sqlite").exists()


def test_it_asks_before_it_replaces_a_catalog(root: Path) -> None:
    before = (root / "catalog.sqlite").read_bytes()
    done = run_cli("reindex", "--root", root)
    assert done.returncode == 2 and "--yes" in done.stderr and done.stdout == ""
    assert (root / "catalog.sqlite").read_bytes() == before


def test_it_refuses_while_a_server_runs(root: Path) -> None:
    with CaseusServer(root) as server:
        done = server.cli("reindex", "--yes")
        assert done.returncode == 2 and "stop it first" in done.stderr
        assert publish(server, make_wheel("acme", "2.0")) == 200


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    done = run_cli("reindex", "--root", tmp_path / "nowhere")
    assert done.returncode == 2 and not (tmp_path / "nowhere").exists()


def test_damage_is_told_and_names_stay_bound(root: Path) -> None:
    (root / ACME / WHEEL[0]).unlink()
    (root / ACME / SDIST[0]).write_bytes(bytes([SDIST[1][0] ^ 1]) + SDIST[1][1:])
    lose_catalog(root)
    done = cli_json("reindex", "--root", root, code=1)
    assert {(each["kind"], each["key"]) for each in done["damages"]} == {
        ("missing", str(ACME / WHEEL[0])),
        ("wrong digest", str(ACME / SDIST[0])),
    }
    assert done["files"] == 6
    with CaseusServer(root) as server:
        assert publish(server, make_wheel("acme", "1.0", content=b"# other")) == 409
        assert ask(f"{server.url}simple/acme/{WHEEL[0]}").status == 503


def test_digests_need_not_be_checked(root: Path) -> None:
    (root / ACME / SDIST[0]).write_bytes(bytes([SDIST[1][0] ^ 1]) + SDIST[1][1:])
    (root / ACME / YANKED[0]).write_bytes(YANKED[1][:-1])
    lose_catalog(root)
    done = cli_json("reindex", "--no-check-digests", "--root", root, code=1)
    assert [(each["kind"], each["key"]) for each in done["damages"]] == [("wrong size", str(ACME / YANKED[0]))]


def test_a_damaged_list_is_used_as_far_as_it_goes(root: Path, served: Pages) -> None:
    file = root / ACME / "packages.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    assert WHEEL[0].encode() in lines[0]
    file.write_bytes(b'{"filename": \xff\n' + b"".join(lines[1:]) + b'{"filename": "../x", "hash": "sha256=0"}\n')
    lose_catalog(root)
    done = cli_json("reindex", "--root", root, code=1)
    assert [(each["kind"], each["key"]) for each in done["damages"]] == [
        ("unreadable", str(ACME / "packages.jsonl"))
    ] * 2
    assert done["unlisted"] == [str(ACME / WHEEL[0])]  # by its bytes: only its time and its uploader are lost
    assert file.read_bytes().splitlines(keepends=True)[1:] == lines[1:]
    assert [path.read_bytes()[:14] for path in (root / ".orphans").iterdir()] == [b'{"filename": \xff']
    with CaseusServer(root) as server:
        page = project_json(server, "acme")
    entry, other = page["files"][0], json.loads(served["simple/acme/", JSON])["files"][0]
    assert {**entry, "upload-time": 0} == {**other, "upload-time": 0}


def test_files_that_no_list_knows(root: Path) -> None:
    """Put there by hand, or left by a kill between the name and the list."""
    wheel, sdist = make_wheel("new", "1.0", requires_python=">=3.9"), make_sdist("new", "1.1")
    folder = root / "files/main/new"
    folder.mkdir()
    for name, data in (wheel, sdist):
        (folder / name).write_bytes(data)
        os.utime(folder / name, (1_600_000_000, 1_600_000_000))
    (folder / f"{sdist[0]}.asc").write_bytes(SIGNATURE)
    strangers = ("README.txt", "other-1.0.tar.gz", "new-2.0-py3-none-any.whl", "new-3.0.tar.gz.asc")
    for name in strangers:
        (folder / name).write_bytes(b"no package")
    lose_catalog(root)
    done = cli_json("reindex", "--root", root, code=1)
    assert done["unlisted"] == [f"files/main/new/{wheel[0]}", f"files/main/new/{sdist[0]}"]
    assert {each["key"].rpartition("/")[2] for each in done["damages"]} == set(strangers)
    assert {each["kind"] for each in done["damages"]} == {"extra"}
    with CaseusServer(root) as server:
        first, second = project_json(server, "new")["files"]
        assert (first["upload-time"], first["requires-python"]) == ("2020-09-13T12:26:40Z", ">=3.9")
        assert first["core-metadata"] == {"sha256": sha256(metadata("new", "1.0", requires_python=">=3.9"))}
        assert ask(f"{server.url}simple/new/{wheel[0]}.metadata").status == 200
        assert (second["hashes"], second["gpg-sig"]) == ({"sha256": sha256(sdist[1])}, True)


def test_a_list_of_dumb_pypi(root: Path) -> None:
    sdist = make_sdist("new", "1.1")
    folder = root / "files/main/new"
    folder.mkdir()
    (folder / sdist[0]).write_bytes(sdist[1])
    line = {"filename": sdist[0], "hash": f"sha256={sha256(sdist[1])}", "upload_timestamp": 1_600_000_000}
    (folder / "packages.jsonl").write_text(json.dumps(line | {"uploaded_by": "ann", "yanked_reason": "old"}) + "\n")
    lose_catalog(root)
    assert cli_json("reindex", "--root", root)["unlisted"] == []
    with CaseusServer(root) as server:
        [entry] = project_json(server, "new")["files"]
    assert (entry["upload-time"], entry["yanked"], entry["size"]) == ("2020-09-13T12:26:40Z", "old", len(sdist[1]))


def test_a_filename_is_one_projects(root: Path) -> None:
    folder = root / "files/main/thief"
    folder.mkdir()
    (folder / "packages.jsonl").write_bytes((root / ACME / "packages.jsonl").read_bytes())
    for name in (WHEEL[0], f"{WHEEL[0]}.metadata", f"{WHEEL[0]}.asc"):
        (folder / name).write_bytes((root / ACME / name).read_bytes())
    lose_catalog(root)
    done = cli_json("reindex", "--root", root, code=1)
    assert ("extra", f"files/main/thief/{WHEEL[0]}") in {(each["kind"], each["key"]) for each in done["damages"]}
    assert (done["files"], done["tombstones"]) == (6, 2)
