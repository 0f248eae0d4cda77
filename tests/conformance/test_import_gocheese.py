"""`caseus import gocheese`, on folders laid out by its documentation: the program itself is not to be had here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caseus.catalog import Catalog
from support.clients import Shell, ask, installed, listed, upload
from support.gocheese import Cheese, snapshot
from support.importing import SIGNATURE, Imported, run_stock
from support.packages import make_sdist, make_wheel, metadata, sha256
from support.passwords import ARGON2I, SHA256
from support.server import CaseusServer, run_cli
from support.upstream import FakeUpstream, Options

ACME = [make_wheel("acme", "1.0", requires_python=">=3.8"), make_sdist("acme", "1.0"), make_wheel("acme", "2.0")]
ALPHA = [make_wheel("alpha", "1.0"), make_wheel("alpha", "2.0"), make_sdist("alpha", "1.0")]
NAMES = [name for name, _ in ACME]
UPLOADED = 1_600_000_000.5


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A data folder that a server made and left."""
    root = tmp_path / "data"
    root.mkdir()
    Catalog.open(root).close()
    return root


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"alpha": ALPHA}) as upstream:
        yield upstream


@pytest.fixture(params=["2019", "2019 in hexadecimal", "2.x", "3.x"])
def cheese(request: pytest.FixtureRequest, tmp_path: Path) -> Cheese:
    """acme is private; of alpha the first file was downloaded, the others are known."""
    old = request.param.startswith("2019")
    cheese = Cheese(tmp_path / "packages", writing="hex-line" if "hexadecimal" in request.param else "raw")
    digests = {"2.x": (".sha256", ".blake2_256"), "3.x": (".sha256", ".blake2b_256", ".sha512")}
    told = digests.get(request.param, (".sha256",))
    cheese.mark("acme", ".private" if old else ".internal")
    for file in ACME[:2]:
        cheese.add("acme", file, *told, uploaded=UPLOADED)
    cheese.add("acme", ACME[2], *told, signature=SIGNATURE, uploaded=UPLOADED + 1)
    cheese.add("alpha", ALPHA[0], *told, signature=SIGNATURE)
    for file in ALPHA[1:]:
        cheese.add("alpha", file, *told, downloaded=False)
    if not old:
        (cheese.root / "acme" / ".metadata.rec").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 2.0\n")
    return cheese


def page(server: CaseusServer, project: str) -> dict[str, dict[str, Any]]:
    return listed(server.url, project)


def get(server: CaseusServer, project: str, filename: str) -> int:
    answer = ask(f"{server.url}simple/{project}/{filename}")
    return answer.status if answer.whole else 0


def details(done: Imported) -> dict[str, str]:
    return {
        detail["filename"] or detail["user"] or detail["project"]: detail["outcome"]
        for detail in done.report["details"]
    }


def test_both_layouts(cheese: Cheese, upstream: FakeUpstream, tmp_path: Path) -> None:
    before = snapshot(cheese.root)
    with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
        done = run_stock(server.root, "gocheese", cheese.root, upstream=upstream.url)
        assert (done.code, done.err) == (0, "")
        assert (done.count("taken"), done.count("cached"), done.count("known")) == (3, 1, 2)
        assert done.report["bytes"] == sum(len(data) for _, data in (*ACME, ALPHA[0]))
        assert done.report["warnings"] == [] and done.report["source"] == str(cheese.root)

        # What was private is published here, as it was.
        acme = page(server, "acme")
        assert {name: entry["hashes"]["sha256"] for name, entry in acme.items()} == {
            name: sha256(data) for name, data in ACME
        }
        assert acme[NAMES[0]]["upload-time"] == "2020-09-13T12:26:40.500000Z"
        assert acme[NAMES[0]]["requires-python"] == ">=3.8" and acme[NAMES[2]]["gpg-sig"] is True
        assert ask(f"{server.url}simple/acme/{NAMES[2]}.asc").body == SIGNATURE
        assert upstream.count("/simple/acme/") == 0

        # What was cached is served from the cache; what was known can be had.
        assert ask(f"{server.url}simple/alpha/{ALPHA[0][0]}").body == ALPHA[0][1]
        assert upstream.count(upstream.file_path("alpha", ALPHA[0][0])) == 0
        assert ask(f"{server.url}simple/alpha/{ALPHA[1][0]}").body == ALPHA[1][1]
        assert set(page(server, "alpha")) == {name for name, _ in ALPHA}
        shell = Shell(tmp_path / "home")
        shell.install("pip", f"{server.url}simple/", "acme", "alpha==1.0", into=tmp_path / "site").ok()
        assert installed(tmp_path / "site") == {"acme": "2.0", "alpha": "1.0"}
        assert run_cli("verify", "--root", server.root).returncode == 0
    assert snapshot(cheese.root) == before


