"""`publish = "DIR"`: a tree that a running server keeps current, and that others go on with."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import JSON, Shell, ask, installed, upload
from support.exported import export_by, hrefs, read_tree, times
from support.packages import make_sdist, make_wheel
from support.server import CaseusServer

LIMIT = 60.0
STATE = "caseus-publish.state"

Start = Callable[..., CaseusServer]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tmp_path / "tree"


@pytest.fixture
def server(start_caseus: Start, tmp_path: Path, tree: Path) -> CaseusServer:
    return start_caseus(root=tmp_path / "root", flags=("--publish", str(tree)))


def put(server: CaseusServer, *files: tuple[str, bytes]) -> None:
    for file in files:
        assert upload(server.url, *file, login=server.admin).status == 200


def cli(server: CaseusServer, *words: str) -> None:
    done = server.cli(*words)
    assert done.returncode == 0, done.stderr


def until(condition: Callable[[], bool], what: str) -> None:
    """Polls; the tree is written a moment after the answer."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"


def served(server: CaseusServer, *projects: str) -> dict[str, bytes]:
    """Path in the tree to what the server answers there."""
    found = {}
    for path in ("simple/", *(f"simple/{name}/" for name in projects)):
        for accept, name in ((JSON, "index.json"), ("text/html", "index.html")):
            answer = ask(server.url + path, headers={"Accept": accept})
            assert answer.status == 200
            found[f"{path}{name}"] = answer.body
    return found


def pages(tree: Path) -> dict[str, bytes]:
    if not tree.exists():
        return {}
    try:
        return {path: data for path, data in read_tree(tree).items() if STATE not in path}
    except FileNotFoundError:  # something was deleted meanwhile
        return pages(tree)


def assert_current(server: CaseusServer, tree: Path, *projects: str) -> None:
    """Soon all pages, and no others, have the server's bytes."""
    want = served(server, *projects)
    until(lambda: pages(tree) == want, f"{sorted(want)} with the server's bytes")


def test_each_kind_of_page_has_the_servers_bytes(server: CaseusServer, tree: Path) -> None:
    assert_current(server, tree)
    put(server, make_wheel("Acme.App", "1.0", requires_python=">=3.8"), make_sdist("acme-app", "1.0"))
    assert_current(server, tree, "acme-app")
    put(server, make_wheel("acme-lib", "1.0"))
    assert_current(server, tree, "acme-app", "acme-lib")
    cli(server, "project", "yank", "acme-app", "--reason", "<bad>")
    assert_current(server, tree, "acme-app", "acme-lib")
    cli(server, "project", "delete", "acme-lib", "--yes")
    assert_current(server, tree, "acme-app", "acme-lib")  # an empty page: the name stays ours
    assert hrefs(pages(tree)["simple/index.html"]) == ["acme-app/"]


def test_the_page_at_the_top(start_caseus: Start, tmp_path: Path, tree: Path) -> None:
    flags = ("--publish", str(tree), "--public-url", "https://pkgs.example.com/python/")
    server = start_caseus(root=tmp_path / "root", flags=flags)
    until(lambda: "index.html" in pages(tree), "index.html")
    assert pages(tree)["index.html"] == ask(server.url).body


def test_only_what_changed_is_written(server: CaseusServer, tree: Path) -> None:
    put(server, *(make_wheel(f"acme-{number}", "1.0") for number in range(5)))
    names = [f"acme-{number}" for number in range(5)]
    assert_current(server, tree, *names)
    before = times(tree)
    put(server, make_wheel("acme-3", "2.0"))
    assert_current(server, tree, *names)
    after = times(tree)
    assert {path for path in before if after[path] != before[path]} - {STATE} == {
        "simple/acme-3/index.html", "simple/acme-3/index.json",
    }  # fmt: skip


def test_it_goes_on_where_a_killed_server_was(server: CaseusServer, tree: Path) -> None:
    put(server, make_wheel("acme-one", "1.0"))
    assert_current(server, tree, "acme-one")
    before = times(tree)
    server.kill()
    cli(server, "project", "yank", "acme-one")  # beside no server
    kept = dict(before)
    server.start()
    put(server, make_wheel("acme-two", "1.0"))
    assert_current(server, tree, "acme-one", "acme-two")
    assert times(tree)["simple/acme-one/index.html"] != kept["simple/acme-one/index.html"]


def test_uploads_that_a_kill_interrupts_are_there_after_the_next_start(server: CaseusServer, tree: Path) -> None:
    for number in range(3):
        names = [f"acme-{each}" for each in range(number + 1)]
        put(server, make_wheel(f"acme-{number}", "1.0"))
        server.kill()  # before the tree could be written, mostly
        server.start()
        assert_current(server, tree, *names)


def test_an_orderly_stop_leaves_a_current_tree(server: CaseusServer, tree: Path) -> None:
    put(server, make_wheel("acme-one", "1.0"), make_wheel("acme-two", "1.0"))
    want = served(server, "acme-one", "acme-two")
    server.stop()
    assert pages(tree) == want


