"""`publish = "DIR"`: a tree that a running server keeps current, and that others go on with."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.clients import JSON, Shell, ask, installed, upload
from support.exported import export_by, hrefs, read_tree, times
from support.packages import make_sdist, make_wheel
from support.server import CaseusServer, run_cli

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


def is_noted(tree: Path) -> bool:
    """Whether no page is newer than the note, so that the round is done."""
    try:
        moments = times(tree)
    except FileNotFoundError:
        return False
    return moments.pop(STATE, 0) >= max(moments.values())


def assert_current(server: CaseusServer, tree: Path, *projects: str) -> None:
    """Soon all pages, and no others, have the server's bytes."""
    want = served(server, *projects)
    until(lambda: pages(tree) == want, f"{sorted(want)} with the server's bytes")
    until(lambda: is_noted(tree), "the note of it")


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
    put(server, make_wheel("acme-one", "1.0"), make_sdist("acme-one", "1.0"))
    until(lambda: b"1 project with 2 files" in pages(tree)["index.html"], "the counts")
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


def gone(tree: Path) -> bool:
    """Once nobody writes there any more."""
    shutil.rmtree(tree, ignore_errors=True)
    return not tree.exists()


def writers(tree: Path) -> list[int]:
    """Pids of those that hold the folder's lock."""
    inode = tree.stat().st_ino
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [int(words[4]) for words in locks if words[1:2] == ["FLOCK"] and words[5].endswith(f":{inode}")]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_one_of_several_workers_writes(start_caseus: Start, tmp_path: Path, tree: Path) -> None:
    """If it is killed, another goes on."""
    server = start_caseus(root=tmp_path / "root", flags=("--publish", str(tree), "--workers", "3"))
    names, wrote = [], set()
    for number in range(3):
        names.append(f"acme-{number}")
        put(server, make_wheel(names[-1], "1.0"))
        assert_current(server, tree, *names)
        [writer] = writers(tree)
        assert writer in children(server.pid)
        wrote.add(writer)
        os.kill(writer, signal.SIGKILL)
    assert len(wrote) == 3


def test_each_change_is_written_once(start_caseus: Start, tmp_path: Path, tree: Path) -> None:
    """By several workers as by one."""
    server = start_caseus(root=tmp_path / "root", flags=("--publish", str(tree), "--workers", "3"))
    for number in range(3):
        put(server, make_wheel(f"acme-{number}", "1.0"))
        assert_current(server, tree, *(f"acme-{each}" for each in range(number + 1)))
    server.stop()
    told = [json.loads(line)["serial"] for line in server.log.splitlines() if '"publish.written"' in line]
    assert len(told) >= 3 and sorted(set(told)) == told


def test_a_folder_that_cannot_be_written_any_more_stops_nothing(server: CaseusServer, tree: Path) -> None:
    assert_current(server, tree)
    until(lambda: gone(tree), "no folder")
    tree.write_text("in the way")
    put(server, make_wheel("acme-one", "1.0"))
    until(lambda: "publish.failed" in server.log, "a line in the log")
    tree.unlink()
    assert_current(server, tree, "acme-one")


def test_a_folder_that_was_emptied_is_filled_again(server: CaseusServer, tree: Path) -> None:
    put(server, make_wheel("acme-one", "1.0"))
    assert_current(server, tree, "acme-one")
    until((tree / STATE).exists, "the note")
    (tree / STATE).unlink()
    shutil.rmtree(tree / "simple")
    put(server, make_wheel("acme-two", "1.0"))
    assert_current(server, tree, "acme-one", "acme-two")


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("root", "is in the data folder"),
        ("root/files/main", "is in the data folder"),
        ("link/files", "is in the data folder"),
        (".", "has the data folder"),
        ("file", "can't write to"),
        ("file/below", "can't write to"),
        ("/proc/nobody", "can't write to"),
    ],
)
def test_a_folder_that_cannot_be_published_to_is_a_start_error(tmp_path: Path, folder: str, told: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    (tmp_path / "file").write_text("in the way")
    done = run_cli("serve", tmp_path / "root", "--port", "0", "--upstream", "none", "--publish", tmp_path / folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("caseus: error: publish: ")
    assert list((tmp_path / "root").iterdir()) == []


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
    (root / "caseus.toml").write_text('[index.main]\npublish = "files/main"\n')
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: "is in the data folder" in server.log, "a line in the log")
    put(server, make_wheel("acme-three", "1.0"))
    assert_current(server, tmp_path / "other", "acme-one", "acme-two", "acme-three")
    (root / "caseus.toml").write_text('read = "all"\n')
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: not writers(tmp_path / "other"), "nobody who writes")
    put(server, make_wheel("acme-four", "1.0"))
    server.stop()
    assert "simple/acme-four/index.html" not in pages(tmp_path / "other")


@pytest.mark.slow
def test_a_reload_of_workers_moves_it(start_caseus: Start, tmp_path: Path, tree: Path) -> None:
    """At once, though a download goes on by the old settings."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "caseus.toml").write_text('workers = 2\npublish = "../tree"\n')
    server = start_caseus(root=root)
    name, data = make_wheel("acme-one", "1.0", content=bytes(random.Random(1).randbytes(20 << 20)))
    put(server, (name, data))
    assert_current(server, tree, "acme-one")
    with closing(HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("GET", f"/simple/acme-one/{name}")
        answer = connection.getresponse()
        assert answer.read(1000) == data[:1000]
        (root / "caseus.toml").write_text('workers = 2\npublish = "../other"\n')
        os.kill(server.pid, signal.SIGHUP)
        put(server, make_wheel("acme-two", "1.0"))
        assert_current(server, tmp_path / "other", "acme-one", "acme-two")
        until(lambda: not writers(tree), "nobody who writes to the old one")
        assert answer.read() == data[1000:]


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