def test_again_nothing_is_done(cheese: Cheese, empty: Path, upstream: FakeUpstream) -> None:
    first = run_stock(empty, "gocheese", cheese.root, upstream=upstream.url)
    assert first.code == 0
    state = snapshot(empty / "files") | snapshot(empty / "fetched")
    serial = json.loads(run_cli("info", "--json", "--root", empty).stdout)["serial"]
    again = run_stock(empty, "gocheese", cheese.root, upstream=upstream.url)
    assert (again.code, again.count("there already")) == (0, 6) and again.report["details"] == []
    assert snapshot(empty / "files") | snapshot(empty / "fetched") == state
    assert json.loads(run_cli("info", "--json", "--root", empty).stdout)["serial"] == serial


def facts(root: Path) -> dict[str, object]:
    """What `info` tells, but for the cap of the cache, which heeds the space that is free on the disk."""
    told: dict[str, object] = json.loads(run_cli("info", "--json", "--root", root).stdout)
    assert told.pop("cache_bytes")
    return told


def test_a_dry_run_changes_nothing(cheese: Cheese, empty: Path, upstream: FakeUpstream) -> None:
    (cheese.root / "acme" / f"{NAMES[1]}.sha256").write_bytes(b"\0" * 32)
    state = snapshot(empty / "files")
    before = facts(empty)
    done = run_stock(empty, "gocheese", cheese.root, upstream=upstream.url, flags=("--json", "--dry-run"))
    assert done.code == 1 and done.report["dry_run"] is True
    sizes = {"acme": len(ACME[0][1]) + len(ACME[2][1]), "alpha": len(ALPHA[0][1])}
    assert done.report["plan"] == [
        {"project": name, "files": 2 if name == "acme" else 1, "bytes": size, "unknown_sizes": 0}
        for name, size in sizes.items()
    ]
    assert list(done.reasons("damaged")) == [NAMES[1]]
    told = run_stock(empty, "gocheese", cheese.root, upstream=upstream.url, flags=("--dry-run",))
    assert told.code == 1 and "acme" in told.out and NAMES[1] in told.out
    assert facts(empty) == before
    assert snapshot(empty / "files") == state == {} and not (empty / "fetched").exists()


def test_with_the_upstream_down_what_is_known_is_not_absent(tmp_path: Path, upstream: FakeUpstream) -> None:
    """404 would have pip choose another version."""
    cheese = Cheese(tmp_path / "packages")
    cheese.add("alpha", ALPHA[0])
    cheese.add("alpha", ALPHA[1], downloaded=False)
    upstream.down()
    with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
        assert run_stock(server.root, "gocheese", cheese.root, upstream=upstream.url).code == 0
        assert set(page(server, "alpha")) == {ALPHA[0][0], ALPHA[1][0]}
        assert get(server, "alpha", ALPHA[0][0]) == get(server, "alpha", f"{ALPHA[0][0]}.metadata") == 200
        assert get(server, "alpha", ALPHA[1][0]) == get(server, "alpha", f"{ALPHA[1][0]}.metadata") == 502
        unknown = ask(f"{server.url}simple/alpha/{ALPHA[1][0]}")
        assert "will be known when the upstream answers" in unknown.reason
        assert get(server, "alpha", ALPHA[2][0]) == 404
        upstream.up()
        server.stop()
        server.start()  # who is down is left alone for a while
        assert get(server, "alpha", ALPHA[1][0]) == 200


