"""Behind nginx, with TLS, under a path: set up word by word as the guide says."""

from __future__ import annotations

import http.client
import json
import random
import ssl
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from support.clients import Shell, ask, installed, listed, tool, upload, write
from support.nginx import Fronted, behind_nginx, block_of_the_guide
from support.packages import make_wheel
from support.projects import make_project
from support.publishers import PUBLISHERS, flit_project, flit_publish, publish
from support.pythons import Python, find_pythons

EVERY_TAG = "py2.py3-none-any"
FILE = make_wheel("acme-app", "1.0", tag=EVERY_TAG)
LARGE = {"padding": random.Random(0).randbytes(3_000_000)}
"""More than nginx takes unless it is told to (1 MiB)."""


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    with behind_nginx(tmp_path_factory.mktemp("fronted")) as fronted:
        assert upload(fronted.server.url, *FILE, login=fronted.server.admin).status == 200
        yield fronted


# How each client is told of an own certificate authority: the guide has the same names.
TRUST: Mapping[str, str] = {
    "pip": "PIP_CERT",
    "uv": "SSL_CERT_FILE",
    "twine": "TWINE_CERT",
    "poetry": "REQUESTS_CA_BUNDLE",
    "pdm": "SSL_CERT_FILE",
    "pipenv": "PIP_CERT",
    "hatch": "HATCH_INDEX_CA_CERT",
    "flit": "REQUESTS_CA_BUNDLE",
}


@pytest.fixture
def trusting(shell: Shell, fronted: Fronted) -> Callable[[str], Shell]:
    """The shell, told of the authority in the way of one client only."""

    def trust(client: str) -> Shell:
        shell.env[TRUST[client]] = str(fronted.ca)
        return shell

    return trust


# Installing


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_install(fronted: Fronted, trusting: Callable[[str], Shell], client: str, tmp_path: Path) -> None:
    trusting(client).install(client, f"{fronted.url}simple/", "Acme_App", into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-app": "1.0"}


@pytest.mark.parametrize("flag", ["pip --cert", "uv --system-certs"])
def test_install_by_flags(fronted: Fronted, shell: Shell, flag: str, tmp_path: Path) -> None:
    client, option = flag.split()
    if client == "uv":
        shell.env["SSL_CERT_FILE"] = str(fronted.ca)  # which then stands for the system's own
    more = [str(fronted.ca)] if client == "pip" else []
    shell.install(client, f"{fronted.url}simple/", "acme-app", option, *more, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {"acme-app": "1.0"}


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_who_does_not_know_the_authority_installs_nothing(
    fronted: Fronted, shell: Shell, client: str, tmp_path: Path
) -> None:
    index = f"{fronted.url}simple/"
    retries = ("--retries", "0") if client == "pip" else ()
    shell.install(client, index, "acme-app", *retries, into=tmp_path / "site").failed()
    assert not installed(tmp_path / "site")


@pytest.mark.parametrize("python", find_pythons(), ids=lambda python: python.label)
def test_pip_of_every_python(fronted: Fronted, shell: Shell, python: Python, tmp_path: Path) -> None:
    flags = ("--isolated", "--disable-pip-version-check", "--cert", fronted.ca, "install", "--no-cache-dir")
    index = ("--index-url", f"{fronted.url}simple/", "--target", tmp_path / "site")
    ran = shell.run(python.path, "-m", "pip", *flags, *index, "acme-app")
    if "No module named pip" in ran.output:
        pytest.skip(f"Python {python.label} has no pip")
    ran.ok()
    assert (tmp_path / "site" / "acme_app-1.0.dist-info").is_dir()


@pytest.mark.parametrize("client", ["uv", "poetry", "pdm", "pipenv"])
def test_locks_name_the_public_url(
    fronted: Fronted, trusting: Callable[[str], Shell], client: str, tmp_path: Path
) -> None:
    project = make_project(trusting(client), client, f"{fronted.url}simple/", "acme-app", into=tmp_path / "work")
    project.lock().ok()
    assert f"{fronted.url}simple" in project.locked
    assert f":{fronted.server.port}/" not in project.locked
    if client in ("uv", "pdm"):
        assert f'url = "{fronted.url}simple/acme-app/{FILE[0]}"' in project.locked
    project.install().ok()
    assert project.installed == {"acme-app": "1.0"}


def test_pip_lock_names_the_public_url(fronted: Fronted, trusting: Callable[[str], Shell], tmp_path: Path) -> None:
    lock = tmp_path / "pylock.toml"
    trusting("pip").pip("lock", "-q", "--index-url", f"{fronted.url}simple/", "acme-app", "-o", lock).ok()
    (package,) = tomllib.loads(lock.read_text())["packages"]
    assert package["wheels"][0]["url"] == f"{fronted.url}simple/acme-app/{FILE[0]}"


# Publishing


@pytest.mark.parametrize("client", [*PUBLISHERS, "flit"])
def test_publish(fronted: Fronted, trusting: Callable[[str], Shell], client: str, tmp_path: Path) -> None:
    """Also what is larger than nginx takes by itself; the words of a refusal come through."""
    name, url, login = f"acme-{client}", f"{fronted.url}legacy/", fronted.server.admin
    shell = trusting(client)
    if client == "flit":
        project = flit_project(tmp_path / "project", name, "1.0")
        flit_publish(shell, url, login, project).ok()
        flit_project(project, name, "1.0", content="other = True\n")
        refused = flit_publish(shell, url, login, project).failed()
    else:
        files = write(tmp_path / "dist", make_wheel(name, "1.0", files=LARGE, compress=False))
        publish(shell, client, url, login, files).ok()
        other = write(tmp_path / "other", make_wheel(name, "1.0", content=b"# other\n"))
        refused = publish(shell, client, url, login, other).failed()
    assert "409" in refused.words
    assert "File already exists" in refused.words or client == "pdm"
    assert listed(fronted.server.url, name)


def test_twine_cert(fronted: Fronted, shell: Shell, tmp_path: Path) -> None:
    files = write(tmp_path, make_wheel("acme-flag", "1.0"))
    env = {"TWINE_USERNAME": "admin", "TWINE_PASSWORD": fronted.server.admin[1]}
    flags = ("--non-interactive", "--cert", fronted.ca, "--repository-url", f"{fronted.url}legacy/")
    shell.run(tool("twine"), "upload", *flags, *files, env=env).ok()
    assert listed(fronted.server.url, "acme-flag")


# Addresses


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("", "/python/"),
        ("/simple", "/python/simple/"),
        ("/simple/acme-app", "/python/simple/acme-app/"),
        ("/simple/Acme_App", "/python/simple/acme-app/"),
        ("/simple/Acme_App/", "/python/simple/acme-app/"),
        ("/simple/Acme.App/?format=text/html", "/python/simple/acme-app/"),
        (f"/simple/Acme_App/{FILE[0]}", f"/python/simple/acme-app/{FILE[0]}"),
        ("/main/simple/Acme_App/", "/python/main/simple/acme-app/"),
    ],
)
def test_redirects_stay_inside(fronted: Fronted, path: str, leads: str) -> None:
    asked = fronted.url.rstrip("/") + path
    answer = ask(asked, ca=fronted.ca)
    assert answer.status == 301
    target = urljoin(asked, answer.headers["Location"])
    assert urlsplit(target)[:3] == (*urlsplit(fronted.url)[:2], leads)
    assert ask(target, ca=fronted.ca).status == 200


