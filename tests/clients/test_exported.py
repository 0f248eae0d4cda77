"""Real clients install from exported trees, served by nginx and Caddy as the export's own configuration says.

No caseus runs meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.clients import JSON, Answer, Shell, ask, installed, upload
from support.exported import export_by
from support.packages import make_sdist, make_wheel
from support.pythons import Python, find_pythons
from support.server import CaseusServer
from support.static import by_caddy, by_nginx
from support.upstream import FakeUpstream

EVERY_TAG = "py2.py3-none-any"
PIP = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
UV = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"

LIB = make_wheel("Acme.Lib", "1.0", tag=EVERY_TAG)
APP = make_wheel("acme-app", "1.0", requires=["acme.LIB>=0.5"], tag=EVERY_TAG)
FILES = [LIB, APP, make_wheel("acme-lib", "2.0rc1", tag=EVERY_TAG), make_sdist("acme-sdist", "1.0")]


class Served(NamedTuple):
    """`url`: of the tree; `pages`: what the server that has died answered, by path and Accept."""

    url: str
    pages: dict[tuple[str, str], Answer]


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An index whose server was killed: hosted files, and what was cached of an upstream."""
    folder = tmp_path_factory.mktemp("dead")
    with FakeUpstream() as upstream:
        upstream.projects["up-lib"] = [make_wheel("up-lib", version, tag=EVERY_TAG) for version in ("1.0", "2.0")]
        server = CaseusServer(folder / "root", upstream=upstream.url).start()
        for file in FILES:
            assert upload(server.url, *file, login=server.admin).status == 200
        assert ask(f"{server.url}simple/up-lib/{upstream.projects['up-lib'][0][0]}").status == 200
        assert ask(f"{server.url}simple/up-lib/{upstream.projects['up-lib'][0][0]}.metadata").status == 200
        paths = [f"simple/{name}/" for name in ("acme-app", "acme-lib", "acme-sdist")]
        pages = {
            (path, accept): ask(server.url + path, headers={"Accept": accept})
            for path in paths
            for accept in (PIP, "text/html")
        }
        server.kill()
    flags = [
        "--index",
        "main",
        "--root",
        str(folder / "root"),
        "--with-cached",
        "--server-config",
        str(folder / "conf"),
    ]
    made = export_by(folder / "tree", *flags, "--compress", "gz", "--not-found-page")
    assert made.code == 0, made.err
    with by_nginx(folder / "conf", folder / "nginx") as url:
        yield Served(url, pages)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder of packages in dumb-pypi's style, with its packages elsewhere."""
    folder = tmp_path_factory.mktemp("pool")
    (folder / "packages").mkdir()
    for name, data in FILES:
        (folder / "packages" / name).write_bytes(data)
    flags = ["--package-dir", str(folder / "packages"), "--packages-url", "../../pool/", "--style", "dumb-pypi"]
    made = export_by(folder / "tree", *flags, "--simple-json", "--server-config", str(folder / "conf"))
    assert made.code == 0, made.err
    with by_nginx(folder / "conf", folder / "nginx") as url:
        yield url


each_python = pytest.mark.parametrize("python", find_pythons(), ids=lambda python: python.label)
each_client = pytest.mark.parametrize("client", ["pip", "uv"])


def old_pip(shell: Shell, python: Python, index: str, *what: str, into: Path) -> set[str]:
    flags = ("--isolated", "--disable-pip-version-check", "install", "--no-cache-dir", "--index-url", index)
    ran = shell.run(python.path, "-m", "pip", *flags, "--target", into, *what)
    if "No module named pip" in ran.output:
        pytest.skip(f"Python {python.label} has no pip")
    ran.ok()
    return {path.name.removesuffix(".dist-info") for path in into.glob("*.dist-info")}


# A dead index


