"""pip and uv through `/refresh/` and `/norefresh/`, and by a server that asks about what it doesn't know only."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin

import pytest

from support.clients import JSON, Cached, Shell, ask, installed, upload
from support.packages import make_wheel, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream, Fault

each_client = pytest.mark.parametrize("client", ["pip", "uv"])


def versions(base: str, view: str, name: str) -> list[str]:
    answer = ask(f"{base}{view}/{name}/", headers={"Accept": JSON})
    assert answer.status == 200, answer.reason
    found: list[str] = answer.json()["versions"]
    return found


@each_client
def test_each_view_resolves_by_what_it_sees(
    cached: Cached, new_shell: Callable[[], Shell], client: str, tmp_path: Path
) -> None:
    """A release of the upstream is seen by `/refresh/` at once, and then by all."""
    server, upstream = cached
    name = f"alpha-{client}"
    old, new = make_wheel(name, "1.0"), make_wheel(name, "2.0")

    def chosen(view: str, into: str) -> str:
        target = tmp_path / into
        new_shell().install(client, f"{server.url}{view}/", name, into=target).ok()
        return installed(target)[name]

    upstream.projects[name] = [old]
    assert chosen("simple", "first") == "1.0"
    upstream.projects[name] = [old, new]
    asked = upstream.count(f"/simple/{name}/")
    assert chosen("simple", "fresh") == "1.0"
    assert chosen("norefresh", "kept") == "1.0"
    assert upstream.count(f"/simple/{name}/") == asked
    assert chosen("refresh", "anew") == "2.0"
    assert upstream.count(f"/simple/{name}/") > asked
    assert chosen("norefresh", "kept-after") == "2.0"
    assert chosen("simple", "fresh-after") == "2.0"


def test_no_answer_is_older_than_its_question(cached: Cached) -> None:
    """Who comes while another's request runs doesn't share what the upstream said before."""
    server, upstream = cached
    old, new = make_wheel("epsilon", "1.0"), make_wheel("epsilon", "2.0")
    upstream.projects["epsilon"], upstream.etags, gate = [old], False, threading.Event()
    assert versions(server.url, "simple", "epsilon") == ["1.0"]
    upstream.fail(Fault("slow", gate=gate, times=1), "/simple/epsilon/")
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(versions, server.url, "refresh", "epsilon")
        upstream.wait_for("/simple/epsilon/", 2)
        upstream.projects["epsilon"] = [old, new]
        others = [pool.submit(versions, server.url, "refresh", "epsilon") for _ in range(8)]
        gate.set()
        assert {tuple(each.result()) for each in others} == {("1.0", "2.0")}
        assert first.result() == ["1.0"]


@each_client
def test_norefresh_works_while_the_upstream_is_down(cached: Cached, shell: Shell, client: str, tmp_path: Path) -> None:
    server, upstream = cached
    name = f"beta-{client}"
    wheel = make_wheel(name, "1.0")
    upstream.projects[name] = [wheel]
    assert ask(f"{server.url}simple/{name}/{wheel[0]}").body == wheel[1]
    upstream.down()
    try:
        shell.install(client, f"{server.url}norefresh/", name, into=tmp_path / "site").ok()
        assert ask(f"{server.url}norefresh/never-asked-for/").status == 404
    finally:
        upstream.up()
    assert installed(tmp_path / "site") == {name: "1.0"}


@pytest.mark.parametrize("view", ["refresh", "norefresh", "main/refresh", "main/norefresh"])
def test_links_lead_to_files(cached: Cached, view: str) -> None:
    """Of every page: the list's to projects, a project's to its files with their digests and sidecars."""
    server, upstream = cached
    name = f"gamma-{view.replace('/', '-')}"
    wheel = make_wheel(name, "1.0+local")
    upstream.projects[name] = [wheel]
    assert versions(server.url, "simple", name) == ["1.0+local"]
    listing = f"{server.url}{view}/"
    projects = re.findall(r'href="([^"]+)"', ask(listing, headers={"Accept": "text/html"}).body.decode())
    assert f"{name}/" in projects
    page = urljoin(listing, f"{name}/")
    for link in (
        re.findall(r'href="([^"]+)"', ask(page, headers={"Accept": "text/html"}).body.decode())[0],
        ask(page, headers={"Accept": JSON}).json()["files"][0]["url"],
    ):
        url = urljoin(page, link).partition("#")[0]
        assert url.startswith(listing)
        assert ask(url).body == wheel[1]
        assert ask(f"{url}.metadata").status == 200


def test_what_clients_may_keep_of_a_page(cached: Cached) -> None:
    """Nothing without asking again; who has the page as it is gets a 304."""
    server, upstream = cached
    upstream.projects["delta"] = [make_wheel("delta", "1.0")]
    for view, control in (("refresh", "max-age=0"), ("norefresh", "no-cache")):
        url = f"{server.url}{view}/delta/"
        first = ask(url)
        assert first.headers["Cache-Control"] == control
        again = ask(url, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")


def test_views_are_for_reading(cached: Cached) -> None:
    server, _ = cached
    for view in ("refresh/", "norefresh/", "main/refresh/"):
        answer = ask(f"{server.url}{view}", "POST", login=server.admin)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_a_closed_index_is_closed_in_every_view(start_caseus: Callable[..., CaseusServer]) -> None:
    server = start_caseus(flags=("--read", "users"))
    filename, data = make_wheel("acme-closed", "1.0")
    assert upload(server.url, filename, data, login=server.admin).status == 200
    for path in ("refresh/", "refresh/acme-closed/", f"norefresh/acme-closed/{filename}", "gpgupdate/acme-closed/"):
        assert ask(f"{server.url}{path}").status == 401
        answer = ask(f"{server.url}{path}", login=server.admin)
        assert answer.status == 200
        assert answer.headers["Cache-Control"].startswith(("private, ", "no-store"))


def test_only_if_unknown(start_caseus: Callable[..., CaseusServer], tmp_path: Path) -> None:
    """`--upstream-ttl forever`, over a restart too."""
    old, new = make_wheel("alpha", "1.0"), make_wheel("alpha", "2.0")
    root = tmp_path / "root"
    with FakeUpstream({"alpha": [old]}) as upstream:
        for _ in range(2):
            with CaseusServer(root, upstream=upstream.url, flags=("--upstream-ttl", "forever")) as server:
                assert versions(server.url, "simple", "alpha") == ["1.0"]
                assert ask(f"{server.url}simple/alpha/").headers["Cache-Control"] == "max-age=600"
                upstream.projects["alpha"] = [old, new]
        assert upstream.count("/simple/alpha/") == 1
        server = start_caseus(root=root, upstream=upstream.url, flags=("--upstream-ttl", "forever"))
        assert versions(server.url, "refresh", "alpha") == ["1.0", "2.0"]
        page = ask(f"{server.url}simple/alpha/", headers={"Accept": JSON}).json()
        assert page["files"][1]["hashes"] == {"sha256": sha256(new[1])}
        shown = server.cli("config", "show", "--json").stdout
        assert "Infinity" not in shown
