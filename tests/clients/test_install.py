"""pip and uv install what is published here and what is cached from an upstream."""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from support.clients import JSON, Shell, ask, installed, listed, tool, upload
from support.packages import make_sdist, make_wheel, metadata, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream, Listed, Options

Client = Literal["pip", "uv"]
each_client = pytest.mark.parametrize("client", ["pip", "uv"])

PADDING = random.Random(0).randbytes(400_000)


def wheel(
    name: str, version: str, requires: tuple[str, ...] = (), *, sidecar: bool = True, size: bool = True
) -> tuple[str, bytes, Options]:
    """A wheel far longer than what it takes to read its METADATA by ranges."""
    data = make_wheel(name, version, requires=requires, files={f"{name}/padding": PADDING})
    return *data, Options(metadata=metadata(name, version, requires=requires) if sidecar else None, size=size)


@each_client
def test_private_package_with_private_dependency(
    caseus: CaseusServer, shell: Shell, client: str, tmp_path: Path
) -> None:
    for file in (
        make_wheel("acme-app", "1.0", requires=["acme.Lib>=2"]),
        make_wheel("acme-lib", "1.5"),
        make_wheel("acme-lib", "2.1"),
    ):
        assert upload(caseus.url, *file, login=caseus.admin).status == 200
    shell.install(client, f"{caseus.url}simple/", "Acme_App", into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-app": "1.0", "acme-lib": "2.1"}


@each_client
@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("sidecar", [True, False], ids=["sidecar", "no-sidecar"])
def test_cached_package(
    shell: Shell,
    start_caseus: Callable[..., CaseusServer],
    client: str,
    style: Literal["json", "html"],
    sidecar: bool,
    tmp_path: Path,
) -> None:
    """Resolving reads METADATA only: the bodies of rejected candidates are fetched neither by the client nor by us."""
    projects: dict[str, list[Listed]] = {
        "alpha": [
            wheel("alpha", "1.0", ("beta",), sidecar=sidecar, size=False),
            wheel("alpha", "2.0", ("beta>=99",), sidecar=sidecar, size=False),
            wheel("alpha", "3.0", ("beta>=99",), sidecar=sidecar, size=False),
        ],
        "beta": [wheel("beta", "1.0", sidecar=sidecar, size=False)],
    }
    with FakeUpstream(projects, style=style) as upstream:
        server = start_caseus(upstream=upstream.url)
        index = f"{server.url}simple/"
        page = ask(f"{index}alpha/", headers={"Accept": JSON}).json()
        assert page["meta"]["api-version"] == "1.4"
        assert not any("size" in file for file in page["files"])
        assert not [request for request in upstream.requests if request.path.startswith("/files/")]

        shell.install(client, index, "alpha", into=tmp_path / "site").ok()
        assert installed(tmp_path / "site") == {"alpha": "1.0", "beta": "1.0"}

        for version in ("2.0", "3.0"):
            path = upstream.file_path("alpha", f"alpha-{version}-py3-none-any.whl")
            whole = [r for r in upstream.requests if r.path == path and r.method == "GET" and "range" not in r.headers]
            assert not whole
            assert upstream.count(path) == 0 or not sidecar
        chosen = upstream.file_path("alpha", "alpha-1.0-py3-none-any.whl")
        assert sum(r.path == chosen and "range" not in r.headers for r in upstream.requests) == 1
        assert upstream.sent < 3 * len(PADDING)  # the two that were chosen, and a little of the others
        for version in ("2.0", "3.0"):
            assert f"simple/alpha/alpha-{version}-py3-none-any.whl " not in server.log


@each_client
def test_cached_package_of_an_upstream_without_ranges(
    shell: Shell, start_caseus: Callable[..., CaseusServer], client: str, tmp_path: Path
) -> None:
    """Where only the whole wheel is to be had, METADATA is read from that, and it is fetched once."""
    projects: dict[str, list[Listed]] = {
        "alpha": [wheel("alpha", "1.0", ("beta",), sidecar=False)],
        "beta": [wheel("beta", "1.0", sidecar=False)],
    }
    with FakeUpstream(projects, style="html", ranges=False) as upstream:
        server = start_caseus(upstream=upstream.url)
        shell.install(client, f"{server.url}simple/", "alpha", into=tmp_path / "site").ok()
        assert installed(tmp_path / "site") == {"alpha": "1.0", "beta": "1.0"}
        shell.pip(
            "download", "-q", "--no-cache-dir", "--index-url", f"{server.url}simple/", "-d", tmp_path, "alpha"
        ).ok()
        path = upstream.file_path("alpha", "alpha-1.0-py3-none-any.whl")
        whole = [r for r in upstream.requests if r.path == path and r.method == "GET" and "range" not in r.headers]
        assert len(whole) <= 2


@each_client
def test_requires_python_and_yanks_of_the_upstream_are_heeded(
    shell: Shell, start_caseus: Callable[..., CaseusServer], client: str, tmp_path: Path
) -> None:
    projects: dict[str, list[Listed]] = {
        "alpha": [
            (*make_wheel("alpha", "1.0"), Options()),
            (*make_wheel("alpha", "2.0"), Options(yanked="broken & <bad>")),
            (*make_wheel("alpha", "3.0", requires_python=">=99"), Options(requires_python=">=99")),
        ]
    }
    for style in ("json", "html"):
        with FakeUpstream(projects, style=style) as upstream:
            server = start_caseus(upstream=upstream.url)
            shell.install(client, f"{server.url}simple/", "alpha", into=tmp_path / style).ok()
            assert installed(tmp_path / style) == {"alpha": "1.0"}


def test_uv_lock_and_sync(caseus: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    """The lock has digest, size and time of a private file, installs, and stays right."""
    lib = make_wheel("acme-lib", "2.1")
    for file in (make_wheel("acme-app", "1.0", requires=["acme-lib"]), lib):
        assert upload(caseus.url, *file, login=caseus.admin).status == 200
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "work"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["acme-app"]\n'
        f'[[tool.uv.index]]\nurl = "{caseus.url}simple/"\ndefault = true\n'
    )
    del shell.env["UV_NO_CONFIG"]  # which keeps uv from the project's own settings too
    shell.env["UV_PYTHON"] = tool("python")
    shell.uv("lock", cwd=project).ok()
    lock = tomllib.loads((project / "uv.lock").read_text())
    entry = next(package for package in lock["package"] if package["name"] == "acme-lib")
    (locked,) = entry["wheels"]
    assert locked["hash"] == f"sha256:{sha256(lib[1])}"
    assert locked["size"] == len(lib[1])
    assert locked["url"] == f"{caseus.url}simple/acme-lib/{lib[0]}"
    assert "upload-time" in locked
    shell.uv("sync", "--locked", cwd=project).ok()
    (site,) = (project / ".venv").glob("lib/python*/site-packages")
    assert installed(site)["acme-lib"] == "2.1"


@each_client
def test_require_hashes(caseus: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    good, other = make_wheel("acme-lib", "1.0"), make_wheel("acme-other", "1.0")
    for file in (good, other):
        assert upload(caseus.url, *file, login=caseus.admin).status == 200
    pins = tmp_path / "pins.txt"
    index = f"{caseus.url}simple/"
    pins.write_text(f"acme-lib==1.0 --hash=sha256:{sha256(good[1])}\n")
    shell.install(client, index, "--require-hashes", "-r", pins, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-lib": "1.0"}
    pins.write_text(f"acme-other==1.0 --hash=sha256:{sha256(good[1])}\n")
    shell.install(client, index, "--require-hashes", "-r", pins, into=tmp_path / "none").failed()
    assert not installed(tmp_path / "none")


def test_uv_exclude_newer_sees_the_time_of_publishing(caseus: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    assert upload(caseus.url, *make_wheel("acme-lib", "1.0"), login=caseus.admin).status == 200
    index = f"{caseus.url}simple/"
    now = datetime.now(UTC)
    before, after = (f"--exclude-newer={now + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (-2, 2))
    shell.install("uv", index, "acme-lib", before, into=tmp_path / "before").failed()
    shell.install("uv", index, "acme-lib", after, into=tmp_path / "after").ok()
    assert installed(tmp_path / "after") == {"acme-lib": "1.0"}
    told = listed(caseus.url, "acme-lib")["acme_lib-1.0-py3-none-any.whl"]["upload-time"]
    assert abs(datetime.fromisoformat(told) - now) < timedelta(hours=1)


def test_pip_download_gets_the_very_bytes(caseus: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    files = [make_wheel("acme-lib", "1.0"), make_wheel("acme-lib", "2.0"), make_sdist("acme-src", "1.0")]
    for file in files:
        assert upload(caseus.url, *file, login=caseus.admin).status == 200
    flags = ("download", "-q", "--no-cache-dir", "--no-deps", "--index-url", f"{caseus.url}simple/", "-d", tmp_path)
    shell.pip(*flags, "acme-lib==1.0").ok()
    shell.pip(*flags, "acme-lib").ok()
    for name, data in files[:2]:
        assert (tmp_path / name).read_bytes() == data


def test_pip_index_versions(caseus: CaseusServer, shell: Shell) -> None:
    for version in ("1.0", "1.10", "1.9"):
        assert upload(caseus.url, *make_wheel("acme-lib", version), login=caseus.admin).status == 200
    told = shell.pip("index", "versions", "--json", "--index-url", f"{caseus.url}simple/", "acme-lib").ok().output
    found = re.search(r"^\{.*\}$", told, re.MULTILINE)
    assert found
    assert json.loads(found[0])["versions"] == ["1.10", "1.9", "1.0"]
