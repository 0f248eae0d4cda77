"""Detached signatures, from who signs to who verifies, by gpg: of what is published and of what is cached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin

import pytest

from support.clients import Cached, Shell, ask, listed, upload, write
from support.gpg import Gpg
from support.packages import make_sdist, make_wheel
from support.publishers import publish
from support.server import CaseusServer
from support.upstream import Fault, Listed, Options


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    with Gpg() as made:
        yield made


def signed(gpg: Gpg, folder: Path, filename: str, data: bytes) -> bytes:
    """The signature of the file."""
    return gpg.sign(*write(folder, (filename, data))).read_bytes()


def downloaded(base: str, project: str, filename: str, into: Path) -> tuple[Path, Path]:
    """Signature and file, as a reader gets them."""
    paths = []
    for name in (f"{filename}.asc", filename):
        answer = ask(f"{base}simple/{project}/{name}")
        assert answer.status == 200, f"{name}: {answer.status} {answer.reason}"
        paths += write(into, (name, answer.body))
    return paths[0], paths[1]


def told(base: str, project: str, filename: str) -> tuple[object, str | None]:
    """What the JSON page and the HTML page say of a signature."""
    page = ask(f"{base}simple/{project}/", headers={"Accept": "text/html"}).body.decode()
    anchor = next(a for a in re.findall(r"<a [^>]*>[^<]*</a>", page) if a.endswith(f">{filename}</a>"))
    match = re.search(r'data-gpg-sig="(\w+)"', anchor)
    return listed(base, project)[filename].get("gpg-sig"), match[1] if match else None


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_published_by_twine(shared: CaseusServer, shell: Shell, gpg: Gpg, kind: str, tmp_path: Path) -> None:
    name = f"acme-signed-{kind}"
    filename, data = make_wheel(name, "1.0") if kind == "wheel" else make_sdist(name, "1.0")
    files = write(tmp_path / "dist", (filename, data))
    publish(shell, "twine", f"{shared.url}legacy/", shared.admin, [*files, gpg.sign(files[0])]).ok()
    assert told(shared.url, name, filename) == (True, "true")
    signature, file = downloaded(shared.url, name, filename, tmp_path / "site")
    assert gpg.verifies(signature, file)
    file.write_bytes(data + b"\0")
    assert not gpg.verifies(signature, file)


def test_no_armour_is_refused(shared: CaseusServer, shell: Shell, gpg: Gpg, tmp_path: Path) -> None:
    """The first half of one, as a disk that ran full leaves it."""
    files = write(tmp_path / "dist", make_wheel("acme-half-signed", "1.0"))
    signature = gpg.sign(files[0])
    signature.write_bytes(signature.read_bytes()[:120])
    refused = publish(shell, "twine", f"{shared.url}legacy/", shared.admin, [*files, signature]).failed()
    assert "gpg_signature ends before its armour does" in refused.words
    assert not listed(shared.url, "acme-half-signed")


@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("advertised", [True, None], ids=["advertised", "not-told"])
def test_cached(
    cached: Cached, gpg: Gpg, style: Literal["json", "html"], advertised: bool | None, tmp_path: Path
) -> None:
    server, upstream = cached
    upstream.style = style
    name = f"alpha-{style}-{advertised}".lower()
    filename, data = make_wheel(name, "1.0")
    signature = signed(gpg, tmp_path / "theirs", filename, data)
    upstream.projects[name] = [(filename, data, Options(signature=signature, gpg_sig=advertised))]
    before = told(server.url, name, filename)
    assert before == ((True, "true") if advertised else (None, None))
    assert gpg.verifies(*downloaded(server.url, name, filename, tmp_path / "ours"))
    assert told(server.url, name, filename) == (True, "true")  # once it was seen
    asked = upstream.count(f"{upstream.file_path(name, filename)}.asc")
    assert asked == 1
    upstream.down()
    try:
        assert gpg.verifies(*downloaded(server.url, name, filename, tmp_path / "again"))
    finally:
        upstream.up()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("raw", body=b"-----BEGIN PGP SIGNATURE-----\n\niQ=="),
        Fault("raw", body=b"hello"),
        Fault("raw", body=b""),
        Fault("html"),
    ],
    ids=["half", "text", "empty", "login-page"],
)
def test_what_is_no_signature_is_not_kept(
    cached: Cached, gpg: Gpg, fault: Fault, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server, upstream = cached
    name = f"beta-{request.node.callspec.id}"
    filename, data = make_wheel(name, "1.0")
    path = f"{upstream.file_path(name, filename)}.asc"
    upstream.projects[name] = [(filename, data, Options(signature=signed(gpg, tmp_path, filename, data)))]
    upstream.fail(fault, path)
    refused = ask(f"{server.url}simple/{name}/{filename}.asc")
    assert refused.status == 502
    assert not list((server.root / "fetched").rglob(f"{filename}.asc"))
    upstream.heal(path)
    assert gpg.verifies(*downloaded(server.url, name, filename, tmp_path / "ours"))


def test_absence_is_404(cached: Cached) -> None:
    server, upstream = cached
    wheel = make_wheel("unsigned", "1.0")
    upstream.projects["unsigned"] = [wheel]
    assert ask(f"{server.url}simple/unsigned/{wheel[0]}.asc").status == 404


class TestUpdate:
    """`/gpgupdate/P/`."""

    @pytest.fixture
    def name(self, cached: Cached, gpg: Gpg, tmp_path: Path, request: pytest.FixtureRequest) -> str:
        """A project with three files in the cache, of which two have signatures, and a signed one that is not there."""
        name = re.sub(r"[^a-z]+", "-", request.node.name).strip("-")
        files: list[Listed] = []
        for version in ("1.0", "2.0", "4.0"):
            filename, data = make_wheel(name, version)
            options = Options(signature=signed(gpg, tmp_path / "theirs", filename, data))
            files.append((filename, data, options))
        files.append(make_wheel(name, "3.0"))
        cached.upstream.projects[name] = files
        for filename, *_ in files[:2] + files[3:]:
            assert ask(f"{cached.server.url}simple/{name}/{filename}").status == 200
        cached.upstream.forget()
        return name

    def test_every_file_in_the_cache(self, cached: Cached, gpg: Gpg, name: str, tmp_path: Path) -> None:
        server, upstream = cached
        answer = ask(f"{server.url}gpgupdate/{name}/")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        first, second, third, fourth = (make_wheel(name, version)[0] for version in ("1.0", "2.0", "3.0", "4.0"))
        assert answer.body.decode().splitlines() == [
            f"fetched {first}",
            f"fetched {second}",
            f"none    {third}",
            "3 files here: 2 signatures fetched, 0 were here, 1 have none, 0 failed",
        ]
        assert upstream.count(f"/simple/{name}/") == 1  # its page is asked for anew
        assert upstream.count(f"{upstream.file_path(name, fourth)}.asc") == 0
        assert {name: entry.get("gpg-sig") for name, entry in listed(server.url, name).items()} == {
            first: True,
            second: True,
            third: None,
            fourth: None,
        }
        upstream.down()
        try:
            assert gpg.verifies(*downloaded(server.url, name, second, tmp_path / "ours"))
        finally:
            upstream.up()
        again = ask(f"{server.url}gpgupdate/{name}/").body.decode()
        assert "3 files here: 0 signatures fetched, 2 were here, 1 have none, 0 failed" in again

    def test_failures_are_told(self, cached: Cached, name: str) -> None:
        server, upstream = cached
        first = make_wheel(name, "1.0")[0]
        upstream.fail(Fault("raw", body=b"junk"), f"{upstream.file_path(name, first)}.asc")
        lines = ask(f"{server.url}gpgupdate/{name}/").body.decode().splitlines()
        assert lines[0].startswith(f"failed  {first}: the upstream's signature of {first} is not ASCII-armoured")
        assert lines[-1] == "3 files here: 1 signatures fetched, 0 were here, 1 have none, 1 failed"

    def test_a_page_for_people_whose_links_work(self, cached: Cached, name: str) -> None:
        server = cached.server
        for prefix in ("", "main/"):
            url = f"{server.url}{prefix}gpgupdate/{name}/"
            answer = ask(url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
            links = _links(answer.body.decode())
            assert len(links) == 5  # three files, two signatures
            for link in links:
                assert ask(urljoin(url, link)).status == 200, link

    def test_only_by_get(self, cached: Cached, name: str) -> None:
        server, upstream = cached
        for method in ("HEAD", "POST"):
            answer = ask(f"{server.url}gpgupdate/{name}/", method)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET")
        assert upstream.requests == []
        moved = ask(f"{server.url}gpgupdate/{name.upper()}")
        assert (moved.status, moved.headers["Location"]) == (301, f"{name}/")

    def test_of_what_is_published_here_nothing_is_asked(self, cached: Cached) -> None:
        server, upstream = cached
        filename, data = make_wheel("acme-own", "1.0")
        assert upload(server.url, filename, data, login=server.admin).status == 200
        upstream.forget()
        answer = ask(f"{server.url}gpgupdate/acme-own/")
        assert answer.body.decode().splitlines()[0] == f"none    {filename}"
        assert upstream.requests == []

    def test_an_unknown_name(self, cached: Cached) -> None:
        assert ask(f"{cached.server.url}gpgupdate/not-there/").status == 404


def _links(page: str) -> list[str]:
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "a":
                found.append(dict(attrs)["href"] or "")

    Parser().feed(page)
    return found
