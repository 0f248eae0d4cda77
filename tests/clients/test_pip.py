"""What pip does besides installing: download, wheel, lock, hashes, times."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.clients import Cached, Shell, installed, upload
from support.packages import make_sdist, make_wheel, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream, Options

QUIET = ("-q", "--no-cache-dir")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    """`acme-app` is private, published today, and needs `lib`, of which the upstream has an old and a new release."""
    root = tmp_path_factory.mktemp("both") / "root"
    with FakeUpstream() as upstream, CaseusServer(root, upstream=upstream.url) as server:
        upstream.projects["lib"] = [
            (*make_wheel("lib", version), Options(upload_time=f"{year}-01-01T00:00:00.000000Z"))
            for version, year in (("1.0", 2020), ("2.0", 2024))
        ]
        upstream.projects["untimed"] = [(*make_wheel("untimed", "1.0"), Options())]
        for file in (
            make_wheel("acme-app", "1.0", requires=["lib"]),
            make_sdist("acme-app", "1.0"),
            make_sdist("acme-src", "1.0"),
        ):
            assert upload(server.url, *file, login=server.admin).status == 200
        yield Cached(server, upstream)


def index_of(cached: Cached) -> tuple[str, str]:
    return "--index-url", f"{cached.server.url}simple/"


def test_download(both: Cached, shell: Shell, tmp_path: Path) -> None:
    """With dependencies, and as sources where those are asked for."""
    shell.pip("download", *QUIET, *index_of(both), "-d", tmp_path / "all", "acme-app").ok()
    got = {path.name: path.read_bytes() for path in (tmp_path / "all").iterdir()}
    assert got == dict([make_wheel("acme-app", "1.0", requires=["lib"]), make_wheel("lib", "2.0")])
    flags = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", tmp_path / "source")
    shell.pip("download", *QUIET, *index_of(both), *flags, "acme-app").ok()
    assert [path.name for path in (tmp_path / "source").iterdir()] == ["acme_app-1.0.tar.gz"]


def test_wheel(both: Cached, shell: Shell, tmp_path: Path) -> None:
    """Wheels are copied, a source distribution is built."""
    flags = ("--no-build-isolation", "-w", tmp_path)
    shell.pip("wheel", *QUIET, *index_of(both), *flags, "acme-app", "acme-src").ok()
    names = {path.name for path in tmp_path.glob("*.whl")}
    assert {name.rpartition("-py")[0] for name in names} == {"acme_app-1.0", "acme_src-1.0", "lib-2.0"}
    assert (tmp_path / "lib-2.0-py3-none-any.whl").read_bytes() == make_wheel("lib", "2.0")[1]


def test_lock(both: Cached, shell: Shell, tmp_path: Path) -> None:
    """pylock.toml (PEP 751) has URL and digest of private and cached files, and installs."""
    lock = tmp_path / "pylock.toml"
    shell.pip("lock", *QUIET, *index_of(both), "acme-app", "-o", lock).ok()
    packages = {package["name"]: package for package in tomllib.loads(lock.read_text())["packages"]}
    expected = {"acme-app": make_wheel("acme-app", "1.0", requires=["lib"]), "lib": make_wheel("lib", "2.0")}
    for name, (filename, data) in expected.items():
        (wheel,) = packages[name]["wheels"]
        assert wheel["url"] == f"{both.server.url}simple/{name}/{filename}"
        assert wheel["hashes"] == {"sha256": sha256(data)}
    shell.pip("install", *QUIET, "--no-index", "-r", lock, "--target", tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-app": "1.0", "lib": "2.0"}


def test_require_hashes_of_a_cached_file(both: Cached, shell: Shell, tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    for digest, works in ((sha256(make_wheel("lib", "1.0")[1]), True), (sha256(b"other"), False)):
        pins.write_text(f"lib==1.0 --hash=sha256:{digest}\n")
        flags = ("--require-hashes", "-r", pins, "-d", tmp_path / digest)
        ran = shell.pip("download", *QUIET, *index_of(both), *flags)
        assert (ran.code == 0) == works, ran.output
        assert (tmp_path / digest / "lib-1.0-py3-none-any.whl").exists() == works
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in ran.words


def test_uploaded_prior_to(both: Cached, shell: Shell, tmp_path: Path) -> None:
    """The upstream's times are passed on; a private file has that of its publishing."""

    def chosen(requirement: str, moment: str, into: str) -> dict[str, str]:
        flags = ("--no-deps", "--uploaded-prior-to", moment)
        ran = shell.install("pip", index_of(both)[1], requirement, *flags, into=tmp_path / into)
        return installed(tmp_path / into) if ran.code == 0 else {}

    now = datetime.now(UTC)
    assert chosen("lib", "2022-01-01", "2022") == {"lib": "1.0"}
    assert chosen("lib", "2025-01-01", "2025") == {"lib": "2.0"}
    assert chosen("lib", "2019-01-01", "2019") == {}
    assert chosen("acme-app", f"{now - timedelta(days=2):%Y-%m-%d}", "before") == {}
    assert chosen("acme-app", f"{now + timedelta(days=2):%Y-%m-%d}", "after") == {"acme-app": "1.0"}


def test_uploaded_prior_to_without_a_time(both: Cached, shell: Shell, tmp_path: Path) -> None:
    """Where the upstream tells none, none is invented, and pip says so instead of guessing."""
    flags = ("--uploaded-prior-to", "2025-01-01")
    refused = shell.install("pip", index_of(both)[1], "untimed", *flags, into=tmp_path / "none").failed()
    assert "does not provide upload-time metadata" in refused.words


def test_uv_exclude_newer_of_a_cached_file(both: Cached, shell: Shell, tmp_path: Path) -> None:
    index = index_of(both)[1]
    for year, version in ((2022, "1.0"), (2025, "2.0")):
        into = tmp_path / version
        shell.install("uv", index, "lib", "--exclude-newer", f"{year}-01-01", into=into).ok()
        assert installed(into) == {"lib": version}
