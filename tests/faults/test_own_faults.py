"""What happens around a server: a folder or disk that can't be written, a locked database, no more descriptors."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from support.clients import Answer, Login, ask, listed, upload
from support.disks import loop_disk, make_image, repair_image, system
from support.faulty import at_once, until
from support.figures import Figures
from support.packages import make_wheel
from support.server import COMMAND, CaseusServer
from support.upstream import FakeUpstream

ACME = make_wheel("acme", "1.0", content=b"# first\n")
COLD = make_wheel("cold", "1.0")
OBEDIENT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""Runs a program as a root that obeys the permissions of files, as everybody else does."""


def started(server: CaseusServer) -> Login:
    """With a first release; the login to publish with."""
    login = ("__token__", server.token("admin"))
    assert upload(server.url, *ACME, login=login).status == 200
    return login


def assert_reads_go_on(server: CaseusServer) -> None:
    assert list(listed(server.url, "acme")) == [ACME[0]]
    assert ask(f"{server.url}simple/acme/{ACME[0]}").body == ACME[1]
    assert ask(f"{server.url}simple/acme/{ACME[0]}.metadata").status == 200
    assert ask(f"{server.url}livez").status == 200


def assert_sound(server: CaseusServer) -> None:
    done = server.cli("verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in server.log, server.log[-5000:]


def assert_unavailable(answer: Answer, *, retry: bool) -> None:
    assert answer.status == 503, f"{answer.status} {answer.reason}"
    assert answer.headers["X-Error-Message"]
    assert not retry or int(answer.headers["Retry-After"]) > 0


# A folder that can't be written.


@contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Every folder and file under the root is for reading only."""
    entries = [root, *root.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in entries}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            with suppress(FileNotFoundError):
                path.chmod(mode)


def obedient() -> tuple[str, ...]:
    return (*OBEDIENT, *COMMAND) if os.geteuid() == 0 else COMMAND


def test_folder_becomes_read_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with (
        FakeUpstream({"cold": [COLD]}) as upstream,
        CaseusServer(root, upstream=upstream.url, command=obedient()) as server,
    ):
        login = started(server)
        new = make_wheel("acme", "2.0")
        with read_only(root):
            assert_reads_go_on(server)
            assert_unavailable(upload(server.url, *new, login=login), retry=False)
            assert ask(f"{server.url}simple/cold/{COLD[0]}").status in (200, 503)
            ready = ask(f"{server.url}readyz")
            assert ready.status == 503 and "can't be written" in ready.body.decode()
        assert ask(f"{server.url}readyz").status == 200
        assert upload(server.url, *new, login=login).status == 200
        assert ask(f"{server.url}simple/cold/{COLD[0]}").body == COLD[1]
        assert_sound(server)


def test_start_on_a_read_only_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with CaseusServer(root) as server:
        started(server)
    with read_only(root):
        refused = CaseusServer(root, command=obedient())
        with pytest.raises(AssertionError, match="did not start"):
            refused.start()
        last = refused.log.splitlines()[-1]
        assert last.startswith("caseus: error:") and str(root) in last and "ermission denied" in last, last
        assert "Traceback" not in refused.log
    with CaseusServer(root) as server:
        assert_reads_go_on(server)


@pytest.mark.root
def test_disk_that_gives_up(tmp_path: Path) -> None:
    """ext4 meets an error and makes itself read-only under the server (errors=remount-ro); later it is repaired."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    make_image(image, megabytes=32)
    new = make_wheel("acme", "2.0")
    with loop_disk(image, disk, options="errors=remount-ro"), CaseusServer(disk / "root") as server:
        login = started(server)
        device = Path(system("findmnt", "-n", "-o", "SOURCE", disk).strip()).name
        (Path("/sys/fs/ext4") / device / "trigger_fs_error").write_text("a test")
        until(lambda: not is_writable(disk))
        assert_reads_go_on(server)
        assert_unavailable(upload(server.url, *new, login=login), retry=False)
        assert ask(f"{server.url}readyz").status == 503
        server.kill()
    repair_image(image)
    with loop_disk(image, disk), CaseusServer(disk / "root") as server:
        assert_reads_go_on(server)
        assert upload(server.url, *new, login=login).status == 200
        assert_sound(server)


def is_writable(disk: Path) -> bool:
    try:
        (disk / "probe").write_bytes(b"x")
    except OSError:
        return False
    return True


# A database that somebody else keeps.


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """By another process (this one), as a person with `sqlite3` or a backup program would."""
    with closing(sqlite3.connect(root / "catalog.sqlite", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.slow
def test_locked_database(tmp_path: Path, rounds: Callable[[int, int], int], figures: Figures) -> None:
    """For 30 seconds (10 in the short form): reads go on, writes wait for ten seconds, and nobody waits for two turns.

    Also who comes while others wait. A page that is not known yet comes from the upstream, and is served unkept.
    """
    with FakeUpstream({"cold": [COLD]}) as upstream, CaseusServer(tmp_path / "root", upstream=upstream.url) as server:
        login = started(server)
        assert_reads_go_on(server)
        files = [make_wheel("acme", f"2.{number}", content=os.urandom(2 << 20)) for number in range(8)]

        def send(file: tuple[str, bytes]) -> Callable[[], Answer]:
            return lambda: upload(server.url, *file, login=login, timeout=20)

        refused, least, began = 0, rounds(9, 30), time.monotonic()
        with locked(server.root), ThreadPoolExecutor(2) as pool:
            while time.monotonic() - began < least:
                first = pool.submit(send(files[0]))
                page = pool.submit(ask, f"{server.url}simple/cold/", timeout=30)
                until(lambda: any((server.root / ".incoming").iterdir()))
                others = at_once(map(send, files[1:]))
                assert_reads_go_on(server)
                for answer in [first.result(), *others]:
                    assert_unavailable(answer, retry=True)
                    refused += 1
                assert page.result().status == 200
            assert ask(f"{server.url}simple/acme/{files[0][0]}").status == 404
        figures.add("the database locked", {"seconds": int(time.monotonic() - began), "uploads told 503": refused})
        for answer in at_once(map(send, files)):
            assert answer.status == 200, f"{answer.status} {answer.reason}"
        assert ask(f"{server.url}simple/cold/{COLD[0]}").body == COLD[1]
        assert_sound(server)


@pytest.mark.slow
def test_start_while_the_database_is_locked(tmp_path: Path) -> None:
    """It starts and serves, or says in one line that the catalog is locked; never hangs."""
    root = tmp_path / "root"
    with CaseusServer(root) as server:
        started(server)
    with locked(root):
        refused = CaseusServer(root)
        with pytest.raises(AssertionError, match="did not start"):
            refused.start()
        last = refused.log.splitlines()[-1]
        assert last.startswith("caseus: error:") and "locked" in last, last
    with CaseusServer(root) as server:
        assert_reads_go_on(server)


# No more descriptors.


@pytest.mark.parametrize("most", [56, 64, 80, 100])
def test_out_of_descriptors(tmp_path: Path, most: int, figures: Figures) -> None:
    """503, or a connection that is refused or closed; no upload is lost, and afterwards all is well."""
    outcomes: Counter[str] = Counter()
    command = ("prlimit", f"--nofile={most}:{most}", *COMMAND)
    with FakeUpstream({"cold": [COLD]}) as upstream:
        server = CaseusServer(tmp_path / "root", upstream=upstream.url, command=command)
        with server:
            login = started(server)
            files = [make_wheel("acme", f"2.{number}", files={"padding": os.urandom(300_000)}) for number in range(16)]
            acked: list[str] = []

            def use(number: int) -> None:
                file = files[number]
                asks: dict[str, Callable[[], Answer]] = {
                    "upload": partial(upload, server.url, *file, login=login),
                    "file": partial(ask, f"{server.url}simple/acme/{ACME[0]}"),
                    "cold": partial(ask, f"{server.url}simple/cold/{COLD[0]}"),
                    "page": partial(ask, f"{server.url}simple/acme/"),
                }
                for kind, ask_now in asks.items():
                    try:
                        answer = ask_now()
                    except OSError:
                        outcomes[f"{kind}: no answer"] += 1
                        continue
                    outcomes[f"{kind}: {answer.status}"] += 1
                    assert answer.status in (200, 503), f"{kind}: {answer.status} {answer.reason}"
                    if kind == "upload" and answer.status == 200:
                        acked.append(file[0])
                    if kind in ("file", "cold") and answer.status == 200 and answer.whole:
                        assert answer.body == (ACME if kind == "file" else COLD)[1]

            for idle in (0, most // 4, most):
                with idle_connections(server, idle), ThreadPoolExecutor(16) as pool:
                    for each in [pool.submit(use, number) for number in range(len(files))]:
                        each.result()
                until(lambda: is_well(server))
            assert set(acked) <= set(listed(server.url, "acme"))
            for file in files:
                if file[0] not in acked:
                    until(partial(is_published, server, file, login))
            for file in files:
                assert ask(f"{server.url}simple/acme/{file[0]}").body == file[1]
            assert_sound(server)
    well = sum(number for outcome, number in outcomes.items() if outcome.endswith("200"))
    told = sum(number for outcome, number in outcomes.items() if outcome.endswith("503"))
    without = outcomes.total() - well - told
    figures.add("no more descriptors", {"requests": outcomes.total(), "told 503": told, "without an answer": without})
    assert told + without > 0


@contextmanager
def idle_connections(server: CaseusServer, number: int) -> Iterator[None]:
    """As many as can be had."""
    held: list[socket.socket] = []
    try:
        for _ in range(number):
            with suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        yield
    finally:
        for each in held:
            each.close()


def is_published(server: CaseusServer, file: tuple[str, bytes], login: Login) -> bool:
    return upload(server.url, *file, login=login).status == 200


def is_well(server: CaseusServer) -> bool:
    try:
        return ask(f"{server.url}readyz").status == 200
    except OSError:
        return False