@each_client
def test_install_from_a_dead_index(dead: Served, shell: Shell, client: str, tmp_path: Path) -> None:
    shell.install(client, f"{dead.url}simple/", "Acme_App", "up.lib", into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-app": "1.0", "acme.lib": "1.0", "up-lib": "1.0"}


@each_python
def test_every_pip_from_a_dead_index(dead: Served, shell: Shell, python: Python, tmp_path: Path) -> None:
    """HTML for those before 22.2, JSON for those after."""
    found = old_pip(shell, python, f"{dead.url}simple/", "acme-app", "up-lib", into=tmp_path / "site")
    assert found == {"acme_app-1.0", "acme_lib-1.0", "up_lib-1.0"}


def test_pages_are_the_servers_bytes(dead: Served) -> None:
    for (path, accept), answer in dead.pages.items():
        static = ask(dead.url + path, headers={"Accept": accept})
        assert static.body == answer.body
        assert static.headers["Content-Type"].split(";")[0] == answer.headers["Content-Type"].split(";")[0]
        assert "Accept" in static.headers["Vary"]
        assert static.headers["Cache-Control"] == answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        (PIP, True),
        (UV, True),
        ("application/vnd.pypi.simple.latest+json", True),
        ("APPLICATION/VND.PYPI.SIMPLE.V1+JSON;q=1.0", True),
        ("text/html, application/vnd.pypi.simple.v1+json;q=0.5", False),
        ("text/html, */*; q=0.01", False),
        ("*/*", False),
        (None, False),
    ],
)
def test_negotiation(dead: Served, accept: str | None, is_json: bool) -> None:
    for path in ("simple/", "simple/acme-app/"):
        answer = ask(dead.url + path, headers={"Accept": accept} if accept else {})
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(JSON if is_json else "text/html")
        assert answer.body.startswith(b"{") == is_json


def test_format_wins_over_accept(dead: Served) -> None:
    asked = f"{dead.url}simple/acme-app/?format=application/vnd.pypi.simple.v1%2B"
    assert ask(f"{asked}json").body.startswith(b"{")
    assert not ask(f"{asked}html", headers={"Accept": PIP}).body.startswith(b"{")


@pytest.mark.parametrize("name", ["acme-lib", "Acme.Lib", "ACME_LIB", "acme...lib", "aCmE-_.lib", "acme--lib"])
def test_unnormalised_names(dead: Served, name: str) -> None:
    """pip before 6 asks as the user writes, pip before 8.1.2 in lower case with dots."""
    assert b'href="Acme_Lib-1.0' in ask(f"{dead.url}simple/{name}/").body.replace(b"acme_lib-1.0", b"Acme_Lib-1.0")
    without_slash = ask(f"{dead.url}simple/{name}")
    assert (without_slash.status, without_slash.headers["Location"]) == (301, "/simple/acme-lib/")
    assert ask(f"{dead.url}simple/{name}/{LIB[0]}").body == LIB[1]


def test_files_are_served_from_the_store(dead: Served) -> None:
    answer = ask(f"{dead.url}simple/acme-lib/{LIB[0]}")
    assert (answer.body, answer.headers["Content-Type"]) == (LIB[1], "application/octet-stream")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert ask(f"{dead.url}simple/acme-lib/{LIB[0]}.metadata").body.startswith(b"Metadata-Version")
    part = ask(f"{dead.url}simple/acme-lib/{LIB[0]}", headers={"Range": "bytes=5-9"})
    assert (part.status, part.body) == (206, LIB[1][5:10])


@pytest.mark.parametrize(
    "path",
    [
        "simple/nope/", "simple/acme-lib/nope-1.0.tar.gz", "simple/acme-lib/packages.jsonl", "caseus-export.state",
        "caseus-export.files", "simple/acme-lib/.index.html.new", "simple/../../root/catalog.sqlite", "pypi/nope/json",
        ".git/config", "simple/acme-lib/nope/x", "simple/AAAAAAAAAAAAAAAAAAAAAAAAAAAA/",
    ],
)  # fmt: skip
def test_nothing_else_is_served(dead: Served, path: str) -> None:
    assert ask(dead.url + path).status in (400, 404)


def test_pages_are_revalidated(dead: Served) -> None:
    first = ask(f"{dead.url}simple/acme-lib/", headers={"Accept": PIP})
    again = ask(f"{dead.url}simple/acme-lib/", headers={"Accept": PIP, "If-None-Match": first.headers["ETag"]})
    assert again.status == 304


