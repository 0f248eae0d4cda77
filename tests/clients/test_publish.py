"""twine, uv, poetry, hatch, pdm and flit publish: everywhere, again, with other bytes, with wrong credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.clients import Shell, ask, installed, listed, tool, upload, write
from support.packages import make_sdist, make_wheel, sha256
from support.publishers import PUBLISHERS, flit_project, flit_publish, publish
from support.server import CaseusServer

each_client = pytest.mark.parametrize("client", PUBLISHERS)
MUTE = {"pdm"}
"""They show the status code and nothing else of an answer."""

SIGNATURE = b"""-----BEGIN PGP SIGNATURE-----

iHUEABYKAB0WIQTest0000000000000000000000000000000FAmVudGVzdAAKCRAA
AAAAAAAAAP9AAP9AAP9AAA
=AAAA
-----END PGP SIGNATURE-----
"""


@each_client
@pytest.mark.parametrize("path", ["legacy/", "simple/", ""], ids=["legacy", "simple", "root"])
def test_publish(shared: CaseusServer, shell: Shell, client: str, path: str, tmp_path: Path) -> None:
    """A wheel and an sdist of one release, listed at once with right bytes."""
    name = f"acme-{client}-{path.strip('/') or 'root'}"
    files = [make_wheel(name, "1.0"), make_sdist(name, "1.0")]
    publish(shell, client, shared.url + path, shared.admin, write(tmp_path / "dist", *files)).ok()
    page = listed(shared.url, name)
    assert {filename: entry["hashes"]["sha256"] for filename, entry in page.items()} == {
        filename: sha256(data) for filename, data in files
    }
    for filename, data in files:
        assert ask(f"{shared.url}simple/{name}/{filename}").body == data


@each_client
def test_publish_again(shared: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    """The same bytes are a success; others are refused by words that a person reads."""
    name = f"acme-again-{client}"
    first, other = make_wheel(name, "1.0"), make_wheel(name, "1.0", content=b"# other\n")
    publish(shell, client, f"{shared.url}legacy/", shared.admin, write(tmp_path / "dist", first)).ok()
    before = listed(shared.url, name)
    publish(shell, client, f"{shared.url}legacy/", shared.admin, write(tmp_path / "dist", first)).ok()
    assert listed(shared.url, name) == before

    refused = publish(shell, client, f"{shared.url}legacy/", shared.admin, write(tmp_path / "other", other)).failed()
    assert "File already exists" in refused.words or client in MUTE
    assert "409" in refused.words
    assert listed(shared.url, name) == before
    assert ask(f"{shared.url}simple/{name}/{first[0]}").body == first[1]


@each_client
def test_wrong_password(shared: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    """Each client shows what to do, although each reads another part of the answer.

    Each as a user of its own: who fails too often has to wait.
    """
    name = f"acme-wrong-{client}"
    files = write(tmp_path / "dist", make_wheel(name, "1.0"))
    refused = publish(shell, client, f"{shared.url}legacy/", (f"nobody-{client}", "not-this-one"), files).failed()
    assert "401" in refused.words
    assert "wrong user name, password or token" in refused.words or client in MUTE
    assert not listed(shared.url, name)


@each_client
def test_bad_file(shared: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    """A wheel whose name is not that of its METADATA is refused, with the reason in what the client prints."""
    _, data = make_wheel("acme-inside", "1.0")
    name = f"acme_outside_{client}"
    files = write(tmp_path, (f"{name}-1.0-py3-none-any.whl", data))
    refused = publish(shell, client, f"{shared.url}legacy/", shared.admin, files).failed()
    if client == "twine":
        assert "400" in refused.words
    assert not listed(shared.url, name.replace("_", "-"))


def test_flit_builds_and_publishes(shared: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    """The same source again is a success, another under the same version is refused."""
    url, project = f"{shared.url}legacy/", flit_project(tmp_path / "project", "acme-flit", "1.0")
    refused = flit_publish(shell, url, ("nobody", "not-this-one"), project).failed()
    assert "401" in refused.words and "wrong user name, password or token" in refused.words
    flit_publish(shell, url, shared.admin, project).ok()
    before = listed(shared.url, "acme-flit")
    assert set(before) == {"acme_flit-1.0-py2.py3-none-any.whl", "acme_flit-1.0.tar.gz"}
    flit_publish(shell, url, shared.admin, project).ok()
    flit_project(project, "acme-flit", "1.0", content="other = True\n")
    refused = flit_publish(shell, url, shared.admin, project).failed()
    assert "409" in refused.words and "File already exists" in refused.words
    assert listed(shared.url, "acme-flit") == before
    shell.install("pip", f"{shared.url}simple/", "acme-flit", into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-flit": "1.0"}


@pytest.mark.parametrize("client", ["poetry", "pdm"])
def test_skip_existing(shared: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    """These two know from the answer that the name is taken. twine has the flag for the public index only."""
    name, url = f"acme-skip-{client}", f"{shared.url}legacy/"
    first, other = make_wheel(name, "1.0"), make_wheel(name, "1.0", content=b"# other\n")
    assert upload(shared.url, *first, login=shared.admin).status == 200
    files = write(tmp_path / "dist", other, make_sdist(name, "1.0"))
    publish(shell, client, url, shared.admin, files, "--skip-existing").ok()
    page = listed(shared.url, name)
    assert page[first[0]]["hashes"]["sha256"] == sha256(first[1])
    assert f"{name.replace('-', '_')}-1.0.tar.gz" in page


def test_uv_check_url(shared: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    """uv looks at the page first: it sends nothing that is there, and refuses other bytes itself."""
    url, index = f"{shared.url}legacy/", f"{shared.url}simple/"
    wheel, sdist = make_wheel("acme-checked", "1.0"), make_sdist("acme-checked", "1.0")
    assert upload(shared.url, *wheel, login=shared.admin).status == 200
    ran = publish(shell, "uv", url, shared.admin, write(tmp_path / "dist", wheel, sdist), "--check-url", index).ok()
    assert "already exists, skipping" in ran.words
    assert set(listed(shared.url, "acme-checked")) == {wheel[0], sdist[0]}
    other = make_wheel("acme-checked", "1.0", content=b"# other\n")
    posts = shared.log.count('"POST"')
    files = write(tmp_path / "other", other)
    refused = publish(shell, "uv", url, shared.admin, files, "--check-url", index).failed()
    assert "Local file and index file do not match" in refused.words
    assert shared.log.count('"POST"') == posts
    new = write(tmp_path / "new", make_wheel("acme-checked-new", "1.0"))
    publish(shell, "uv", url, shared.admin, new, "--check-url", index).ok()
    assert listed(shared.url, "acme-checked-new")


def test_twine_with_a_detached_signature(shared: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    file = make_wheel("acme-signed", "1.0")
    (path,) = write(tmp_path, file)
    (signature,) = write(tmp_path, (f"{file[0]}.asc", SIGNATURE))
    env = {"TWINE_USERNAME": shared.admin[0], "TWINE_PASSWORD": shared.admin[1]}
    flags = ("--non-interactive", "--disable-progress-bar", "--repository-url", f"{shared.url}legacy/")
    shell.run(tool("twine"), "upload", *flags, path, signature, env=env).ok()
    assert listed(shared.url, "acme-signed")[file[0]]["gpg-sig"] is True
    assert ask(f"{shared.url}simple/acme-signed/{file[0]}.asc").body == SIGNATURE


@each_client
@pytest.mark.parametrize("half", ["password", "user"])
def test_token_in_either_half(shared: CaseusServer, shell: Shell, client: str, half: str, tmp_path: Path) -> None:
    name = f"acme-token-{client}-{half}"
    token = shared.token("admin")
    login = ("__token__", token) if half == "password" else (token, "anything")
    publish(shell, client, f"{shared.url}legacy/", login, write(tmp_path / "dist", make_wheel(name, "1.0"))).ok()
    assert listed(shared.url, name)


def test_a_token_that_may_only_read(shared: CaseusServer, shell: Shell, tmp_path: Path) -> None:
    login = ("__token__", shared.token("admin", scope="read"))
    files = write(tmp_path / "dist", make_wheel("acme-readonly", "1.0"))
    refused = publish(shell, "twine", f"{shared.url}legacy/", login, files).failed()
    assert "403" in refused.words and "may not upload" in refused.words
    assert not listed(shared.url, "acme-readonly")


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_visible_at_once(shared: CaseusServer, shell: Shell, client: str, tmp_path: Path) -> None:
    """Once the upload is answered, the next install gets the new version, also by a client that cached the page."""
    name = f"acme-fresh-{client}"
    index = f"{shared.url}simple/"
    for minor in range(4):
        version = f"1.{minor}"
        assert upload(shared.url, *make_wheel(name, version), login=shared.admin).status == 200
        if client == "pip":  # with its cache
            command = ("install", "-q", "--index-url", index, "--target", tmp_path / version, name)
            shell.pip(*command).ok()
        else:
            shell.install("uv", index, name, into=tmp_path / version).ok()
        assert installed(tmp_path / version) == {name: version}


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_a_new_name_is_visible_at_once_to_who_was_told_that_it_is_not_there(
    shared: CaseusServer, shell: Shell, client: str, tmp_path: Path
) -> None:
    name = f"acme-late-{client}"
    index = f"{shared.url}simple/"
    shell.install(client, index, name, into=tmp_path / "early").failed()
    assert upload(shared.url, *make_wheel(name, "1.0"), login=shared.admin).status == 200
    shell.install(client, index, name, into=tmp_path / "late").ok()
