"""`caseus import devpi`, on what the real devpi-server and devpi-export wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from caseus.catalog import Catalog
from support.clients import Shell, ask, installed, listed, tool, upload, write
from support.gocheese import snapshot
from support.importing import run_stock
from support.packages import make_sdist, make_wheel, sha256
from support.peers import devpi_ask, devpi_export, devpi_server
from support.server import CaseusServer, run_cli
from support.upstream import FakeUpstream, Options

ACME = (make_wheel("acme", "1.0", requires_python=">=3.8"), make_sdist("acme", "1.0"))
APP = make_wheel("Acme.App", "2.0", requires=["acme"])
ALPHA = (make_wheel("alpha", "1.0"), make_wheel("alpha", "2.0"))
ROOT = ("root", "gorgonzola")
USERS = {"mia": "camembert", "bob": "roquefort", "eve": "brie"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export: index mia/dev, to which mia and bob upload, and root/mirror, of which a yanked file was fetched."""
    place = tmp_path_factory.mktemp("devpi")
    shell = Shell(place / "home")
    dist = write(place / "dist", *ACME, APP)
    with (
        FakeUpstream({"alpha": [(*ALPHA[0], Options(yanked="broken")), ALPHA[1]]}) as upstream,
        devpi_server(place / "server") as url,
    ):
        for user, password in USERS.items():
            devpi_ask(url, "PUT", f"/{user}", password=password)
        devpi_ask(url, "PUT", "/mia/dev", ("mia", "camembert"), type="stage", bases=[], acl_upload=["mia", "bob"])
        devpi_ask(
            url, "PUT", "/bob/open", ("bob", "roquefort"), bases=["mia/dev"], acl_upload=[":AUTHENTICATED:", ":qa"]
        )
        devpi_ask(url, "PUT", f"/{ROOT[0]}/mirror", ROOT, type="mirror", mirror_url=upstream.url)
        for index, files in (("mia/dev", dist), ("bob/open", dist[:1])):
            env = {"TWINE_USERNAME": "bob", "TWINE_PASSWORD": "roquefort"}
            flags = ("--non-interactive", "--disable-progress-bar", "--repository-url", f"{url}{index}/")
            shell.run(tool("twine"), "upload", *flags, *files, env=env).ok()
        site = place / "site"
        shell.install("pip", f"{url}root/mirror/+simple/", "alpha==1.0", "--trusted-host", "127.0.0.1", into=site).ok()
    return devpi_export(place / "server", place / "export", "--include-mirrored-files")


@pytest.fixture
def export(made: Path, tmp_path: Path) -> Path:
    """One that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "export"))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A data folder that a server made and left."""
    root = tmp_path / "data"
    root.mkdir()
    Catalog.open(root).close()
    return root


def change(export: Path, index: str, **fields: Any) -> None:
    """Change what dataindex.json says of the first file of an index."""
    path = export / "dataindex.json"
    told = json.loads(path.read_text())
    told["indexes"][index]["files"][0].update(fields)
    path.write_text(json.dumps(told))


