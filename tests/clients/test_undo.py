"""yank, unyank and delete by the command line beside a running server: seen at the next request."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.clients import Shell, ask, installed, listed, upload
from support.packages import make_wheel
from support.server import CaseusServer

FILES = {version: make_wheel("acme-lib", version) for version in ("1.0", "2.0")}


@pytest.fixture
def server(caseus: CaseusServer) -> CaseusServer:
    for file in FILES.values():
        assert upload(caseus.url, *file, login=caseus.admin).status == 200
    return caseus


def change(server: CaseusServer, *words: str) -> None:
    done = server.cli("project", *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["acme_lib==2.0", FILES["2.0"][0]])
def test_pages_say_so_at_the_next_request(server: CaseusServer, target: str) -> None:
    filename = FILES["2.0"][0]
    assert listed(server.url, "acme-lib")[filename]["yanked"] is False
    change(server, "yank", target, "--reason", "breaks <everything>")
    assert listed(server.url, "acme-lib")[filename]["yanked"] == "breaks <everything>"
    page = ask(f"{server.url}simple/acme-lib/", headers={"Accept": "text/html"}).body.decode()
    assert 'data-yanked="breaks &lt;everything&gt;"' in page
    change(server, "unyank", target)
    assert listed(server.url, "acme-lib")[filename]["yanked"] is False
    change(server, "delete", target, "--yes")
    assert list(listed(server.url, "acme-lib")) == [FILES["1.0"][0]]
    assert ask(f"{server.url}simple/acme-lib/{filename}").status == 404


def test_a_deleted_filename_takes_no_other_bytes(server: CaseusServer) -> None:
    filename, data = FILES["2.0"]
    change(server, "delete", "acme-lib", "--yes")
    assert listed(server.url, "acme-lib") == {}
    assert ask(f"{server.url}simple/acme-lib/").status == 200
    other = make_wheel("acme-lib", "2.0", content=b"# other\n")
    assert upload(server.url, *other, login=server.admin).status == 409
    assert upload(server.url, filename, data, login=server.admin).status == 409


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_clients_see_it(server: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    """One client, with its cache: a yanked version is taken only where it is pinned, a deleted one never."""
    index = f"{server.url}simple/"

    def chosen(requirement: str, into: str) -> dict[str, str]:
        shell.install(client, index, requirement, into=tmp_path / into).ok()
        return installed(tmp_path / into)

    assert chosen("acme-lib", "first") == {"acme-lib": "2.0"}
    change(server, "yank", "acme-lib==2.0")
    assert chosen("acme-lib", "yanked") == {"acme-lib": "1.0"}
    assert chosen("acme-lib==2.0", "pinned") == {"acme-lib": "2.0"}
    change(server, "unyank", "acme-lib==2.0")
    assert chosen("acme-lib", "unyanked") == {"acme-lib": "2.0"}
    change(server, "delete", "acme-lib==2.0", "--yes")
    assert chosen("acme-lib", "deleted") == {"acme-lib": "1.0"}
    shell.install(client, index, "acme-lib==2.0", into=tmp_path / "gone").failed()
