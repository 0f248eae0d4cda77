"""A server whose folder people touch with cp, mv, rm and touch, as pip, uv and gpg see it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from support.clients import Shell, ask, installed, listed, upload, write
from support.gpg import Gpg
from support.packages import make_sdist, make_wheel, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream
from support.watched import until

MAIN = "files/main"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> Iterator[CaseusServer]:
    """Told by its file; tests use project names of their own."""
    root = tmp_path_factory.mktemp("watched") / "root"
    root.mkdir()
    (root / "caseus.toml").write_text(f'[index.main]\nwatch = true\nupstream = "{upstream.url}"\n')
    with CaseusServer(root, upstream=None) as running:
        yield running


def run(*words: str | Path) -> None:
    """A command of the system's."""
    subprocess.run([*map(str, words)], check=True, timeout=60)


def folder(server: CaseusServer, project: str) -> Path:
    path = server.root / MAIN / project
    run("mkdir", "-p", path)
    return path


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_copied_and_installed(
    server: CaseusServer, new_shell: Callable[[], Shell], client: str, tmp_path: Path
) -> None:
    name = f"acme-copied-{client}"
    files = write(tmp_path / "dist", make_wheel(name, "1.0"), make_wheel(name, "2.0"), make_sdist(name, "2.0"))
    run("touch", "-d", "2021-03-04T05:06:07Z", *files)
    run("cp", "-p", *files, folder(server, name))
    until(lambda: len(listed(server.url, name)) == 3)
    page = listed(server.url, name)
    assert {entry["upload-time"] for entry in page.values()} == {"2021-03-04T05:06:07Z"}
    assert {file: entry["hashes"]["sha256"] for file, entry in page.items()} == {
        path.name: sha256(path.read_bytes()) for path in files
    }

    def chosen(into: str) -> str:
        new_shell().install(client, f"{server.url}simple/", name, into=tmp_path / into).ok()
        return installed(tmp_path / into)[name]

    assert chosen("first") == "2.0"
    run("rm", folder(server, name) / files[1].name, folder(server, name) / files[2].name)
    until(lambda: len(listed(server.url, name)) == 1)
    assert chosen("after") == "1.0"
    assert upload(server.url, files[1].name, files[1].read_bytes(), login=server.admin).status == 409
    assert upload(server.url, files[0].name, files[0].read_bytes(), login=server.admin).status == 200


@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("marker", [".private", ".internal"])
def test_a_marker_keeps_the_upstream_out(
    server: CaseusServer,
    upstream: FakeUpstream,
    new_shell: Callable[[], Shell],
    client: str,
    marker: str,
    tmp_path: Path,
) -> None:
    name = f"acme-marked-{client}-{marker[1:]}"
    upstream.projects[name] = [make_wheel(name, "99.0")]
    index = f"{server.url}simple/"
    new_shell().install(client, index, name, into=tmp_path / "open").ok()
    run("touch", folder(server, name) / marker)
    until(lambda: not listed(server.url, name))
    assert ask(f"{index}{name}/").status == 200
    upstream.forget()
    new_shell().install(client, index, name, into=tmp_path / "marked").failed()
    assert upstream.requests == []
    run("cp", *write(tmp_path / "dist", make_wheel(name, "1.0")), folder(server, name))
    until(lambda: listed(server.url, name))
    new_shell().install(client, index, name, into=tmp_path / "own").ok()
    assert installed(tmp_path / "own") == {name: "1.0"}


def test_a_signature_beside_it(server: CaseusServer, tmp_path: Path) -> None:
    name = "acme-signed"
    (file,) = write(tmp_path / "dist", make_wheel(name, "1.0"))
    with Gpg() as gpg:
        run("cp", file, gpg.sign(file), folder(server, name))
        until(lambda: listed(server.url, name).get(file.name, {}).get("gpg-sig"))
        url = f"{server.url}simple/{name}/{file.name}"
        ours = write(tmp_path / "ours", (file.name, ask(url).body), (f"{file.name}.asc", ask(f"{url}.asc").body))
        assert gpg.verifies(ours[1], ours[0])


def test_changed_bytes_until_they_are_forgotten(server: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    name = "acme-rebuilt"
    (first,) = write(tmp_path / "first", make_wheel(name, "1.0"))
    (second,) = write(tmp_path / "second", make_wheel(name, "1.0", content=b"# rebuilt\n"))
    run("cp", first, folder(server, name))
    until(lambda: listed(server.url, name))
    run("cp", second, folder(server, name))
    until(lambda: not listed(server.url, name))
    assert ask(f"{server.url}simple/{name}/{first.name}").status == 404
    done = server.cli("verify")
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if name in line]
    assert line.split()[:2] == ["changed", f"{MAIN}/{name}/{first.name}"]
    assert f"`caseus project forget {first.name}`" in line
    asked = server.cli("project", "forget", first.name)
    assert (asked.returncode, "give --yes" in asked.stderr) == (2, True)
    done = server.cli("project", "forget", first.name, "--yes")
    assert (done.returncode, done.stdout) == (0, f"forgot {first.name}\npublished {first.name}\n"), done.stderr
    assert listed(server.url, name)[first.name]["hashes"]["sha256"] == sha256(second.read_bytes())
    assert name not in server.cli("verify").stdout
    shell.install("pip", f"{server.url}simple/", name, into=tmp_path / "site").ok()