def first_of(export: Path, index: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((export / "dataindex.json").read_text())["indexes"][index]["files"][0]
    return told


def test_an_index_with_its_users(made: Path, tmp_path: Path) -> None:
    before = snapshot(made)
    with CaseusServer(tmp_path / "data") as server:
        done = run_stock(server.root, "devpi", made, "--index", "mia/dev")
        assert (done.code, done.err, done.count("taken")) == (0, "", 3)
        assert done.report["users"] == {"taken": 4} and done.report["warnings"] == []
        acme = listed(server.url, "acme")
        assert {name: entry["hashes"]["sha256"] for name, entry in acme.items()} == {n: sha256(d) for n, d in ACME}
        logged = json.loads((made / "dataindex.json").read_text())["indexes"]["mia/dev"]["files"]
        when = next(entry["log"][0]["when"] for entry in logged if entry["relpath"].endswith(ACME[0][0]))
        told = "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z".format(*when)
        assert acme[ACME[0][0]]["upload-time"] == told
        Shell(tmp_path / "home").install("pip", f"{server.url}simple/", "acme-app", into=tmp_path / "site").ok()
        assert installed(tmp_path / "site") == {"acme": "1.0", "acme.app": "2.0"}
        for user, status in (("mia", 200), ("bob", 200), ("eve", 403)):
            answer = upload(server.url, *make_wheel(f"of-{user}", "1.0"), login=(user, USERS[user]))
            assert answer.status == status, user
        users = server.cli("user", "list").stdout
        assert [line.split()[:2] for line in users.splitlines()[1:]] == [
            ["admin", "administer"],
            ["bob", "upload"],
            ["eve", "read"],
            ["mia", "upload"],
            ["root", "administer"],
        ]
        assert run_cli("verify", "--root", server.root).returncode == 0
        again = run_stock(server.root, "devpi", made, "--index", "mia/dev")
        assert (again.code, again.count("there already"), again.report["users"]) == (0, 3, {"there already": 4})
    assert snapshot(made) == before


def test_its_paths_go_on_to_work(made: Path, tmp_path: Path) -> None:
    """Of what clients have in their configurations and lock files; of that index only."""
    with CaseusServer(tmp_path / "data") as server:
        assert ask(f"{server.url}mia/dev/+simple/acme/").status == 404
        assert run_stock(server.root, "devpi", made, "--index", "mia/dev").code == 0
        shell = Shell(tmp_path / "home")
        for client in ("pip", "uv"):
            into = tmp_path / client
            shell.install(client, f"{server.url}mia/dev/+simple/", "acme-app", into=into).ok()
            assert installed(into) == {"acme": "1.0", "acme.app": "2.0"}
        bodies = {ask(f"{server.url}{path}/acme/").body for path in ("simple", "mia/dev/+simple", "main/simple")}
        assert len(bodies) == 1
        assert ask(f"{server.url}mia/dev/+simple/").body == ask(f"{server.url}simple/").body
        for path, to in (("+simple", "+simple/"), ("+simple/Acme", "acme/"), ("+simple/Acme/", "../acme/")):
            answer = ask(f"{server.url}mia/dev/{path}")
            assert (answer.status, answer.headers["Location"]) == (301, to)
        hexed = sha256(ACME[0][1])
        locked = ask(f"{server.url}mia/dev/+f/{hexed[:3]}/{hexed[3:16]}/{ACME[0][0]}")
        assert (locked.status, locked.body) == (200, ACME[0][1])
        env = {"TWINE_USERNAME": "bob", "TWINE_PASSWORD": "roquefort"}
        flags = ("--non-interactive", "--disable-progress-bar", "--repository-url", f"{server.url}mia/dev/")
        shell.run(tool("twine"), "upload", *flags, *write(tmp_path / "dist", make_wheel("acme", "3.0")), env=env).ok()
        assert "acme-3.0-py3-none-any.whl" in listed(server.url, "acme")
        for path in ("bob/open/+simple/acme/", "mia/prod/+simple/", "mia/dev/acme/", "mia/dev/+api"):
            assert ask(f"{server.url}{path}").status == 404, path


def test_what_an_index_is_told_of_it(made: Path, empty: Path) -> None:
    """Bases and groups have no place here; who is logged in may upload there."""
    done = run_stock(empty, "devpi", made, "--index", "bob/open")
    assert (done.code, done.count("taken")) == (0, 1)
    assert [warning.split(":")[0] for warning in done.report["warnings"]] == [
        "its bases (mia/dev) are not part of it",
        "groups may upload there (",
    ]
    catalog = Catalog.open(empty)
    assert {user.name for user in catalog.users() if user.read_only} == set()
    catalog.close()


def test_a_mirror_goes_into_the_cache(made: Path, tmp_path: Path) -> None:
    """With its yanks, which only mirrors of devpi have."""
    with FakeUpstream({"alpha": [ALPHA[0]]}) as upstream:
        upstream.down()
        with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
            done = run_stock(server.root, "devpi", made, "--index", "root/mirror", upstream=upstream.url)
            assert (done.code, done.count("taken"), done.count("cached")) == (0, 0, 1)
            alpha = listed(server.url, "alpha")
            assert set(alpha) == {ALPHA[0][0]} and alpha[ALPHA[0][0]]["yanked"] == "broken"
            assert ask(f"{server.url}simple/alpha/{ALPHA[0][0]}").body == ALPHA[0][1]


def test_yanks_of_hosted_files(export: Path, empty: Path) -> None:
    """devpi has none in its own indexes so far; where an export tells one, it counts."""
    path = export / "dataindex.json"
    told = json.loads(path.read_text())
    told["indexes"]["mia/dev"]["projects"]["acme"]["1.0"]["yanked"] = "bad build"
    path.write_text(json.dumps(told))
    for outcome in ("taken", "there already"):
        assert run_stock(empty, "devpi", export, "--index", "mia/dev").count(outcome) == 3
        catalog = Catalog.open(empty)
        yanked = {file.filename: file.yanked for file in catalog.all_hosted()}
        catalog.close()
        assert yanked == {ACME[0][0]: "bad build", ACME[1][0]: "bad build", APP[0]: None}


def test_damage_is_told_and_the_rest_is_taken(export: Path, empty: Path) -> None:
    (export / "mia/dev/acme-app/2.0" / APP[0]).write_bytes(b"other bytes")
    (export / "mia/dev/acme/1.0" / ACME[1][0]).unlink()
    done = run_stock(empty, "devpi", export, "--index", "mia/dev")
    assert (done.code, done.count("taken")) == (1, 1)
    assert done.reasons("damaged") == {
        APP[0]: "it has not the sha256 that is told of it there",
        ACME[1][0]: "it is listed there, but the file is not there",
    }


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"relpath": "../secret/"}, "its path leads out of the export"),
        ({"relpath": "/etc/"}, "its path leads out of the export"),
        ({"relpath": 5}, "file 0 of the index is damaged"),
        ({"projectname": "-"}, "invalid project name"),
        ({"entrymapping": {"hashes": {"sha256": "zz"}}}, "its digest in dataindex.json is none"),
        ({"entrymapping": {"hash_spec": "sha256=" + "0" * 64}}, "it has not the sha256"),
        ({"entrymapping": {"md5": "0" * 32}}, "it has not the md5"),
    ],
)
def test_damaged_entries_are_told(export: Path, empty: Path, fields: dict[str, Any], told: str) -> None:
    if isinstance(fields.get("relpath"), str):
        fields = {"relpath": fields["relpath"] + Path(first_of(export, "mia/dev")["relpath"]).name}
    change(export, "mia/dev", **fields)
    done = run_stock(empty, "devpi", export, "--index", "mia/dev")
    assert (done.code, done.count("taken")) == (1, 2)
    (reason,) = done.reasons("damaged").values()
    assert told in reason


