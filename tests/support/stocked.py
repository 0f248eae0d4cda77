"""A server with real packages of every kind in it, and what readers see of them."""

from __future__ import annotations

import atexit
import base64
import json
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from support.clients import Login, ask, name_and_version
from support.live import FORM_TYPE, form_body
from support.packages import make_sdist, make_wheel, sha256
from support.server import CaseusServer, run_cli

SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
JSON = "application/vnd.pypi.simple.v1+json"
PROJECTS = ("acme", "gone", "two-spellings")

WHEEL = make_wheel("acme", "1.0", requires_python=">=3.8")
SDIST = make_sdist("acme", "1.0", requires_python=">=3.8")
YANKED = make_wheel("acme", "1.1")
YANKED_SILENTLY = make_wheel("acme", "1.2")
DELETED = make_wheel("acme", "1.3")
GONE = make_wheel("gone", "1.0")
SPELT = make_wheel("Two.Spellings", "1.0")
SPELT_OTHERWISE = ("Two.Spellings-1.1.tar.gz", make_sdist("two_spellings", "1.1")[1])


def publish(
    server: CaseusServer, file: tuple[str, bytes], *, signature: bytes | None = None, login: Login | None = None
) -> int:
    """The status of the answer."""
    filename, data = file
    name, version = name_and_version(filename)
    wheel = filename.endswith(".whl")
    fields = {
        ":action": "file_upload", "protocol_version": "1", "metadata_version": "2.1", "name": name, "version": version,
        "filetype": "bdist_wheel" if wheel else "sdist", "pyversion": "py3" if wheel else "source",
        "sha256_digest": sha256(data),
    }  # fmt: skip
    files = [("content", filename, data)]
    if signature is not None:
        files.append(("gpg_signature", f"{filename}.asc", signature))
    user, password = login or server.admin
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Content-Type": FORM_TYPE, "Authorization": f"Basic {credentials}"}
    return ask(f"{server.url}legacy/", "POST", headers=headers, body=form_body(fields, *files)).status


def stock(server: CaseusServer) -> None:
    """PROJECTS: a signature, yanks with and without a reason, deletions, a project that is all deleted, spellings."""
    assert publish(server, WHEEL, signature=SIGNATURE) == 200
    for file in (SDIST, YANKED, YANKED_SILENTLY, DELETED, GONE, SPELT, SPELT_OTHERWISE):
        assert publish(server, file) == 200
    for command in (
        ("yank", "acme==1.1", "--reason", "breaks <on> start"),
        ("yank", "acme==1.2"),
        ("delete", "acme==1.3", "--reason", "contains a key", "--yes"),
        ("delete", "gone", "--yes"),
    ):
        done = server.cli("project", *command)
        assert done.returncode == 0, done.stderr


@cache
def _stocked() -> tuple[tempfile.TemporaryDirectory[str], dict[tuple[str, str], bytes]]:
    """A stopped server's root below a folder, made once a process, and the pages that it served."""
    folder = tempfile.TemporaryDirectory(prefix="caseus-stocked-")
    atexit.register(folder.cleanup)
    with CaseusServer(Path(folder.name) / "data") as server:
        stock(server)
        return folder, pages(server)


def stocked_root(target: Path) -> dict[tuple[str, str], bytes]:
    """Makes `target` a root that is stocked and stopped; the pages that it served."""
    folder, served = _stocked()
    shutil.copytree(Path(folder.name) / "data", target)
    return served


def pages(server: CaseusServer, projects: Iterable[str] = PROJECTS) -> dict[tuple[str, str], bytes]:
    """The list and every project's page, as HTML and as JSON."""
    found = {}
    for path in ("simple/", *(f"simple/{project}/" for project in projects)):
        for accept in ("text/html", JSON):
            answer = ask(server.url + path, headers={"Accept": accept})
            assert answer.status == 200, path
            found[path, accept] = answer.body
    return found


def cli_json(*arguments: str | Path, code: int = 0) -> Any:
    """What the command prints with --json."""
    done = run_cli(*arguments, "--json")
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == (code != 0)
    return json.loads(done.stdout)