def test_compressed_pages(dead: Served) -> None:
    answer = ask(f"{dead.url}simple/acme-lib/", headers={"Accept": PIP, "Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert (
        "Content-Encoding"
        not in ask(f"{dead.url}simple/acme-lib/{LIB[0]}", headers={"Accept-Encoding": "gzip"}).headers
    )


def test_the_json_api(dead: Served) -> None:
    for path in ("pypi/acme-lib/json", "pypi/Acme.Lib/json", "pypi/acme-lib/1.0/json"):
        answer = ask(dead.url + path)
        assert answer.headers["Content-Type"] == "application/json"
        assert json.loads(answer.body)["info"]["name"] == "acme-lib"
    assert list(ask(f"{dead.url}pypi/acme-lib/json").json()["releases"]) == ["1.0", "2.0rc1"]


def test_people_find_their_way(dead: Served) -> None:
    for path in ("", "index.html", "simple/index.html", "simple/acme-lib/index.html", "changelog/page1.html"):
        answer = ask(dead.url + path)
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
    assert b"There is nothing here" in ask(f"{dead.url}nope").body


# A folder in dumb-pypi's style


@each_client
def test_install_from_a_folder(pool: str, shell: Shell, client: str, tmp_path: Path) -> None:
    shell.install(client, f"{pool}simple/", "acme-app", into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-app": "1.0", "acme.lib": "1.0"}


@each_python
def test_every_pip_from_a_folder(pool: str, shell: Shell, python: Python, tmp_path: Path) -> None:
    found = old_pip(shell, python, f"{pool}simple/", "Acme.App", into=tmp_path / "site")
    assert found == {"acme_app-1.0", "acme_lib-1.0"}


# Caddy


def test_caddy(shell: Shell, tmp_path: Path) -> None:
    """Files and pages in one tree."""
    (tmp_path / "packages" / "deeper").mkdir(parents=True)
    for number, (name, data) in enumerate(FILES):
        (tmp_path / "packages" / ("deeper" if number % 2 else "") / name).write_bytes(data)
    flags = ["--package-dir", str(tmp_path / "packages"), "--with-files", "--compress", "gz", "--compress", "zst"]
    made = export_by(tmp_path / "tree", *flags, "--server-config", str(tmp_path / "conf"))
    assert made.code == 0, made.err
    with by_caddy(tmp_path / "conf", tmp_path / "caddy") as url:
        for client in ("pip", "uv"):
            shell.install(client, f"{url}simple/", "acme-app", into=tmp_path / client).ok()
            assert installed(tmp_path / client) == {"acme-app": "1.0", "acme.lib": "1.0"}
        page = ask(f"{url}simple/acme-lib/", headers={"Accept": PIP, "Accept-Encoding": "zstd"})
        assert (page.headers["Content-Type"], page.headers["Content-Encoding"]) == (JSON, "zstd")
        assert ask(f"{url}simple/acme-lib/").headers["Content-Type"].startswith("text/html")
        assert ask(f"{url}simple/acme-lib").headers["Location"] == "/simple/acme-lib/"
        assert ask(f"{url}simple/acme-lib/{LIB[0]}").body == LIB[1]
        assert ask(f"{url}pypi/acme-lib/json").headers["Content-Type"] == "application/json"
        for path in ("simple/nope/", "caseus-export.state", "simple/acme-lib/.index.html.new"):
            assert ask(url + path).status == 404


def test_caddy_for_a_dead_index(tmp_path: Path, start_caseus: Callable[..., CaseusServer]) -> None:
    server = start_caseus(root=tmp_path / "root")
    assert upload(server.url, *LIB, login=server.admin).status == 200
    flags = ["--index", "main", "--root", str(tmp_path / "root"), "--server-config", str(tmp_path / "conf")]
    assert export_by(tmp_path / "tree", *flags).code == 0
    with by_caddy(tmp_path / "conf", tmp_path / "caddy") as url:
        answer = ask(f"{url}simple/acme-lib/{LIB[0]}")
        assert (answer.status, answer.body) == (200, LIB[1])
        assert ask(f"{url}simple/acme-lib/", headers={"Accept": PIP}).headers["Content-Type"] == JSON
        assert ask(f"{url}simple/acme-lib/packages.jsonl").status == 404