def test_links_stay_inside(fronted: Fronted) -> None:
    page = f"{fronted.url}simple/acme-app/"
    entry = ask(f"{page}?format=application/vnd.pypi.simple.v1%2Bjson", ca=fronted.ca).json()["files"][0]
    assert ask(urljoin(page, entry["url"]), ca=fronted.ca).body == FILE[1]


def test_people_are_told_the_public_url(fronted: Fronted) -> None:
    home = ask(fronted.url, ca=fronted.ca).body.decode()
    assert f"{fronted.url}simple/" in home and f"{fronted.url}legacy/" in home
    assert str(fronted.server.port) not in home
    assert f"{fronted.url}simple/" in fronted.server.log  # the lines of the start


def logged(fronted: Fronted, request_id: str) -> dict[str, Any]:
    """The line of a request; it comes after the answer."""
    for _ in range(2000):
        for line in fronted.server.log.splitlines():
            if f'"request_id": "{request_id}"' in line:
                return dict(json.loads(line))
        threading.Event().wait(0.01)
    raise AssertionError(f"{request_id} is not in the log:\n{fronted.server.log}")


def test_the_log_has_the_client_and_the_id_of_the_proxy(fronted: Fronted) -> None:
    """A client can't write itself another address: nginx adds the one that it sees, and that is believed."""
    parts = urlsplit(fronted.url)
    context = ssl.create_default_context(cafile=fronted.ca)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=60, context=context, source_address=("127.0.0.2", 0)
    )
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Request-Id": "seen-by-nginx"}
    connection.request("GET", "/python/simple/", headers=headers)
    answer = connection.getresponse()
    assert answer.headers["X-Request-Id"] == "seen-by-nginx"
    assert answer.read()
    connection.close()
    line = logged(fronted, "seen-by-nginx")
    assert (line["client"], line["path"]) == ("127.0.0.2", "/python/simple/")


def test_nothing_else_is_served(fronted: Fronted) -> None:
    """Outside of the path the answer is nginx's own."""
    root = fronted.url.removesuffix("python/")
    for path in ("", "simple/", "pythonsimple/", "python/../simple/acme-app/"):
        answer = ask(root + path, ca=fronted.ca)
        assert answer.status in (200, 403, 404) and "X-Request-Id" not in answer.headers
        assert b"acme" not in answer.body


def test_health_checks_are_under_the_path_too(fronted: Fronted) -> None:
    for url, ca in ((fronted.url, fronted.ca), (fronted.server.url, None)):
        assert ask(f"{url}readyz", ca=ca).status == 200


def test_ranges_and_conditions_pass(fronted: Fronted) -> None:
    url = f"{fronted.url}simple/acme-app/{FILE[0]}"
    part = ask(url, headers={"Range": "bytes=10-19"}, ca=fronted.ca)
    assert (part.status, part.body) == (206, FILE[1][10:20])
    page = ask(f"{fronted.url}simple/acme-app/", ca=fronted.ca)
    again = ask(f"{fronted.url}simple/acme-app/", headers={"If-None-Match": page.headers["ETag"]}, ca=fronted.ca)
    assert again.status == 304


def test_caddy_of_the_guide_has_the_same_path() -> None:
    """Debian's Caddy is not started here: its lines are compared with those of nginx."""
    caddy = block_of_the_guide("text", "pkgs.example.com {")
    assert "handle /python/*" in caddy
    assert "reverse_proxy 127.0.0.1:8080" in caddy