def test_documentation_and_old_passwords_are_told(export: Path, empty: Path) -> None:
    change(export, "mia/dev", type="doczip")
    told = json.loads((export / "dataindex.json").read_text())
    told["users"]["mia"] = {"pwhash": "ab" * 32, "pwsalt": "c2FsdA=="}
    (export / "dataindex.json").write_text(json.dumps(told))
    done = run_stock(empty, "devpi", export, "--index", "mia/dev")
    assert (done.code, done.count("taken"), done.report["users"]) == (0, 2, {"taken": 3, "skipped": 1})
    reasons = done.reasons("skipped")
    assert "older than argon2" in reasons.pop("mia")
    assert list(reasons) == [first_of(export, "mia/dev")["relpath"]]


@pytest.mark.parametrize("fault", ["no index", "no export", "damaged", "another version", "no flag"])
def test_bad_usage(export: Path, empty: Path, fault: str) -> None:
    words: tuple[str | Path, ...] = ("devpi", export, "--index", "mia/dev")
    if fault == "no index":
        words = ("devpi", export, "--index", "mia/prod")
    elif fault == "no export":
        (export / "dataindex.json").unlink()
    elif fault == "damaged":
        (export / "dataindex.json").write_bytes(b'{"indexes": ')
    elif fault == "another version":
        told = json.loads((export / "dataindex.json").read_text()) | {"dumpversion": "3"}
        (export / "dataindex.json").write_text(json.dumps(told))
    else:
        words = ("devpi", export)
    done = run_stock(empty, *words)
    assert (done.code, done.out) == (2 if fault == "no flag" else 1, "")
    assert done.err.startswith("caseus: error: ") and done.err.count("\n") == 1
