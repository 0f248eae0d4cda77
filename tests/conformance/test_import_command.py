"""`caseus import index` as people run it: beside a server, killed, followed, and with a real client after it."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from caseus import cli
from caseus.catalog import Catalog
from caseus.importers.credentials import find_credentials
from caseus.upstream.credentials import Credentials
from support.clients import JSON, Shell, ask, installed, listed, tool, upload, with_login
from support.importing import SIGNATURE, run_import, told
from support.packages import make_sdist, make_wheel
from support.server import COMMAND, CaseusServer, clean_environment
from support.upstream import FakeUpstream, Fault, Options

START = Callable[..., CaseusServer]
ACME = [make_wheel("acme", "1.0", requires_python=">=3.8"), make_sdist("acme", "1.0"), make_wheel("acme", "2.0")]
TOOLS = make_wheel("acme-tools", "0.1", requires=["acme"])


@pytest.fixture
def source() -> Iterator[FakeUpstream]:
    projects = {
        "acme": [
            (*ACME[0], Options(upload_time="2021-03-04T05:06:07.123456Z", requires_python=">=3.8", yanked="too old")),
            (*ACME[1], Options(upload_time="2021-03-05T00:00:00Z")),
            (*ACME[2], Options(upload_time="2022-01-01T00:00:00Z", signature=SIGNATURE, gpg_sig=True)),
        ],
        "acme-tools": [(*TOOLS, Options(upload_time="2022-02-02T02:02:02.500000Z"))],
    }
    with FakeUpstream(projects) as upstream:
        yield upstream


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A data folder that a server made and left."""
    root = tmp_path / "target"
    root.mkdir()
    Catalog.open(root).close()
    return root


def entries(url: str, project: str) -> dict[str, dict[str, Any]]:
    answer = ask(f"{url}{project}/", headers={"Accept": JSON})
    assert answer.status == 200
    return {entry["filename"]: entry for entry in answer.json()["files"]}


def test_beside_a_running_server(source: FakeUpstream, caseus: CaseusServer, tmp_path: Path) -> None:
    """The pages agree, and pip installs from the target."""
    done = run_import(caseus.root, source.url)
    assert (done.code, done.err) == (0, "")
    assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [["taken", "4"], ["there", "already"]]
    for project in source.projects:
        assert told(listed(caseus.url, project)) == told(entries(source.url, project))
    assert ask(f"{caseus.url}simple/acme/{ACME[2][0]}.asc").body == SIGNATURE
    Shell(tmp_path / "home").install("pip", f"{caseus.url}simple/", "acme-tools", into=tmp_path / "there").ok()
    assert installed(tmp_path / "there") == {"acme": "2.0", "acme-tools": "0.1"}
    # The server and the import are two processes on one folder; an upload between two runs disturbs neither.
    own = make_wheel("acme", "3.0")
    assert upload(caseus.url, *own, login=caseus.admin).status == 200
    again = run_import(caseus.root, source.url, "--json")
    assert (again.code, again.count("taken"), again.count("there already")) == (0, 0, 4)
    assert set(listed(caseus.url, "acme")) == {*(file[0] for file in ACME), own[0]}