def test_a_copy_that_takes_its_time(server: CaseusServer, tmp_path: Path) -> None:
    """Nobody is told of it before its last byte is there."""
    name = "acme-slow"
    filename, data = make_wheel(name, "1.0", files={"acme_slow/blob": os.urandom(300_000)}, compress=False)
    path = folder(server, name) / filename
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(data) - 1000, 50_000):
            file.write(data[at : at + 50_000])
            refused = server.log.count(f'"{filename}"')
            until(lambda: server.log.count(f'"{filename}"') > refused or path.stat().st_size == len(data))  # noqa: B023
            assert listed(server.url, name) == {} or path.stat().st_size == len(data)
    until(lambda: listed(server.url, name).get(filename, {}).get("size") == len(data))


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """What was copied is taken in by the next start, and nothing twice or in part."""
    root, count = tmp_path / "root", 60
    files = write(tmp_path / "dist", *(make_wheel("acme", f"1.{number}") for number in range(count)))
    server = CaseusServer(root, flags=("--watch",)).start()
    try:
        run("cp", *files, folder(server, "acme"))
        until(lambda: len(listed(server.url, "acme")) > 5)
    finally:
        server.kill()
    with CaseusServer(root, flags=("--watch",)) as again:
        until(lambda: len(listed(again.url, "acme")) == count)
        assert again.cli("verify").returncode == 0
        journal = (root / MAIN / "acme" / "packages.jsonl").read_text().splitlines()
        assert len(journal) == count


def test_two_servers_on_one_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    wheel, newer = make_wheel("acme", "1.0"), make_wheel("acme", "2.0")
    with CaseusServer(root, flags=("--watch",)) as first, CaseusServer(root, flags=("--watch",)) as second:
        run("cp", *write(tmp_path / "dist", wheel), folder(first, "acme"))
        for server in (first, second):
            until(lambda: listed(server.url, "acme"))  # noqa: B023
        first.kill()
        run("cp", *write(tmp_path / "dist", newer), folder(second, "acme"))
        until(lambda: len(listed(second.url, "acme")) == 2)
        assert second.cli("verify").returncode == 0


def test_nobody_looks_where_it_is_not_asked_for(tmp_path: Path) -> None:
    wheel, other = make_wheel("acme", "1.0"), make_wheel("other", "1.0")
    with CaseusServer(tmp_path / "root") as server:
        assert upload(server.url, *wheel, login=server.admin).status == 200
        write(folder(server, "other"), other)
        (folder(server, "acme") / wheel[0]).unlink()
    with CaseusServer(tmp_path / "root") as server:
        assert listed(server.url, "acme").keys() == {wheel[0]}
        assert listed(server.url, "other") == {}


def test_a_folder_that_is_no_longer_there(tmp_path: Path) -> None:
    """Its disk is not mounted: a start says so and deletes nothing, nor does it ask the upstream for our names."""
    wheel = make_wheel("acme", "1.0")
    with FakeUpstream({"acme": [make_wheel("acme", "99.0")]}) as upstream:
        options = {"upstream": upstream.url, "flags": ("--watch",)}
        root = tmp_path / "root"
        with CaseusServer(root, **options) as server:  # type: ignore[arg-type]
            write(folder(server, "acme"), wheel)
            until(lambda: wheel[0] in listed(server.url, "acme"))
        shutil.move(root / "files", tmp_path / "elsewhere")
        upstream.forget()
        with CaseusServer(root, **options) as server:  # type: ignore[arg-type]
            until(lambda: "folder.unreadable" in server.log)
            assert listed(server.url, "acme").keys() == {wheel[0]}
            assert ask(f"{server.url}simple/acme/{wheel[0]}").status == 503
            shutil.move(tmp_path / "elsewhere", root / "files")
            until(lambda: ask(f"{server.url}simple/acme/{wheel[0]}").status == 200)
            assert upstream.requests == []


def test_upload_times_are_times_of_files(server: CaseusServer) -> None:
    """Of what is uploaded, too."""
    filename, data = make_wheel("acme-uploaded", "1.0")
    assert upload(server.url, filename, data, login=server.admin).status == 200
    told = listed(server.url, "acme-uploaded")[filename]["upload-time"]
    modified = (folder(server, "acme-uploaded") / filename).stat().st_mtime
    assert abs(datetime.fromisoformat(told).timestamp() - modified) < 0.001
