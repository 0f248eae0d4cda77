"""`caseus import pyshop`, on a database that pyshop 1.3.0 itself made (`tests/data/pyshop-1.3.0.sql` tells how).

The program runs on no Python that is still maintained, so the tests don't run it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caseus.catalog import Catalog
from support.clients import Shell, ask, installed, listed, upload
from support.gocheese import snapshot
from support.importing import Imported, run_stock
from support.packages import make_wheel, sha256
from support.pyshop import ACME, ALPHA, APP, PyshopShop
from support.server import CaseusServer, run_cli
from support.upstream import FakeUpstream


@pytest.fixture
def shop(tmp_path: Path) -> PyshopShop:
    return PyshopShop(tmp_path)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": list(ALPHA)}) as upstream:
        yield upstream


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A data folder that a server made and left."""
    root = tmp_path / "data"
    root.mkdir()
    Catalog.open(root).close()
    return root


def take(root: Path, shop: PyshopShop, upstream: str = "none", *flags: str) -> Imported:
    return run_stock(
        root, "pyshop", shop.database, "--repository", shop.repository, upstream=upstream, flags=("--json", *flags)
    )


def test_local_packages_are_ours_and_mirrored_ones_cached(
    shop: PyshopShop, upstream: FakeUpstream, tmp_path: Path
) -> None:
    before = snapshot(shop.repository), shop.database.read_bytes()
    with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
        done = take(server.root, shop, upstream.url)
        assert (done.code, done.err) == (0, "")
        assert (done.count("taken"), done.count("cached"), done.count("known")) == (3, 1, 1)
        acme = listed(server.url, "acme")
        assert {name: entry["hashes"]["sha256"] for name, entry in acme.items()} == {n: sha256(d) for n, d in ACME}
        assert acme[ACME[0][0]]["upload-time"] == "2026-11-21T12:02:12Z"
        assert set(listed(server.url, "acme-app")) == {APP[0]}
        assert ask(f"{server.url}simple/alpha/{ALPHA[0][0]}").body == ALPHA[0][1]
        assert upstream.count(upstream.file_path("alpha", ALPHA[0][0])) == 0
        assert ask(f"{server.url}simple/alpha/{ALPHA[1][0]}").body == ALPHA[1][1]
        Shell(tmp_path / "home").install("uv", f"{server.url}simple/", "acme-app", "alpha", into=tmp_path / "site").ok()
        assert installed(tmp_path / "site") == {"acme.app": "2.0", "alpha": "2.0"}
        assert run_cli("verify", "--root", server.root).returncode == 0
        again = take(server.root, shop, upstream.url)
        assert (again.code, again.count("there already")) == (0, 5)
    assert (snapshot(shop.repository), shop.database.read_bytes()) == before


def test_users_and_owners_keep_what_they_may(shop: PyshopShop, tmp_path: Path) -> None:
    with CaseusServer(tmp_path / "data", flags=("--read", "users")) as server:
        done = take(server.root, shop)
        assert done.code == 0 and done.report["users"] == {"taken": 4, "skipped": 3}
        assert done.reasons("skipped") == {
            "admin": "a user of this name is here already: left as it is",
            "ldap": "it has no password of its own there (LDAP?): add it by `caseus user add`",
            "none": "its groups give it no rights there",
            "alpha": "no upstream is asked for this name here: what is cached of it is left out",
        }
        mia, bob, eve = (("mia", "camembert"), ("bob", "camembert"), ("eve", "camembert"))
        assert upload(server.url, *make_wheel("acme", "2.0"), login=bob).status == 403
        assert upload(server.url, *make_wheel("acme", "2.0"), login=mia).status == 200
        assert upload(server.url, *make_wheel("acme_app", "3.0"), login=mia).status == 403
        assert upload(server.url, *make_wheel("acme_app", "3.0"), login=bob).status == 200
        assert upload(server.url, *make_wheel("new", "1.0"), login=bob).status == 200
        for reader in (eve, ("pip", "changeme")):
            assert upload(server.url, *make_wheel("newer", "1.0"), login=reader).status == 403
            assert ask(f"{server.url}simple/acme/", login=reader).status == 200
        assert ask(f"{server.url}simple/acme/", login=("mia", "brie")).status == 401
        assert server.cli("project", "uploaders", "acme").stdout == "mia\n"
        # Who was named here since is not replaced.
        server.cli("project", "uploaders", "acme", "--remove", "mia", "--add", "eve")
        assert take(server.root, shop).code == 0
        assert server.cli("project", "uploaders", "acme").stdout == "eve\n"