def test_another_caseus_with_closed_reading(start_caseus: START, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    source, target = start_caseus(flags=("--read", "users")), start_caseus()
    reader = source.add_user("reader", "a-very-secret-word")
    for file in (*ACME, TOOLS):
        assert upload(source.url, *file, login=source.admin).status == 200
    assert source.cli("project", "yank", "acme==1.0", "--reason", "use 2.0").returncode == 0

    anonymous = run_import(target.root, f"{source.url}simple/", environ={"HOME": str(home)})
    assert anonymous.code == 2 and "answers 401" in anonymous.err and "by --user, in a netrc file" in anonymous.err
    wrong = run_import(target.root, with_login(f"{source.url}simple/", ("reader", "very-wrong-word")))
    assert wrong.code == 2 and "answers 401" in wrong.err and "very-wrong-word" not in wrong.err

    (home / ".netrc").write_text(f"machine 127.0.0.1 login {reader[0]} password {reader[1]}\n")
    url, asked = f"{source.url}simple/", ("--user", reader[0], "--password-stdin")
    by_netrc = run_import(target.root, url, "--json", environ={"HOME": str(home)})
    by_flag = run_import(target.root, url, "--json", *asked, input=reader[1], environ={"HOME": str(tmp_path)})
    for done, taken in ((by_netrc, 4), (by_flag, 0)):
        assert (done.code, done.report["source"], done.count("taken")) == (0, url, taken)
        assert reader[1] not in done.out + done.err
    for project in ("acme", "acme-tools"):
        assert told(listed(target.url, project)) == told(listed(source.url, project, reader))
    yanked = {name: entry["yanked"] for name, entry in listed(target.url, "acme").items()}
    assert yanked == {ACME[0][0]: "use 2.0", ACME[1][0]: "use 2.0", ACME[2][0]: False}


def test_killed_in_the_middle_it_goes_on(source: FakeUpstream, empty: Path) -> None:
    """kill -9 while the last file comes in: the next run takes that one only."""
    hanging = source.file_path("acme-tools", TOOLS[0])
    source.fail(Fault("hang"), hanging)
    command = [*COMMAND, "import", "index", source.url, "--root", str(empty), "--jobs", "2"]
    process = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        source.wait_for(hanging)
        wait_until(lambda: len(files_of(empty, "acme")) == len(ACME), process)
    finally:
        process.kill()
        process.wait()
    assert files_of(empty, "acme-tools") == []
    source.heal()
    source.forget()
    done = run_import(empty, source.url, "--json")
    assert (done.code, done.count("taken"), done.count("there already")) == (0, 1, 3)
    assert [request.path for request in source.requests if request.path.startswith("/files/")] == [hanging]
    verified = subprocess.run([*COMMAND, "verify", "--root", empty], env=clean_environment(), capture_output=True)
    assert verified.returncode == 0, verified.stdout


def files_of(root: Path, project: str) -> list[str]:
    catalog = Catalog.open(root)
    try:
        return [file.filename for file in catalog.hosted_files("files/main", project)]
    finally:
        catalog.close()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None, "it has ended"
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_report(source: FakeUpstream, empty: Path, number: signal.Signals) -> None:
    slow = source.file_path("acme-tools", TOOLS[0])
    gate = threading.Event()
    source.fail(Fault("slow", gate=gate), slow)
    command = [*COMMAND, "import", "index", source.url, "--root", str(empty), "--jobs", "1", "--json"]
    process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    source.wait_for(slow)
    process.send_signal(number)
    gate.set()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")
    assert json.loads(out)["files"]["taken"] == 3
    assert files_of(empty, "acme-tools") == []


def test_followed_until_it_is_interrupted(source: FakeUpstream, empty: Path) -> None:
    command = [*COMMAND, "import", "index", source.url, "--root", str(empty), "--follow", "--interval", "1", "--json"]
    process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: bool(files_of(empty, "acme-tools")), process)
        new = make_wheel("acme-tools", "0.2")
        source.projects["acme-tools"] = [(*TOOLS, Options(yanked="use 0.2")), new]
        wait_until(lambda: new[0] in files_of(empty, "acme-tools"), process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    lines = err.decode().splitlines()
    assert f"caseus: taken: {new[0]}" in lines and f"caseus: yanked: {TOOLS[0]} (use 0.2)" in lines
    assert len(lines) == 6
    files = json.loads(out)["files"]
    assert (files["taken"], files["yanked"]) == (4, 1)


def test_a_dry_run_changes_nothing(source: FakeUpstream, empty: Path) -> None:
    source.projects["acme"] = [
        *source.projects["acme"],
        (*make_wheel("acme", "5.0"), Options(size=False)),
        ("acme-1.egg", b""),
    ]
    done = run_import(empty, source.url, "--dry-run", "--json")
    assert (done.code, done.err, done.report["dry_run"]) == (0, "", True)
    sizes = sum(len(data) for _, data in ACME)
    assert done.report["plan"] == [
        {"project": "acme", "files": 4, "bytes": sizes, "unknown_sizes": 1},
        {"project": "acme-tools", "files": 1, "bytes": len(TOOLS[1]), "unknown_sizes": 0},
    ]
    assert done.count("skipped") == 1 and done.count("taken") == 0
    assert files_of(empty, "acme") == []
    assert not [request for request in source.requests if request.path.startswith("/files/")]
    table = run_import(empty, source.url, "--dry-run")
    assert table.out.splitlines()[1].startswith("acme        4") and "and 1 of unknown size" in table.out


def test_what_went_wrong_is_told_and_exits_with_1(source: FakeUpstream, empty: Path) -> None:
    assert run_import(empty, source.url, "--project", "acme").code == 0
    wrong, other = make_wheel("acme", "6.0"), make_wheel("acme", "2.0", content=b"# other\n")
    source.projects["acme"] = [(*wrong, Options(hashes={"sha256": "0" * 64})), other]
    done = run_import(empty, source.url, "--project", "acme")
    assert done.code == 1 and done.err == "caseus: error: 2 could not be taken: see the report\n"
    assert "it has not the sha256 that the page tells" in done.out
    assert "other bytes have this name here: nothing was overwritten" in done.out
    report = run_import(empty, source.url, "--project", "acme", "--json")
    assert set(report.reasons("damaged")) == {wrong[0]} and set(report.reasons("conflict")) == {other[0]}
    assert set(report.reasons("gone there")) == {ACME[0][0], ACME[1][0]}


@pytest.mark.parametrize(
    ("url", "flags", "message"),
    [
        ("pkgs.example.com/simple", [], "that is no URL of an index"),
        ("ftp://pkgs.example.com/simple/", [], "that is no URL of an index"),
        ("https://pkgs.example.com/simple/?x=1", [], "must end with a path"),
        ("https://me:pw@pkgs.example.com/", ["--user", "you", "--password-stdin"], "the URL has a user already"),
        ("https://pkgs.example.com/", ["--password-stdin"], "--password-stdin goes with --user"),
        ("https://pkgs.example.com/", ["--user", "you"], "give the password on standard input"),
        ("https://pkgs.example.com/", ["--jobs", "0"], "--jobs: give 1 to 32"),
        ("https://pkgs.example.com/", ["--interval", "soon"], "--interval: 'soon' is no duration"),
        ("https://pkgs.example.com/", ["--interval", "0"], "--interval: give a second or more"),
        ("https://pkgs.example.com/", ["--follow-deletions"], "--follow-deletions goes with --follow"),
        ("https://pkgs.example.com/", ["--follow", "--dry-run"], "leave --follow out"),
        ("https://pkgs.example.com/", ["--project", "x-"], "invalid project name"),
        ("https://pkgs.example.com/", ["--files-from", "http://files.example.com"], "--files-from: give https://HOST"),
        ("https://pkgs.example.com/", ["--files-from", "files"], "--files-from: not a URL"),
    ],
)
def test_usage(
    empty: Path,
    url: str,
    flags: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"pw")))
    assert cli.run(["import", "index", url, "--root", str(empty), *flags]) in (1, 2)
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1
    assert message in told.err and "pw" not in told.err


