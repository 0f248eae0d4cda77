"""yank, unyank and delete by the command line beside a running server: seen at the next request."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.clients import Shell, ask, installed, listed, upload
from support.packages import make_wheel
from support.server import CaseusServer


def publish(server: CaseusServer, name: str) -> dict[str, str]:
    """Two versions of the project; version to filename."""
    filenames = {}
    for version in ("1.0", "2.0"):
        filenames[version], data = make_wheel(name, version)
        assert upload(server.url, filenames[version], data, login=server.admin).status == 200
    return filenames


def change(server: CaseusServer, *words: str) -> None:
    done = server.cli("project", *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["acme_yank==2.0", "acme_kept-2.0-py3-none-any.whl"], ids=["version", "file"])
def test_pages_say_so_at_the_next_request(shared: CaseusServer, target: str) -> None:
    name = target.partition("=")[0].partition("-")[0].replace("_", "-")
    filename = publish(shared, name)["2.0"]
    assert listed(shared.url, name)[filename]["yanked"] is False
    change(shared, "yank", target, "--reason", "breaks <everything>")
    assert listed(shared.url, name)[filename]["yanked"] == "breaks <everything>"
    page = ask(f"{shared.url}simple/{name}/", headers={"Accept": "text/html"}).body.decode()
    assert 'data-yanked="breaks &lt;everything&gt;"' in page
    change(shared, "unyank", target)
    assert listed(shared.url, name)[filename]["yanked"] is False
    change(shared, "delete", target, "--yes")
    assert filename not in listed(shared.url, name)
    assert len(listed(shared.url, name)) == 1
    assert ask(f"{shared.url}simple/{name}/{filename}").status == 404


def test_a_deleted_filename_takes_no_other_bytes(shared: CaseusServer) -> None:
    name = "acme-deleted"
    publish(shared, name)
    change(shared, "delete", name, "--yes")
    assert listed(shared.url, name) == {}
    assert ask(f"{shared.url}simple/{name}/").status == 200
    for content in (b"", b"# other\n"):
        refused = upload(shared.url, *make_wheel(name, "2.0", content=content), login=shared.admin)
        assert refused.status == 409


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_clients_see_it(shared: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    """One client, with its cache: a yanked version is taken only where it is pinned, a deleted one never."""
    index, name = f"{shared.url}simple/", f"acme-seen-{client}"
    publish(shared, name)

    def chosen(requirement: str, into: str) -> str:
        shell.install(client, index, requirement, into=tmp_path / into).ok()
        return installed(tmp_path / into)[name]

    assert chosen(name, "first") == "2.0"
    change(shared, "yank", f"{name}==2.0")
    assert chosen(name, "yanked") == "1.0"
    assert chosen(f"{name}==2.0", "pinned") == "2.0"
    change(shared, "unyank", f"{name}==2.0")
    assert chosen(name, "unyanked") == "2.0"
    change(shared, "delete", f"{name}==2.0", "--yes")
    assert chosen(name, "deleted") == "1.0"
    shell.install(client, index, f"{name}==2.0", into=tmp_path / "gone").failed()