def test_a_digest_that_was_seen_there_binds(tmp_path: Path, upstream: FakeUpstream) -> None:
    """The upstream has other bytes now than when GoCheese first saw the file: they are not served."""
    cheese = Cheese(tmp_path / "packages")
    cheese.add("alpha", (ALPHA[1][0], b"as it was"), downloaded=False)
    with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
        assert run_stock(server.root, "gocheese", cheese.root, upstream=upstream.url).count("known") == 1
        assert page(server, "alpha")[ALPHA[1][0]]["hashes"] == {"sha256": sha256(b"as it was")}
        assert get(server, "alpha", ALPHA[1][0]) == 502
        assert get(server, "alpha", ALPHA[0][0]) == 200


@pytest.mark.parametrize("downloaded", [True, False])
def test_what_is_known_by_md5_gets_sha256(tmp_path: Path, upstream: FakeUpstream, downloaded: bool) -> None:
    """At once where the bytes are there, else with the first download; from then on that is what clients are told."""
    name, data = ALPHA[1]
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    upstream.projects["alpha"] = [(name, data, Options(hashes={"md5": md5}))]
    upstream.style = "html"
    cheese = Cheese(tmp_path / "packages")
    cheese.add("alpha", (name, data), ".md5", downloaded=downloaded)
    with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
        assert run_stock(server.root, "gocheese", cheese.root, upstream=upstream.url).code == 0
        both = {"md5": md5, "sha256": sha256(data)}
        assert page(server, "alpha")[name]["hashes"] == (both if downloaded else {"md5": md5})
        assert get(server, "alpha", name) == 200
        assert page(server, "alpha")[name]["hashes"] == both
        html = ask(f"{server.url}simple/alpha/", headers={"Accept": "text/html"}).body.decode()
        assert f"{name}#sha256={sha256(data)}" in html and "md5=" not in html


