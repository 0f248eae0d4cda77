"""uv, poetry, pdm and pipenv lock a project against the index and install what they locked."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.clients import Cached, Shell, upload
from support.packages import make_sdist, make_wheel, sha256
from support.projects import LOCKERS, make_project
from support.upstream import Options

each_locker = pytest.mark.parametrize("client", LOCKERS)


def of_windows(name: str, version: str) -> tuple[str, bytes]:
    """A wheel for a machine that this is not."""
    filename, data = make_wheel(name, version, tag="py3-none-win_amd64")
    return filename, data


@each_locker
@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "bare"])
def test_lock_and_install(cached: Cached, shell: Shell, client: str, slash: str, tmp_path: Path) -> None:
    """A private package that needs a cached one.

    The lock has the digest of every file of the release, also of those that this machine can't use. pipenv asks for
    /simple//NAME/ first if its source ends in a slash, is told 404, and finds them in another way.
    """
    server, upstream = cached
    app, lib = f"acme-app-{client}{len(slash)}", f"lib-{client}{len(slash)}"
    told = Options(requires_python=">=3.95")
    upstream.projects[lib] = [
        (*make_wheel(lib, "1.0"), Options()),
        (*make_sdist(lib, "1.0"), Options()),
        (*make_wheel(lib, "9.0", requires_python=">=3.95"), told),
    ]
    files = [make_wheel(app, "2.0", requires=[lib]), make_sdist(app, "2.0"), of_windows(app, "2.0")]
    for file in [make_wheel(app, "1.0"), *files]:
        assert upload(server.url, *file, login=server.admin).status == 200

    project = make_project(shell, client, f"{server.url}simple{slash}", app, into=tmp_path / "work")
    project.lock().ok()
    locked = project.locked
    assert [filename for filename, data in files if sha256(data) not in locked] == []
    assert sha256(upstream.projects[lib][0][1]) in locked
    assert sha256(upstream.projects[lib][2][1]) not in locked
    assert f"{server.url}simple" in locked
    project.install().ok()
    assert project.installed == {app: "2.0", lib: "1.0"}


@each_locker
def test_a_lock_outlives_a_new_release_and_a_yank(cached: Cached, shell: Shell, client: str, tmp_path: Path) -> None:
    server, _ = cached
    name = f"acme-kept-{client}"
    assert upload(server.url, *make_wheel(name, "1.0"), login=server.admin).status == 200
    project = make_project(shell, client, f"{server.url}simple/", name, into=tmp_path / "work")
    project.lock().ok()
    assert upload(server.url, *make_wheel(name, "2.0"), login=server.admin).status == 200
    assert server.cli("project", "yank", f"{name}==1.0").returncode == 0
    project.install().ok()
    assert project.installed == {name: "1.0"}


def test_uv_add(cached: Cached, shell: Shell, tmp_path: Path) -> None:
    """It writes the newest version as the bound, locks and installs."""
    server, upstream = cached
    assert upload(server.url, *make_wheel("acme-added", "1.2"), login=server.admin).status == 200
    upstream.projects["lib-added"] = [make_wheel("lib-added", "3.4")]
    project = make_project(shell, "uv", f"{server.url}simple/", into=tmp_path / "work")
    project.run("add", "acme-added", "Lib_Added").ok()
    text = (project.folder / "pyproject.toml").read_text()
    assert "acme-added>=1.2" in text and "lib-added>=3.4" in text
    assert project.installed == {"acme-added": "1.2", "lib-added": "3.4"}
    project.run("remove", "acme-added").ok()
    assert project.installed == {"lib-added": "3.4"}


def test_uv_compile_and_sync_with_hashes(cached: Cached, shell: Shell, tmp_path: Path) -> None:
    server, _ = cached
    lib, index = make_wheel("acme-compiled-lib", "1.0"), f"{server.url}simple/"
    for file in (lib, make_wheel("acme-compiled", "1.0", requires=["acme-compiled-lib"])):
        assert upload(server.url, *file, login=server.admin).status == 200
    (tmp_path / "in.txt").write_text("acme-compiled\n")
    project = make_project(shell, "uv", index, into=tmp_path / "work")
    pins = tmp_path / "out.txt"
    project.run("pip", "compile", "-q", "--generate-hashes", str(tmp_path / "in.txt"), "-o", str(pins)).ok()
    assert f"sha256:{sha256(lib[1])}" in pins.read_text()
    project.run("venv", "-q").ok()
    project.run("pip", "sync", "--require-hashes", str(pins), env={"UV_PYTHON": ".venv/bin/python"}).ok()
    assert project.installed == {"acme-compiled": "1.0", "acme-compiled-lib": "1.0"}