def test_an_administrator_of_pyshop_is_one_here(shop: PyshopShop, empty: Path) -> None:
    shop.execute("UPDATE user SET login = 'chief' WHERE login = 'admin'")
    assert take(empty, shop).report["users"]["taken"] == 5
    catalog = Catalog.open(empty)
    told = {user.name: (user.admin, user.read_only) for user in catalog.users()}
    catalog.close()
    reader, developer = (False, True), (False, False)
    assert told == {"chief": (True, False), "mia": developer, "bob": developer, "eve": reader, "pip": reader}


def test_damage_is_told_and_the_rest_is_taken(shop: PyshopShop, upstream: FakeUpstream, empty: Path) -> None:
    shop.put(ACME[0][0], ACME[0][1][:-1] + b"\1")
    (shop.repository / "a" / APP[0]).unlink()
    shop.put(ALPHA[0][0], b"cut")
    done = take(empty, shop, upstream.url)
    assert (done.code, done.count("taken"), done.count("known")) == (1, 1, 1)
    assert done.reasons("damaged") == {
        ACME[0][0]: "it has not the md5 that is told of it there",
        APP[0]: "it is listed there, but the file is not there",
        ALPHA[0][0]: f"it has 3 bytes instead of {len(ALPHA[0][1])}",
    }
    assert "acme-app; add them to `private`" in done.report["warnings"][0]


def test_files_without_an_md5_are_taken_and_garbage_is_told(shop: PyshopShop, empty: Path) -> None:
    shop.execute("UPDATE release_file SET md5_digest = NULL, size = NULL WHERE filename = ?", ACME[0][0])
    shop.execute("UPDATE release_file SET md5_digest = 'x' WHERE filename = ?", ACME[1][0])
    shop.execute("UPDATE release_file SET filename = '../../secret-1.0.tar.gz' WHERE filename = ?", APP[0])
    done = take(empty, shop)
    assert (done.code, done.count("taken")) == (1, 1)
    assert done.reasons("damaged") == {ACME[1][0]: "its md5 in the database is none"}
    assert "invalid filename" in done.reasons("skipped")["../../secret-1.0.tar.gz"]


def test_wheels_that_pyshop_renamed_are_told(shop: PyshopShop, empty: Path) -> None:
    """Its default, pyshop.upload.rewrite_filename, gave wheels names that no client takes for wheels."""
    shop.execute("UPDATE release_file SET filename = 'acme-1.0-pypy3-any.whl' WHERE filename = ?", ACME[0][0])
    done = take(empty, shop)
    assert (done.code, done.count("taken")) == (0, 2)
    assert "invalid filename" in done.reasons("skipped")["acme-1.0-pypy3-any.whl"]


def test_names_that_none_can_have(shop: PyshopShop, empty: Path) -> None:
    shop.execute("UPDATE package SET name = 'a b' WHERE name = 'acme'")
    shop.execute("UPDATE user SET login = 'mia@home:1' WHERE login = 'mia'")
    done = take(empty, shop)
    assert done.code == 0
    assert "invalid project name" in done.reasons("skipped")["a b"]
    assert "invalid user name" in done.reasons("skipped")["mia@home:1"]


@pytest.mark.parametrize("fault", ["another database", "no database", "absent", "no repository"])
def test_bad_usage(shop: PyshopShop, empty: Path, fault: str) -> None:
    if fault == "another database":
        shop.execute("DROP TABLE release_file")
    elif fault == "no database":
        shop.database.write_bytes(b"this is no database\n" * 100)
    elif fault == "absent":
        shop.database.unlink()
    else:
        shop.repository = shop.repository / "absent"
    done = take(empty, shop)
    assert done.code == (2 if fault.startswith(("absent", "no repository")) else 1) and done.out == ""
    assert done.err.startswith("caseus: error: ") and done.err.count("\n") == 1