def test_where_credentials_come_from(tmp_path: Path) -> None:
    """The URL, --user, $NETRC, ~/.netrc, in this order; each host has its own."""
    url, other = "https://pkgs.example.com/simple/", "https://other.example.com/simple/"
    (tmp_path / ".netrc").write_text("machine pkgs.example.com login home password one\n")
    (tmp_path / "named").write_text("machine pkgs.example.com login named password two\n")
    home = {"HOME": str(tmp_path)}
    named = home | {"NETRC": str(tmp_path / "named")}

    def basic(user: str, password: str) -> str:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def header(found: Credentials | None) -> str | None:
        return found.header() if found is not None else None

    assert header(find_credentials(url, None, home)) == basic("home", "one")
    assert header(find_credentials(url, None, named)) == basic("named", "two")
    assert header(find_credentials(url, ("me", "three"), named)) == basic("me", "three")
    assert header(find_credentials(other, None, home)) is None
    assert header(find_credentials(url, None, {"HOME": str(tmp_path / "nobody")})) is None
    assert find_credentials("https://u:p@pkgs.example.com/simple/", None, home) is None  # the URL's own count


def test_a_wrong_folder_or_url(source: FakeUpstream, empty: Path, tmp_path: Path) -> None:
    assert "no index in" in run_import(tmp_path / "mistyped", source.url).err
    assert not (tmp_path / "mistyped").exists()
    source.fail(Fault("html"), "/simple/")
    done = run_import(empty, source.url)
    assert done.code == 2 and "mostly one that ends in /simple/" in done.err
    unreadable = tmp_path / "netrc"
    unreadable.write_text("machine 127.0.0.1 login me passw0rd hush\n")
    done = run_import(empty, source.url, environ={"NETRC": str(unreadable)})
    assert f"netrc: {unreadable} can't be understood" in done.err and "hush" not in done.err


# A real foreign index


PYPISERVER = """
import sys, wsgiref.simple_server, pypiserver
server = wsgiref.simple_server.make_server("127.0.0.1", 0, pypiserver.app(roots=[sys.argv[1]]))
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def running_pypiserver(site: Path, packages: Path) -> Iterator[str]:
    """Its URL."""
    command = [tool("python"), "-c", PYPISERVER, str(packages)]
    process = subprocess.Popen(
        command, env={"PYTHONPATH": str(site)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/simple/"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.online
def test_pypiserver(empty: Path, tmp_path: Path) -> None:
    """Installed into a folder of its own; it tells md5 or sha256, no size and no upload time but Last-Modified."""
    site = tmp_path / "pypiserver"
    subprocess.run(
        [tool("uv"), "pip", "install", "--quiet", "--target", site, "pypiserver==2.4.2"],
        check=True, capture_output=True,
    )  # fmt: skip
    packages = tmp_path / "packages"
    packages.mkdir()
    for name, data in (*ACME, TOOLS):
        (packages / name).write_bytes(data)
    os.utime(packages / TOOLS[0], (1_600_000_000, 1_600_000_000))
    with running_pypiserver(site, packages) as url:
        done = run_import(empty, url, "--json")
        assert done.code == 0, done.err
        assert done.count("taken") == 4
        assert run_import(empty, url, "--json").count("there already") == 4
    with CaseusServer(empty) as server:
        assert listed(server.url, "acme-tools")[TOOLS[0]]["upload-time"] == "2020-09-13T12:26:40Z"
        Shell(tmp_path / "home").install("pip", f"{server.url}simple/", "acme-tools", into=tmp_path / "there").ok()
    assert installed(tmp_path / "there") == {"acme": "2.0", "acme-tools": "0.1"}
