"""The application over a real site: what was published is there, at once and byte for byte; what is fetched, too."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caseus.render import JSON
from caseus.site import Site, build
from caseus.web import create_app
from support.live import FORM_TYPE, LiveServer, Reply, form_body, serving
from support.packages import make_sdist, make_wheel, sha256
from support.served import captured_log, logged
from support.upstream import FakeUpstream, Fault
from support.web import make_config

NAME, WHEEL = make_wheel("acme-tools", "1.0", requires_python=">=3.8")
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
FAR_NAME, FAR = make_wheel("far", "2.0", content=b"# " + b"x" * 300_000)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class World:
    """A site with the user mia, being served."""

    def __init__(self, site: Site, server: LiveServer) -> None:
        self.site, self.server = site, server
        self.site.catalog.add_user(
            "mia", password_hash=site.access.passwords.hash("camembert"), admin=False, actor="test"
        )

    def page(self, name: str) -> Any:
        reply = self.server.get(f"/simple/{name}/", Accept=JSON)
        assert reply.status == 200
        return json.loads(reply.body)

    def upload(self, name: str, data: bytes, password: str = "camembert", signature: bytes | None = None) -> Reply:
        fields = {
            ":action": "file_upload", "protocol_version": "1", "metadata_version": "2.1", "name": "acme-tools",
            "version": "1.0", "filetype": "bdist_wheel" if name.endswith(".whl") else "sdist", "pyversion": "py3",
            "sha256_digest": sha256(data),
        }  # fmt: skip
        files = [("content", name, data)]
        if signature is not None:
            files.append(("gpg_signature", f"{name}.asc", signature))
        body = form_body(fields, *files)
        return self.server.request("POST", "/legacy/", {**basic("mia", password), "Content-Type": FORM_TYPE}, body)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"far": [(FAR_NAME, FAR)]}) as fake:
        yield fake


@pytest.fixture
def world(tmp_path: Path, upstream: FakeUpstream) -> Iterator[World]:
    site = build(make_config(tmp_path, upstreams=[upstream.url]))
    try:
        with captured_log(), serving(create_app(site)) as server:
            yield World(site, server)
    finally:
        site.close()


def test_publish_and_take_back(world: World) -> None:
    assert world.server.get("/simple/acme-tools/").status == 404
    reply = world.upload(NAME, WHEEL, signature=SIGNATURE)
    assert (reply.status, reply.body) == (200, f"{NAME} is published\n".encode())

    [entry] = world.page("acme-tools")["files"]
    assert (entry["filename"], entry["size"], entry["hashes"]) == (NAME, len(WHEEL), {"sha256": sha256(WHEEL)})
    assert (entry["requires-python"], entry["gpg-sig"]) == (">=3.8", True)
    file = world.server.get(f"/simple/acme-tools/{entry['url']}")
    assert file.body == WHEEL
    assert file["ETag"] == f'"{sha256(WHEEL)}"'
    metadata = world.server.get(f"/simple/acme-tools/{NAME}.metadata")
    assert entry["core-metadata"] == {"sha256": sha256(metadata.body)}
    assert world.server.get(f"/simple/acme-tools/{NAME}.asc").body == SIGNATURE
    assert b"acme-tools/" in world.server.get("/simple/").body

    files = world.site.indexes["main"].publisher.select("acme-tools")
    world.site.indexes["main"].publisher.yank(files, "broken <here>", "test")
    assert world.page("acme-tools")["files"][0]["yanked"] == "broken <here>"
    world.site.indexes["main"].publisher.delete(files, "", "test")
    assert world.page("acme-tools")["files"] == []
    assert world.server.get(f"/simple/acme-tools/{NAME}").status == 404
    gone = world.upload(NAME, WHEEL)
    assert (gone.status, str(gone["X-Error-Message"])[:19]) == (409, "File already exists")


def test_again_and_otherwise(world: World) -> None:
    assert world.upload(NAME, WHEEL).status == 200
    again = world.upload(NAME, WHEEL)
    assert (again.status, b"unchanged" in again.body) == (200, True)
    other = world.upload(NAME, make_wheel("acme-tools", "1.0", content=b"# other")[1])
    assert other.status == 409
    assert other.problem["detail"].startswith("File already exists")
    assert world.server.get(f"/simple/acme-tools/{NAME}").body == WHEEL
    assert world.upload(*make_sdist("acme-tools", "1.0")).status == 200
    assert len(world.page("acme-tools")["files"]) == 2


def test_a_wrong_password_and_a_broken_file(world: World, tmp_path: Path) -> None:
    reply = world.upload(NAME, WHEEL, password="brie")
    assert (reply.status, reply["WWW-Authenticate"]) == (401, 'Basic realm="caseus"')
    broken = world.upload(NAME, b"PK no zip")
    assert broken.status == 400
    assert broken.problem["errors"]
    assert world.server.get("/simple/acme-tools/").status == 404
    incoming = tmp_path / ".incoming"
    assert not incoming.exists() or list(incoming.iterdir()) == []


def test_an_upstream_behind_it(world: World, upstream: FakeUpstream) -> None:
    reply = world.server.get("/simple/far/", Accept=JSON)
    assert str(reply["Cache-Control"]).startswith("max-age=")
    [entry] = json.loads(reply.body)["files"]
    assert entry["hashes"]["sha256"] == sha256(FAR)
    assert upstream.count(upstream.file_path("far", FAR_NAME)) == 0

    part = world.server.get(f"/simple/far/{FAR_NAME}", Range="bytes=1000-1999")
    assert (part.status, part.body) == (206, FAR[1000:2000])
    assert world.server.get(f"/simple/far/{FAR_NAME}").body == FAR
    metadata = world.server.get(f"/simple/far/{FAR_NAME}.metadata")
    assert (metadata.status, b"Name: far" in metadata.body) == (200, True)
    upstream.fail(Fault("status", status=500))
    assert world.server.get(f"/simple/far/{FAR_NAME}", Range="bytes=-5").body == FAR[-5:]
    assert world.server.get("/simple/other/").status == 502


def test_the_log_tells_what_was_in_the_cache(world: World) -> None:
    world.upload(NAME, WHEEL)
    paths = [f"/simple/far/{FAR_NAME}.metadata", f"/simple/far/{FAR_NAME}", f"/simple/acme-tools/{NAME}"]
    with captured_log() as log:
        for path in paths * 2:
            assert world.server.get(path).status == 200
        events = logged(log, len(paths) * 2)
    assert [event["cache"] for event in events] == ["miss", "miss", "hit", "hit", "hit", "hit"]


def test_it_is_ready(world: World) -> None:
    assert world.server.get("/readyz").status == 200
