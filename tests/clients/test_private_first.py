"""A private name is never asked upstream: in no spelling, by no route, by no client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from support.clients import JSON, Shell, ask, installed, listed, upload
from support.packages import make_wheel
from support.server import CaseusServer
from support.upstream import FakeUpstream, Listed, Options

SPELLINGS = ["acme-secret", "Acme_Secret", "acme.secret", "ACME--SECRET", "acme-_.secret", "acme%2Dsecret"]
FILE = "acme_secret-9.0-py3-none-any.whl"
OTHER_FILE = "Acme.Secret-9.0.tar.gz"
CASES = ["published", "deleted", "reserved"]
HTML = "text/html"


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """Someone else took the private name there, with a higher version."""
    signed = Options(metadata=b"Metadata-Version: 2.1\nName: acme-secret\nVersion: 9.0\n", signature=b"s", gpg_sig=True)
    projects: dict[str, list[Listed]] = {
        "acme-secret": [(*make_wheel("acme-secret", "9.0"), signed)],
        "acme-app": [make_wheel("acme-app", "9.0")],
        "public": [make_wheel("public", "1.0")],
    }
    with FakeUpstream(projects) as server:
        yield server


def make_private(server: CaseusServer, case: str) -> None:
    """What the name is here; "reserved" needs only the flag that `flags` gives."""
    if case != "reserved":
        assert upload(server.url, *make_wheel("acme-secret", "1.0"), login=server.admin).status == 200
    if case == "deleted":
        assert server.cli("project", "delete", "acme-secret", "--yes").returncode == 0


def flags(case: str) -> tuple[str, ...]:
    return ("--private", "acme-*") if case == "reserved" else ()


def asked_upstream(upstream: FakeUpstream, name: str) -> list[str]:
    """Paths that tell the upstream the name, in whatever spelling."""
    segments = {request.path: request.path.strip("/").split("/") for request in upstream.requests}
    return [path for path, parts in segments.items() if any(canonicalize_name(part).startswith(name) for part in parts)]


@pytest.mark.parametrize("case", CASES)
def test_no_route_asks_upstream(upstream: FakeUpstream, start_caseus: Callable[..., CaseusServer], case: str) -> None:
    server = start_caseus(upstream=upstream.url, flags=flags(case))
    make_private(server, case)
    statuses: dict[str, set[int]] = {"page": set(), "file": set()}
    for base in (server.url, f"{server.url}main/"):
        for spelling in SPELLINGS:
            page = f"{base}simple/{spelling}"
            for target in (f"{page}/", page, f"{page}/?format={JSON}"):
                for accept in (JSON, HTML):
                    for method in ("GET", "HEAD"):
                        answer = ask(target, method, headers={"Accept": accept})
                        statuses["page"].add(answer.status)
            for filename in (FILE, OTHER_FILE):
                for ending in ("", ".metadata", ".asc", ".provenance"):
                    for method in ("GET", "HEAD"):
                        answer = ask(f"{page}/{filename}{ending}", method, headers={"Range": "bytes=0-9"})
                        statuses["file"].add(answer.status)
            ask(f"{base}pypi/{spelling}/json")
    assert asked_upstream(upstream, "acme-secret") == []
    assert statuses["page"] <= {200, 301, 302, 307, 308}
    assert 200 in statuses["page"]
    assert statuses["file"] <= {404, 301, 302, 307, 308}
    assert 404 in statuses["file"]
    expected = ["acme_secret-1.0-py3-none-any.whl"] if case == "published" else []
    assert list(listed(server.url, "acme-secret")) == expected
    assert listed(server.url, "public")
    assert asked_upstream(upstream, "public") == ["/simple/public/"]


@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("case", CASES)
def test_install(
    upstream: FakeUpstream,
    start_caseus: Callable[..., CaseusServer],
    shell: Shell,
    client: str,
    case: str,
    tmp_path: Path,
) -> None:
    """The private release wins over the higher one upstream; without any private release nothing is installed."""
    server = start_caseus(upstream=upstream.url, flags=flags(case))
    make_private(server, case)
    index = f"{server.url}simple/"
    ran = shell.install(client, index, "Acme.Secret", into=tmp_path / "site")
    if case == "published":
        ran.ok()
        assert installed(tmp_path / "site") == {"acme-secret": "1.0"}
    else:
        ran.failed()
    shell.install(client, index, "acme_secret==9.0", into=tmp_path / "pinned").failed()
    assert asked_upstream(upstream, "acme-secret") == []
    shell.install(client, index, "public", into=tmp_path / "public").ok()


def test_a_name_that_was_fetched_before_it_was_published(
    upstream: FakeUpstream, start_caseus: Callable[..., CaseusServer]
) -> None:
    """Publishing takes the name over: what was fetched is gone at once, and its files are asked for no more."""
    server = start_caseus(upstream=upstream.url)
    assert list(listed(server.url, "acme-secret")) == [FILE]
    assert ask(f"{server.url}simple/acme-secret/{FILE}").status == 200
    make_private(server, "published")
    upstream.forget()
    assert list(listed(server.url, "acme-secret")) == ["acme_secret-1.0-py3-none-any.whl"]
    for ending in ("", ".metadata", ".asc"):
        assert ask(f"{server.url}simple/acme-secret/{FILE}{ending}").status == 404
    assert asked_upstream(upstream, "acme-secret") == []
    assert not list(server.root.glob("fetched/*/acme-secret/*"))


def test_private_names_outlive_a_restart_without_the_flag(
    upstream: FakeUpstream, tmp_path: Path, start_caseus: Callable[..., CaseusServer]
) -> None:
    """A tombstone keeps the name ours for good."""
    root = tmp_path / "root"
    with CaseusServer(root, upstream=upstream.url) as server:
        make_private(server, "deleted")
    again = start_caseus(root=root, upstream=upstream.url)
    assert listed(again.url, "acme-secret") == {}
    assert ask(f"{again.url}simple/acme-secret/").status == 200
    assert asked_upstream(upstream, "acme-secret") == []
