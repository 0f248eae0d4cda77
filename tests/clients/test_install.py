"""pip and uv install what is published here and what is cached from an upstream."""

from __future__ import annotations

import hashlib
import json
import random
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from packaging.utils import canonicalize_name

from support.clients import JSON, Cached, Shell, ask, installed, listed, tool, upload
from support.packages import make_sdist, make_wheel, metadata, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream, Options

each_client = pytest.mark.parametrize("client", ["pip", "uv"])

PADDING = random.Random(0).randbytes(400_000)


def wheel(
    name: str, version: str, requires: tuple[str, ...], told: Options, *, sidecar: bool
) -> tuple[str, bytes, Options]:
    """A wheel far longer than what it takes to read its METADATA by ranges."""
    data = make_wheel(name, version, requires=requires, files={"padding": PADDING}, compress=False)
    return *data, replace(told, metadata=metadata(name, version, requires=requires) if sidecar else None)


def bodies(upstream: FakeUpstream, path: str) -> int:
    """How often a file was asked for as a whole."""
    return sum(r.path == path and r.method == "GET" and "range" not in r.headers for r in upstream.requests)


@each_client
def test_private_package_with_private_dependency(
    shared: CaseusServer, shell: Shell, client: str, tmp_path: Path
) -> None:
    app, lib = f"acme-app-{client}", f"acme-lib-{client}"
    for file in (
        make_wheel(app, "1.0", requires=[f"{lib.replace('-', '.').title()}>=2"]),
        make_wheel(lib, "1.5"),
        make_wheel(lib, "2.1"),
    ):
        assert upload(shared.url, *file, login=shared.admin).status == 200
    shell.install(client, f"{shared.url}simple/", app.replace("-", "_").upper(), into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {app: "1.0", lib: "2.1"}


@each_client
@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("metadata_by", ["sidecar", "ranges", "bare-ranges"])
def test_cached_package(
    shell: Shell, cached: Cached, client: str, style: Literal["json", "html"], metadata_by: str, tmp_path: Path
) -> None:
    """Resolving reads METADATA only: the bodies of rejected candidates are fetched neither by the client nor by us.

    "bare-ranges": ranges of files without ETag and Last-Modified, as some mirrors send them.
    """
    server, upstream = cached
    upstream.style, upstream.etags = style, metadata_by != "bare-ranges"
    alpha, beta = (f"{name}-{client}-{style}-{metadata_by}" for name in ("alpha", "beta"))
    told = Options(size=False, last_modified=None) if metadata_by == "bare-ranges" else Options(size=False)
    sidecar = metadata_by == "sidecar"
    upstream.projects[alpha] = [
        wheel(alpha, "1.0", (beta,), told, sidecar=sidecar),
        wheel(alpha, "2.0", (f"{beta}>=99",), told, sidecar=sidecar),
        wheel(alpha, "3.0", (f"{beta}>=99",), told, sidecar=sidecar),
    ]
    upstream.projects[beta] = [wheel(beta, "1.0", (), told, sidecar=sidecar)]
    index = f"{server.url}simple/"
    page = ask(f"{index}{alpha}/", headers={"Accept": JSON}).json()
    assert page["meta"]["api-version"] == "1.4"
    assert len(page["files"]) == 3 and not any("size" in file for file in page["files"])
    assert not [request for request in upstream.requests if request.path.startswith("/files/")]

    shell.install(client, index, alpha, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {alpha: "1.0", beta: "1.0"}

    chosen, *rejected = (filename for filename, *_ in upstream.projects[alpha])
    for filename in rejected:
        path = upstream.file_path(alpha, filename)
        assert bodies(upstream, path) == 0
        assert (upstream.count(path) == 0) == sidecar
        assert f'"/simple/{alpha}/{filename}"' not in server.log
    assert bodies(upstream, upstream.file_path(alpha, chosen)) == 1
    assert f'"/simple/{alpha}/{chosen}"' in server.log
    assert upstream.sent < 3 * len(PADDING)  # the two that were chosen, and a little of the others


@each_client
def test_cached_package_of_an_upstream_without_ranges(
    shell: Shell, cached: Cached, client: str, tmp_path: Path
) -> None:
    """Where only the whole wheel is to be had, METADATA is read from that, and it is fetched for good."""
    server, upstream = cached
    upstream.style, upstream.ranges = "html", False
    alpha, beta = f"alpha-whole-{client}", f"beta-whole-{client}"
    upstream.projects[alpha] = [wheel(alpha, "1.0", (beta,), Options(), sidecar=False)]
    upstream.projects[beta] = [wheel(beta, "1.0", (), Options(), sidecar=False)]
    index = f"{server.url}simple/"
    shell.install(client, index, alpha, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {alpha: "1.0", beta: "1.0"}
    sent = upstream.sent
    shell.install("pip", index, alpha, into=tmp_path / "again").ok()
    assert upstream.sent == sent


@each_client
@pytest.mark.parametrize("style", ["json", "html"])
def test_requires_python_and_yanks_of_the_upstream_are_heeded(
    shell: Shell, cached: Cached, client: str, style: Literal["json", "html"], tmp_path: Path
) -> None:
    server, upstream = cached
    upstream.style = style
    name = f"alpha-told-{client}-{style}"
    upstream.projects[name] = [
        (*make_wheel(name, "1.0"), Options()),
        (*make_wheel(name, "2.0"), Options(yanked="broken & <bad>")),
        (*make_wheel(name, "3.0", requires_python=">=99"), Options(requires_python=">=99")),
    ]
    shell.install(client, f"{server.url}simple/", name, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {name: "1.0"}


HASHES: dict[str, Callable[[bytes], dict[str, str]]] = {
    "sha256-and-more": lambda data: {
        "md5": digest("md5", data),
        "sha256": sha256(data),
        "sha512": digest("sha512", data),
    },
    "sha512": lambda data: {"sha512": digest("sha512", data)},
    "sha1": lambda data: {"sha1": digest("sha1", data)},
    "md5": lambda data: {"md5": digest("md5", data)},
    "sha3_256": lambda data: {"sha3_256": digest("sha3_256", data)},
    "blake2b_256": lambda data: {"blake2b_256": hashlib.blake2b(data, digest_size=32).hexdigest()},
    "unknown": lambda data: {"crc32": "00000000"},
    "none": lambda data: {},
}


def digest(algorithm: str, data: bytes) -> str:
    return hashlib.new(algorithm, data).hexdigest()


@each_client
@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("hashes", HASHES)
def test_digests_of_an_upstream_break_no_client(
    shell: Shell, cached: Cached, client: str, style: Literal["json", "html"], hashes: str, tmp_path: Path
) -> None:
    """Whatever it tells, before and after we have the file: pip dies of names that its hashlib does not know."""
    server, upstream = cached
    upstream.style = style
    name = canonicalize_name(f"alpha-{client}-{style}-{hashes}")
    filename, data = make_wheel(name, "1.0")
    upstream.projects[name] = [(filename, data, Options(hashes=HASHES[hashes](data)))]
    for into in ("cold", "warm"):
        shell.install(client, f"{server.url}simple/", name, into=tmp_path / into).ok()
        assert installed(tmp_path / into) == {name: "1.0"}


def test_uv_lock_and_sync(shared: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    """The lock has digest, size and time of a private file, installs, and stays right."""
    lib = make_wheel("locked-lib", "2.1")
    for file in (make_wheel("locked-app", "1.0", requires=["locked-lib"]), lib):
        assert upload(shared.url, *file, login=shared.admin).status == 200
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "work"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["locked-app"]\n'
        f'[[tool.uv.index]]\nurl = "{shared.url}simple/"\ndefault = true\n'
    )
    del shell.env["UV_NO_CONFIG"]  # which keeps uv from the project's own settings too
    shell.env["UV_PYTHON"] = tool("python")
    shell.uv("lock", cwd=project).ok()
    lock = tomllib.loads((project / "uv.lock").read_text())
    entry = next(package for package in lock["package"] if package["name"] == "locked-lib")
    (locked,) = entry["wheels"]
    assert locked["hash"] == f"sha256:{sha256(lib[1])}"
    assert locked["size"] == len(lib[1])
    assert locked["url"] == f"{shared.url}simple/locked-lib/{lib[0]}"
    assert "upload-time" in locked
    shell.uv("sync", "--locked", cwd=project).ok()
    (site,) = (project / ".venv").glob("lib/python*/site-packages")
    assert installed(site)["locked-lib"] == "2.1"


@each_client
def test_require_hashes(shared: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    good, other = make_wheel("pinned-lib", "1.0"), make_wheel("pinned-other", "1.0")
    for file in (good, other):
        assert upload(shared.url, *file, login=shared.admin).status == 200
    pins = tmp_path / "pins.txt"
    index = f"{shared.url}simple/"
    pins.write_text(f"pinned-lib==1.0 --hash=sha256:{sha256(good[1])}\n")
    shell.install(client, index, "--require-hashes", "-r", pins, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"pinned-lib": "1.0"}
    pins.write_text(f"pinned-other==1.0 --hash=sha256:{sha256(good[1])}\n")
    shell.install(client, index, "--require-hashes", "-r", pins, into=tmp_path / "none").failed()
    assert not installed(tmp_path / "none")


def test_uv_exclude_newer_sees_the_time_of_publishing(shared: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    assert upload(shared.url, *make_wheel("newer-lib", "1.0"), login=shared.admin).status == 200
    index = f"{shared.url}simple/"
    now = datetime.now(UTC)
    before, after = (f"--exclude-newer={now + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (-2, 2))
    shell.install("uv", index, "newer-lib", before, into=tmp_path / "before").failed()
    shell.install("uv", index, "newer-lib", after, into=tmp_path / "after").ok()
    assert installed(tmp_path / "after") == {"newer-lib": "1.0"}
    told = listed(shared.url, "newer-lib")["newer_lib-1.0-py3-none-any.whl"]["upload-time"]
    assert abs(datetime.fromisoformat(told) - now) < timedelta(hours=1)


def test_pip_download_gets_the_very_bytes(shared: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    files = [make_wheel("got-lib", "1.0"), make_wheel("got-lib", "2.0"), make_sdist("got-src", "1.0")]
    for file in files:
        assert upload(shared.url, *file, login=shared.admin).status == 200
    flags = ("download", "-q", "--no-cache-dir", "--no-deps", "--index-url", f"{shared.url}simple/", "-d", tmp_path)
    shell.pip(*flags, "got-lib==1.0").ok()
    shell.pip(*flags, "got-lib").ok()
    for name, data in files[:2]:
        assert (tmp_path / name).read_bytes() == data


def test_pip_index_versions(shared: CaseusServer, shell: Shell) -> None:
    for version in ("1.0", "1.10", "1.9"):
        assert upload(shared.url, *make_wheel("told-lib", version), login=shared.admin).status == 200
    told = shell.pip("index", "versions", "--json", "--index-url", f"{shared.url}simple/", "told-lib").ok().output
    found = re.search(r"^\{.*\}$", told, re.MULTILINE)
    assert found
    assert json.loads(found[0])["versions"] == ["1.10", "1.9", "1.0"]
