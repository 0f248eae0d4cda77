"""pip of every Python on the machine: before 22.2 it knows HTML only, before 20.3 it resolves by another algorithm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.clients import Cached, Ran, Shell, ask, upload
from support.packages import make_wheel
from support.pythons import FIRST_OWN, Python, find_pythons
from support.server import CaseusServer
from support.upstream import FakeUpstream, Options

PYTHONS = find_pythons()
EVERY_TAG = "py2.py3-none-any"


class Closed(NamedTuple):
    """A server that asks everybody for a login, and a token that reads."""

    server: CaseusServer
    token: str


each_python = pytest.mark.parametrize("python", PYTHONS, ids=lambda python: python.label)


def picky(name: str) -> list[tuple[str, bytes, Options]]:
    """1.0 for everybody, and 2.0 for no Python that there is."""
    bounds: list[tuple[str, str | None]] = [("1.0", None), ("2.0", ">=3.99")]
    return [
        (*make_wheel(name, version, requires_python=bound, tag=EVERY_TAG), Options(requires_python=bound))
        for version, bound in bounds
    ]


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    """`acme-app` needs a private package and two that an HTML upstream has."""
    root = tmp_path_factory.mktemp("stocked") / "root"
    with FakeUpstream(style="html") as upstream, CaseusServer(root, upstream=upstream.url) as server:
        upstream.projects["lib-any"] = [make_wheel("lib-any", "1.0", tag=EVERY_TAG)]
        upstream.projects["lib-picky"] = picky("lib-picky")
        app = make_wheel("acme-app", "1.0", requires=["Lib.Any", "lib-picky", "acme-picky"], tag=EVERY_TAG)
        for file in (app, *((filename, data) for filename, data, _ in picky("acme-picky"))):
            assert upload(server.url, *file, login=server.admin).status == 200
        yield Cached(server, upstream)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    with CaseusServer(tmp_path_factory.mktemp("closed") / "root", flags=("--read", "users")) as server:
        file = make_wheel("acme-secret", "1.0", tag=EVERY_TAG)
        assert upload(server.url, *file, login=server.admin).status == 200
        yield Closed(server, server.token("admin", scope="read"))


def old_pip(shell: Shell, python: Python, index: str, *what: str, into: Path) -> Ran:
    """pip install of this Python, or a skipped test where it has none."""
    flags = ("--isolated", "--disable-pip-version-check", "install", "--no-cache-dir", "--index-url", index)
    ran = shell.run(python.path, "-m", "pip", *flags, "--target", into, *what)
    if "No module named pip" in ran.output:
        pytest.skip(f"Python {python.label} has no pip")
    return ran


def names(folder: Path) -> set[str]:
    """NAME-VERSION of what was installed; the metadata of the oldest pips is read by nothing newer."""
    return {path.name.removesuffix(".dist-info") for path in folder.glob("*.dist-info")}


def test_there_are_pythons() -> None:
    """CI must have one that is older than any that caseus runs on."""
    print(*(f"Python {python.label}: {python.path}" for python in PYTHONS), sep="\n")
    assert PYTHONS
    if os.environ.get("CI") == "true":
        assert any(python.version < FIRST_OWN for python in PYTHONS), "install an older Python, as 3.9, with its pip"


@each_python
def test_install(stocked: Cached, shell: Shell, python: Python, tmp_path: Path) -> None:
    """A private package and cached ones, by HTML; what `Requires-Python` excludes is passed over."""
    old_pip(shell, python, f"{stocked.server.url}simple/", "acme-app", into=tmp_path / "site").ok()
    assert names(tmp_path / "site") == {"acme_app-1.0", "lib_any-1.0", "lib_picky-1.0", "acme_picky-1.0"}


@each_python
def test_closed_index(closed: Closed, shell: Shell, python: Python, tmp_path: Path) -> None:
    """With the login of ~/.netrc."""
    netrc = shell.home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login __token__ password {closed.token}\n")
    netrc.chmod(0o600)
    old_pip(shell, python, f"{closed.server.url}simple/", "acme-secret", into=tmp_path / "site").ok()
    assert names(tmp_path / "site") == {"acme_secret-1.0"}
    assert closed.token not in closed.server.log


def test_pages_say_what_the_oldest_read(stocked: Cached) -> None:
    """pip 9 and later read `data-requires-python`; all follow relative links with a digest."""
    page = ask(f"{stocked.server.url}simple/acme-picky/", headers={"Accept": "text/html, */*; q=0.01"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert b'data-requires-python="&gt;=3.99"' in page.body
    assert b'href="acme_picky-1.0-py2.py3-none-any.whl#sha256=' in page.body
