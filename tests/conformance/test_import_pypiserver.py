"""`caseus import pypiserver`, on a folder that the real program filled."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from caseus.catalog import Catalog
from support.clients import Shell, ask, installed, listed, tool, upload, write
from support.gocheese import snapshot
from support.importing import SIGNATURE, run_stock
from support.packages import make_sdist, make_wheel, sha256
from support.peers import pypiserver
from support.server import CaseusServer, run_cli

ACME = (make_wheel("acme", "1.0", requires_python=">=3.8"), make_sdist("acme", "1.0"))
APP = make_wheel("Acme.App", "2.0", requires=["acme"])


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A data folder that a server made and left."""
    root = tmp_path / "data"
    root.mkdir()
    Catalog.open(root).close()
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


def old_sdist(stem: str, name: str, version: str) -> tuple[str, bytes]:
    """As setuptools named and made them before PEP 625."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        data = f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n".encode()
        entry = tarfile.TarInfo(f"{stem}/PKG-INFO")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return f"{stem}.tar.gz", buffer.getvalue()


def test_what_pypiserver_published(folder: Path, tmp_path: Path) -> None:
    """Uploaded by twine to pypiserver, served by caseus; its users go on to upload."""
    htpasswd, shell = tmp_path / "htpasswd", Shell(tmp_path / "home")
    subprocess.run(["htpasswd", "-cbm", htpasswd, "mia", "camembert"], check=True, capture_output=True)
    wheel, sdist, app = write(tmp_path / "dist", *ACME, APP)
    signature = Path(f"{wheel}.asc")
    signature.write_bytes(SIGNATURE)
    env = {"TWINE_USERNAME": "mia", "TWINE_PASSWORD": "camembert"}
    flags = ("--non-interactive", "--disable-progress-bar")
    with pypiserver(folder, htpasswd) as url:
        for files in ((wheel, signature), (sdist,), (app,)):
            shell.run(tool("twine"), "upload", *flags, "--repository-url", url, *files, env=env).ok()
        answer = ask(f"{url}simple/acme/")
        assert answer.status == 200 and ACME[0][0].encode() in answer.body
    os.utime(folder / ACME[0][0], (1_600_000_000, 1_600_000_000))
    before = snapshot(folder)
    with CaseusServer(tmp_path / "data") as server:
        done = run_stock(server.root, "pypiserver", folder, "--htpasswd", htpasswd)
        assert (done.code, done.err, done.count("taken")) == (0, "", 3)
        assert done.report["users"] == {"taken": 1}
        acme = listed(server.url, "acme")
        assert {name: entry["hashes"]["sha256"] for name, entry in acme.items()} == {n: sha256(d) for n, d in ACME}
        assert acme[ACME[0][0]]["upload-time"] == "2020-09-13T12:26:40Z"
        assert ask(f"{server.url}simple/acme/{ACME[0][0]}.asc").body == SIGNATURE
        shell.install("pip", f"{server.url}simple/", "acme-app", into=tmp_path / "site").ok()
        assert installed(tmp_path / "site") == {"acme": "1.0", "acme.app": "2.0"}
        assert upload(server.url, *make_wheel("acme", "2.0"), login=("mia", "camembert")).status == 200
        assert run_cli("verify", "--root", server.root).returncode == 0
        again = run_stock(server.root, "pypiserver", folder, "--htpasswd", htpasswd)
        assert (again.code, again.count("there already"), again.report["users"]) == (0, 3, {"there already": 1})
    assert snapshot(folder) == before


def test_folders_below_and_what_pypiserver_passes_over(folder: Path, empty: Path) -> None:
    write(folder / "team" / "deep", ACME[0])
    write(folder / ".hidden", ACME[1])
    write(folder, (f".{APP[0]}", APP[1]), ("README.txt", b"by hand"), ("acme-1.0.exe", b"MZ"), ("acme-1.0.egg", b"PK"))
    done = run_stock(empty, "pypiserver", folder)
    assert (done.code, done.count("taken")) == (0, 1)
    assert set(done.reasons("skipped")) == {"acme-1.0.exe", "acme-1.0.egg"}


def test_one_name_in_two_folders(folder: Path, empty: Path) -> None:
    write(folder / "a", *ACME)
    write(folder / "b", ACME[0], (ACME[1][0], make_sdist("acme", "1.0", content=b"# other\n")[1]))
    for expected in ("taken", "there already"):
        done = run_stock(empty, "pypiserver", folder)
        assert (done.code, done.count(expected)) == (1, 2)
        assert done.reasons("conflict") == {
            f"b/{ACME[1][0]}": f"a/{ACME[1][0]} has this name too, with other bytes: only that is taken"
        }


def test_old_names_of_sdists_are_read_as_their_metadata_says(folder: Path, empty: Path) -> None:
    write(folder, old_sdist("acme-1.0-1", "acme", "1.0-1"), old_sdist("acme-2-1.0", "acme-2", "1.0"))
    write(folder, ("acme-3.0-1.tar.gz", b"broken"))
    done = run_stock(empty, "pypiserver", folder)
    assert (done.code, list(done.reasons("damaged"))) == (1, ["acme-3.0-1.tar.gz"])
    catalog = Catalog.open(empty)
    assert {file.filename: (file.project, file.version) for file in catalog.all_hosted()} == {
        "acme-1.0-1.tar.gz": ("acme", "1.0.post1"),
        "acme-2-1.0.tar.gz": ("acme-2", "1.0"),
    }
    catalog.close()


def test_damage_is_told_and_the_rest_is_taken(folder: Path, empty: Path) -> None:
    write(folder, ACME[0], (ACME[1][0], ACME[1][1][:100]), (APP[0], b"<html>login</html>"))
    done = run_stock(empty, "pypiserver", folder)
    assert (done.code, done.count("taken")) == (1, 1)
    assert set(done.reasons("damaged")) == {ACME[1][0], APP[0]}
    assert done.err.endswith("caseus: error: 2 could not be taken: see the report\n")
    assert done.report["warnings"][0].endswith("would be asked upstream: acme-app; add them to `private`")


def test_a_yank_that_was_made_here_stays(folder: Path, empty: Path) -> None:
    """pypiserver knows no yanks: that it tells none means nothing."""
    write(folder, ACME[0])
    assert run_stock(empty, "pypiserver", folder).code == 0
    assert run_cli("project", "yank", "acme", "--reason", "bad", "--root", empty).returncode == 0
    assert run_stock(empty, "pypiserver", folder).count("there already") == 1
    catalog = Catalog.open(empty)
    assert [file.yanked for file in catalog.all_hosted()] == ["bad"]
    catalog.close()


def test_bad_usage(folder: Path, empty: Path, tmp_path: Path) -> None:
    nothing = run_stock(empty, "pypiserver", folder)
    assert nothing.code == 1 and "there is no project in" in nothing.err
    htpasswd = run_stock(empty, "pypiserver", folder, "--htpasswd", tmp_path / "absent")
    assert htpasswd.code == 2 and "can't be read" in htpasswd.err