def test_damage_is_told_and_the_rest_is_taken(tmp_path: Path, empty: Path, upstream: FakeUpstream) -> None:
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme", ".private")
    cheese.add("acme", ACME[0])
    cheese.add("acme", ACME[1]).write_bytes(b"other bytes")
    cheese.add("acme", ACME[2], ".sha256", ".md5")
    (cheese.root / "acme" / f"{ACME[2][0]}.md5").write_bytes(b"no digest")
    broken = make_wheel("acme", "3.0")
    cheese.add("acme", (broken[0], broken[1][: len(broken[1]) // 2]))
    cheese.add("acme", make_wheel("acme", "4.0"), downloaded=False)
    cheese.add("alpha", ALPHA[0]).write_bytes(ALPHA[0][1] + b"\0")
    cheese.add("alpha", ALPHA[1])
    (cheese.root / "alpha" / f"{ALPHA[2][0]}.asc").write_bytes(SIGNATURE)
    done = run_stock(empty, "gocheese", cheese.root, upstream=upstream.url)
    assert done.code == 1
    assert done.err == "caseus: error: 6 could not be taken: see the report\n"
    damaged = done.reasons("damaged")
    assert damaged.pop(broken[0]).startswith("the archive is broken")
    assert damaged == {
        ACME[1][0]: "it has not the sha256 that is told of it there",
        ACME[2][0]: f"{ACME[2][0]}.md5 holds no md5",
        "acme-4.0-py3-none-any.whl": "it is listed there, but the file is not there",
        ALPHA[0][0]: "it has not the sha256 that is told of it there",
        ALPHA[2][0]: "a signature without its file",
    }
    assert (done.count("taken"), done.count("cached")) == (1, 1)
    with CaseusServer(empty, upstream=upstream.url) as server:
        assert set(page(server, "acme")) == {ACME[0][0]}
        assert ask(f"{server.url}simple/alpha/{ALPHA[0][0]}").body == ALPHA[0][1]  # fetched anew


def test_nothing_is_overwritten(tmp_path: Path, upstream: FakeUpstream) -> None:
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    for file in ACME:
        cheese.add("acme", file)
    cheese.add("alpha", (ALPHA[0][0], b"not what the upstream has"))
    other = make_wheel("acme", "1.0", content=b"# other\n")
    with CaseusServer(tmp_path / "data", upstream=upstream.url) as server:
        assert upload(server.url, *other, login=server.admin).status == 200
        assert upload(server.url, *ACME[2], login=server.admin).status == 200
        assert server.cli("project", "delete", "acme==2.0", "--yes").returncode == 0
        assert get(server, "alpha", ALPHA[0][0]) == 200
        done = run_stock(server.root, "gocheese", cheese.root, upstream=upstream.url)
        assert done.code == 1 and done.count("taken") == 1
        assert done.reasons("conflict") == {
            ACME[0][0]: "other bytes have this name here: nothing was overwritten",
            ALPHA[0][0]: "other bytes have this name here: nothing was overwritten",
        }
        assert done.reasons("skipped") == {ACME[2][0]: "it was deleted here, and a name is used once"}
        assert ask(f"{server.url}simple/acme/{other[0]}").body == other[1]
        assert ask(f"{server.url}simple/alpha/{ALPHA[0][0]}").body == ALPHA[0][1]


def test_a_page_that_is_here_already_is_left(tmp_path: Path, upstream: FakeUpstream) -> None:
    cheese = Cheese(tmp_path / "packages")
    gone = make_wheel("alpha", "0.9")
    cheese.add("alpha", ALPHA[0])
    cheese.add("alpha", (ALPHA[1][0], b"other bytes than the upstream has"), ".md5")
    cheese.add("alpha", gone)
    cheese.add("alpha", make_wheel("alpha", "0.8"), downloaded=False)
    with CaseusServer(tmp_path / "data", upstream=upstream.url, flags=("--keep-removed",)) as server:
        assert set(page(server, "alpha")) == {name for name, _ in ALPHA}
        done = run_stock(server.root, "gocheese", cheese.root, upstream=upstream.url)
        assert done.reasons("conflict") == {ALPHA[1][0]: "its upstream tells another digest: nothing was overwritten"}
        assert done.reasons("cached") == {gone[0]: "its upstream does not list it"}
        assert done.reasons("skipped") == {"alpha-0.8-py3-none-any.whl": "its upstream does not list it"}
        assert upstream.count("/simple/alpha/") == 1 and set(page(server, "alpha")) == {name for name, _ in ALPHA}
        assert (
            get(server, "alpha", ALPHA[0][0]) == 200 and upstream.count(upstream.file_path("alpha", ALPHA[0][0])) == 0
        )
        assert get(server, "alpha", gone[0]) == 200  # what the upstream removed, to those who know its name


def test_names_that_are_ours_are_not_cached(tmp_path: Path, empty: Path, upstream: FakeUpstream) -> None:
    """Also where two folders of GoCheese's first version spell one name in two ways, and one is marked."""
    cheese = Cheese(tmp_path / "packages")
    spelt = make_wheel("Two.Spellings", "1.0")
    cheese.mark("Two.Spellings", ".private")
    cheese.add("Two.Spellings", spelt)
    cheese.add("two-spellings", make_wheel("two-spellings", "9.0"))
    done = run_stock(empty, "gocheese", cheese.root, upstream=upstream.url)
    assert (done.code, done.count("taken"), done.count("cached")) == (0, 1, 0)
    assert done.reasons("skipped") == {
        "two-spellings": "the name is published here: what is cached there of another's is left out"
    }
    catalog = Catalog.open(empty)
    assert [file.filename for file in catalog.hosted_files("files/main", "two-spellings")] == [spelt[0]]
    catalog.close()


def test_without_an_upstream_only_what_is_private_is_taken(cheese: Cheese, empty: Path) -> None:
    done = run_stock(empty, "gocheese", cheese.root)
    assert (done.code, done.count("taken"), done.count("cached"), done.count("known")) == (0, 3, 0, 0)
    assert done.reasons("skipped") == {
        "alpha": "no upstream is asked for this name here: what is cached of it is left out"
    }


def test_private_names_without_a_file_are_warned_of(tmp_path: Path, empty: Path) -> None:
    """Nothing would keep caseus from asking an upstream for them, which GoCheese never did."""
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme-new")
    cheese.mark("acme-cli", ".private")
    (cheese.root / "caseus.toml").write_text("not of GoCheese")
    done = run_stock(empty, "gocheese", cheese.root)
    warning = "acme-cli, acme-new; add them to `private`"
    assert done.code == 0 and done.report["warnings"][0].endswith(warning) and warning in done.err
    (empty / "caseus.toml").write_text('private = ["acme-*"]\n')
    assert run_stock(empty, "gocheese", cheese.root).report["warnings"] == []


def test_requires_python_of_the_record_counts_where_the_file_has_none(tmp_path: Path, empty: Path) -> None:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("acme-0.1/setup.py")
        archive.addfile(entry, io.BytesIO())
    bare = ("acme-0.1.tar.gz", buffer.getvalue())
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    cheese.add("acme", bare)
    cheese.add("acme", ACME[2])
    (cheese.root / "acme" / ".metadata.rec").write_text(
        "# a comment\nMetadata_Version: 2.1\nName: acme\nVersion: 0.1.0\nRequires_Python: >=3.6\n"
        "Description: many\n+ lines\n+ Requires-Python: >=9\n"
    )
    assert run_stock(empty, "gocheese", cheese.root).code == 0
    with CaseusServer(empty) as server:
        acme = page(server, "acme")
        assert acme[bare[0]]["requires-python"] == ">=3.6" and "requires-python" not in acme[ACME[2][0]]


def test_what_is_no_package_is_told(tmp_path: Path, empty: Path) -> None:
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    cheese.add("acme", ACME[0], signature=b"no signature")
    cheese.add("acme", ("acme-1.0.egg", b"egg"))
    cheese.add("acme", ("other-1.0-py3-none-any.whl", make_wheel("other", "1.0")[1]))
    cheese.add("acme", ("notes.txt", b"by hand"))
    (cheese.root / "acme" / "sub").mkdir()
    (cheese.root / "-").mkdir()
    (cheese.root / ".git").mkdir()
    done = run_stock(empty, "gocheese", cheese.root)
    assert (done.code, done.count("taken")) == (0, 1)
    assert details(done) == {
        "acme-1.0.egg": "skipped",
        "other-1.0-py3-none-any.whl": "skipped",
        "notes.txt": "skipped",
        "-": "skipped",
        ACME[0][0]: "taken",
    }
    assert "signature" in done.reasons("taken")[ACME[0][0]]


def test_the_cache_is_not_filled_beyond_its_size(tmp_path: Path, empty: Path, upstream: FakeUpstream) -> None:
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    cheese.add("acme", ACME[0])
    for file in ALPHA:
        cheese.add("alpha", file)
    (empty / "caseus.toml").write_text(f"cache_bytes = {len(ALPHA[0][1]) * 5 // 4}\n")
    done = run_stock(empty, "gocheese", cheese.root, upstream=upstream.url)
    assert (done.code, done.count("taken"), done.count("cached"), done.count("skipped")) == (0, 1, 1, 2)
    assert all("raise cache_bytes" in reason for reason in done.reasons("skipped").values())
    catalog = Catalog.open(empty)
    assert catalog.cache_bytes() <= len(ALPHA[0][1]) * 5 // 4
    catalog.close()


def test_files_larger_than_the_limit_are_told(tmp_path: Path, empty: Path) -> None:
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    for file in ACME[:2]:
        cheese.add("acme", file)
    (empty / "caseus.toml").write_text(f"max_file_bytes = {len(ACME[1][1])}\n")
    assert len(ACME[0][1]) > len(ACME[1][1])
    done = run_stock(empty, "gocheese", cheese.root)
    assert (done.code, done.count("taken")) == (0, 1) and "raise max_file_bytes" in done.reasons("skipped")[ACME[0][0]]


def test_users_log_in_as_before(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text(f"# users\n\nfoo:{ARGON2I}\nmia:{SHA256}\nreader:{SHA256}:ro\nadmin:{SHA256}\n")
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    with CaseusServer(tmp_path / "data", flags=("--read", "users")) as server:
        done = run_stock(server.root, "gocheese", cheese.root, "--passwd", passwd)
        assert done.code == 0 and done.report["users"] == {"taken": 3, "skipped": 1}
        assert done.reasons("skipped") == {"admin": "a user of this name is here already: left as it is"}
        for number, user in enumerate(("foo", "mia")):
            assert upload(server.url, *make_wheel("acme", f"{number}.0"), login=(user, "bar")).status == 200
            assert upload(server.url, *make_wheel("acme", "9.0"), login=(user, "baz")).status == 401
        assert upload(server.url, *ACME[0], login=("reader", "bar")).status == 403
        assert ask(f"{server.url}simple/acme/", login=("reader", "bar")).status == 200
        assert ask(f"{server.url}simple/acme/", login=server.admin).status == 200
        again = run_stock(server.root, "gocheese", cheese.root, "--passwd", passwd)
        assert again.code == 0 and again.report["users"] == {"there already": 3, "skipped": 1}


def test_faulty_lines_of_the_password_file_are_told(tmp_path: Path, empty: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text(f"foo:{ARGON2I}\nbar:\nmia:$argon2i$v=19\n")
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    cheese.add("acme", ACME[0])
    done = run_stock(empty, "gocheese", cheese.root, "--passwd", passwd)
    assert done.code == 1 and done.count("taken") == 1 and done.report["users"] == {"taken": 1, "damaged": 2}
    assert set(done.reasons("damaged")) == {"in line 2", "in line 3"}


def test_bad_usage(tmp_path: Path, empty: Path) -> None:
    (tmp_path / "packages").mkdir()
    nothing = run_stock(empty, "gocheese", tmp_path / "packages")
    assert (nothing.code, nothing.out) == (1, "") and "there is no project in" in nothing.err
    absent = run_stock(empty, "gocheese", tmp_path / "absent")
    assert (absent.code, absent.out) == (2, "") and "no folder" in absent.err
    passwd = run_stock(empty, "gocheese", tmp_path / "packages", "--passwd", tmp_path / "absent")
    assert (passwd.code, passwd.out) == (2, "") and "can't be read" in passwd.err
    root = run_stock(tmp_path / "nowhere", "gocheese", tmp_path / "packages")
    assert (root.code, root.out) == (2, "") and not (tmp_path / "nowhere").exists()


def test_metadata_stays_as_the_wheel_has_it(tmp_path: Path, empty: Path) -> None:
    cheese = Cheese(tmp_path / "packages")
    cheese.mark("acme")
    cheese.add("acme", ACME[0])
    assert run_stock(empty, "gocheese", cheese.root).code == 0
    with CaseusServer(empty) as server:
        answer = ask(f"{server.url}simple/acme/{ACME[0][0]}.metadata")
        assert answer.body == metadata("acme", "1.0", requires_python=">=3.8")
