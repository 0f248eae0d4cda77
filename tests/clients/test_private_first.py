"""A private name is never asked upstream: in no spelling, by no route, by no client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from support.clients import JSON, Cached, Shell, ask, installed, listed, upload
from support.packages import make_wheel, metadata
from support.server import CaseusServer
from support.upstream import FakeUpstream, Options

CASES = ["published", "deleted", "reserved"]
PRIVATE = ("--private", "acme-reserved*")


def name_of(case: str) -> str:
    return f"acme-{case}-name"


def spellings(name: str) -> list[str]:
    first, second, third = name.split("-")
    return [
        name,
        f"{first.title()}_{second.title()}_{third}",
        f"{first}.{second}.{third}",
        f"{first.upper()}--{second}-{third}",
        f"{first}-_.{second}-{third}",
        f"{first}%2D{second}%5f{third}",
    ]


def wheel_name(name: str, version: str) -> str:
    return make_wheel(name, version)[0]


def take_upstream(upstream: FakeUpstream, *names: str) -> None:
    """Someone else has these names there, with a higher version."""
    for name in names:
        told = Options(metadata=metadata(name, "9.0"), signature=b"signature", gpg_sig=True)
        upstream.projects[name] = [(*make_wheel(name, "9.0"), told)]


def publish(server: CaseusServer, name: str) -> None:
    assert upload(server.url, *make_wheel(name, "1.0"), login=server.admin).status == 200


def asked_upstream(upstream: FakeUpstream, name: str) -> list[str]:
    """Paths that tell the upstream the name, in whatever spelling."""
    paths = {request.path for request in upstream.requests}
    return [path for path in paths if any(canonicalize_name(part).startswith(name) for part in path.split("/"))]


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    """A server where each of the three names is private in its own way, and was so before anybody asked for it."""
    root = tmp_path_factory.mktemp("private") / "root"
    with FakeUpstream() as upstream, CaseusServer(root, upstream=upstream.url, flags=PRIVATE) as server:
        take_upstream(upstream, *map(name_of, CASES))
        take_upstream(upstream, "public")
        publish(server, name_of("published"))
        publish(server, name_of("deleted"))
        assert server.cli("project", "delete", name_of("deleted"), "--yes").returncode == 0
        yield Cached(server, upstream)
        assert asked_upstream(upstream, "acme") == []


@pytest.mark.parametrize("case", CASES)
def test_no_route_asks_upstream(private: Cached, case: str) -> None:
    server, upstream = private
    name = name_of(case)
    pages, files = set(), set()
    for base in (server.url, f"{server.url}main/"):
        for spelling in spellings(name):
            page = f"{base}simple/{spelling}"
            for target in (f"{page}/", page, f"{page}/?format={JSON}"):
                for accept in (JSON, "text/html"):
                    pages |= {ask(target, method, headers={"Accept": accept}).status for method in ("GET", "HEAD")}
            for filename in (wheel_name(name, "9.0"), f"{name}-9.0.tar.gz"):
                for ending in ("", ".metadata", ".asc", ".provenance"):
                    target = f"{page}/{filename}{ending}"
                    files |= {ask(target, method, headers={"Range": "bytes=0-9"}).status for method in ("GET", "HEAD")}
            ask(f"{base}pypi/{spelling}/json")
    assert asked_upstream(upstream, name) == []
    assert 200 in pages and pages <= {200, 301, 302, 307, 308}
    assert 404 in files and files <= {404, 301, 302, 307, 308}
    assert list(listed(server.url, name)) == ([wheel_name(name, "1.0")] if case == "published" else [])


@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("case", CASES)
def test_install(private: Cached, shell: Shell, client: str, case: str, tmp_path: Path) -> None:
    """The private release wins over the higher one upstream; without any private release nothing is installed."""
    server, upstream = private
    name, index = name_of(case), f"{server.url}simple/"
    ran = shell.install(client, index, spellings(name)[1], into=tmp_path / "site")
    if case == "published":
        ran.ok()
        assert installed(tmp_path / "site") == {name: "1.0"}
    else:
        ran.failed()
    shell.install(client, index, f"{name}==9.0", into=tmp_path / "pinned").failed()
    assert asked_upstream(upstream, name) == []
    shell.install(client, index, "public", into=tmp_path / "public").ok()
    assert "/simple/public/" in asked_upstream(upstream, "public")  # what is not private is asked


def test_a_name_that_was_fetched_before_it_was_published(private: Cached) -> None:
    """Publishing takes the name over: what was fetched is gone at once, and its files are asked for no more."""
    server, upstream = private
    name, fetched = "once-public", wheel_name("once-public", "9.0")
    take_upstream(upstream, name)
    assert list(listed(server.url, name)) == [fetched]
    assert ask(f"{server.url}simple/{name}/{fetched}").status == 200
    publish(server, name)
    before = upstream.count(f"/simple/{name}/"), upstream.count(upstream.file_path(name, fetched))
    assert list(listed(server.url, name)) == [wheel_name(name, "1.0")]
    for ending in ("", ".metadata", ".asc"):
        assert ask(f"{server.url}simple/{name}/{fetched}{ending}").status == 404
    assert (upstream.count(f"/simple/{name}/"), upstream.count(upstream.file_path(name, fetched))) == before
    assert not list(server.root.glob(f"fetched/*/{name}/*"))


def test_a_tombstone_outlives_a_restart(tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        name, root = "acme-gone-name", tmp_path / "root"
        take_upstream(upstream, name)
        with CaseusServer(root, upstream=upstream.url) as server:
            publish(server, name)
            assert server.cli("project", "delete", name, "--yes").returncode == 0
        with CaseusServer(root, upstream=upstream.url) as server:
            assert listed(server.url, name) == {}
            assert ask(f"{server.url}simple/{name}/").status == 200
            assert asked_upstream(upstream, name) == []