def test_a_lost_note_rewrites_nothing_that_is_right(server: CaseusServer, tree: Path) -> None:
    put(server, make_wheel("acme-one", "1.0"))
    assert_current(server, tree, "acme-one")
    server.stop()
    before = times(tree)
    (tree / STATE).unlink()
    (tree / "simple/acme-one/index.json").write_bytes(b"damaged")
    (tree / "simple/acme-gone").mkdir()
    (tree / "simple/acme-gone/index.html").write_bytes(b"of a project that nobody knows")
    server.start()
    assert_current(server, tree, "acme-one")
    until((tree / STATE).exists, "the note")
    changed = {path for path, moment in times(tree).items() if before.get(path) != moment}
    assert changed == {STATE, "simple/acme-one/index.json"}


def test_an_older_index_is_written_whole(server: CaseusServer, tmp_path: Path, tree: Path) -> None:
    """A restored backup: its serial is less than the note's."""
    put(server, make_wheel("acme-one", "1.0"))
    server.stop()
    shutil.copytree(server.root, tmp_path / "copy")
    server.start()
    put(server, make_wheel("acme-two", "1.0"))
    assert_current(server, tree, "acme-one", "acme-two")
    server.stop()
    shutil.rmtree(server.root)
    (tmp_path / "copy").rename(server.root)
    server.start()
    assert_current(server, tree, "acme-one")


@pytest.mark.slow
def test_one_of_several_workers_writes(start_caseus: Start, tmp_path: Path, tree: Path) -> None:
    """If it is killed, another goes on."""
    server = start_caseus(root=tmp_path / "root", flags=("--publish", str(tree), "--workers", "3"))
    names = []
    for number in range(3):
        names.append(f"acme-{number}")
        put(server, make_wheel(names[-1], "1.0"))
        assert_current(server, tree, *names)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)


def test_a_folder_that_cannot_be_written_stops_nothing(start_caseus: Start, tmp_path: Path, tree: Path) -> None:
    tree.write_text("in the way")
    server = start_caseus(root=tmp_path / "root", flags=("--publish", str(tree)))
    put(server, make_wheel("acme-one", "1.0"))
    until(lambda: "publish.failed" in server.log, "a line in the log")
    tree.unlink()
    assert_current(server, tree, "acme-one")


def test_a_reload_moves_it(start_caseus: Start, tmp_path: Path, tree: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "caseus.toml").write_text('[index.main]\npublish = "../tree"\n')
    server = start_caseus(root=root)
    put(server, make_wheel("acme-one", "1.0"))
    assert_current(server, tree, "acme-one")
    (root / "caseus.toml").write_text('[index.main]\npublish = "../other"\n')
    os.kill(server.pid, signal.SIGHUP)
    assert_current(server, tmp_path / "other", "acme-one")
    put(server, make_wheel("acme-two", "1.0"))
    assert_current(server, tmp_path / "other", "acme-one", "acme-two")
    assert "simple/acme-two/index.html" not in pages(tree)


def test_a_closed_index_is_warned_of(start_caseus: Start, tmp_path: Path, tree: Path) -> None:
    server = start_caseus(root=tmp_path / "root", flags=("--publish", str(tree), "--read", "users"))
    assert "whoever may read the folder reads this closed index" in server.log


def test_check_of_a_live_tree(server: CaseusServer, tree: Path) -> None:
    put(server, make_wheel("acme-one", "1.0"))
    assert_current(server, tree, "acme-one")
    server.stop()
    flags = ("--index", "main", "--root", str(server.root), "--check")
    assert export_by(tree, *flags).code == 0
    (tree / "simple/acme-one/index.html").write_bytes(b"damaged")
    (tree / "simple/index.json").unlink()
    checked = export_by(tree, *flags)
    assert checked.out == "different: simple/acme-one/index.html\nmissing: simple/index.json\n"
    assert checked.code == 1 and "2 differences found" in checked.err


def test_clients_install_from_it_while_no_server_runs(server: CaseusServer, tree: Path, shell: Shell) -> None:
    """By nginx with the configuration of `caseus export --server-config`."""
    from support.static import by_nginx

    put(server, make_wheel("acme-app", "1.0", requires=["acme-lib"]), make_wheel("acme-lib", "1.0"))
    assert_current(server, tree, "acme-app", "acme-lib")
    server.kill()
    config = server.root.parent / "conf"
    flags = ("--index", "main", "--root", str(server.root), "--check", "--server-config", str(config))
    assert export_by(tree, *flags).code == 0
    with by_nginx(config, server.root.parent / "nginx") as url:
        for client in ("pip", "uv"):
            into = server.root.parent / client
            shell.install(client, f"{url}simple/", "acme-app", into=into).ok()
            assert installed(into) == {"acme-app": "1.0", "acme-lib": "1.0"}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")
