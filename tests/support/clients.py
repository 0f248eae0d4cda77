"""Real clients as a user with an empty home runs them, and a bare HTTP client that hides nothing.

The programs are in `.venv-clients`, which `make test-deps` makes.
"""

from __future__ import annotations

import base64
import http.client
import importlib.metadata
import json
import secrets
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from packaging.utils import parse_sdist_filename, parse_wheel_filename

from support.packages import sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream

TOOLS = Path(__file__).parents[2] / ".venv-clients" / "bin"
Login = tuple[str, str]


def tool(name: str) -> str:
    """Path of a client's program; the test fails where it is missing."""
    path = TOOLS / name
    assert path.exists(), f"{path} is missing: run `make test-deps`"
    return str(path)


class Ran(NamedTuple):
    """A command that has ended. `output`: what it printed, on both streams."""

    args: tuple[str, ...]
    code: int
    output: str

    def ok(self) -> Self:
        assert self.code == 0, f"{' '.join(self.args)} ended with {self.code}:\n{self.output}"
        return self

    def failed(self) -> Self:
        assert self.code != 0, f"{' '.join(self.args)} should have failed:\n{self.output}"
        return self

    @property
    def words(self) -> str:
        """The output without the line breaks and frames that clients put in."""
        return " ".join(self.output.replace("│", " ").split())


class Shell:
    """A user with a home of their own, no configuration and an environment of nothing else.

    pip keeps no cache; uv keeps one in the home: another Shell starts with a cold one.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def run(
        self, *args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 180
    ) -> Ran:
        words = tuple(map(str, args))
        done = subprocess.run(
            words,
            env={**self.env, **(env or {})},
            cwd=cwd or self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        return Ran(words, done.returncode, done.stdout.decode(errors="replace"))

    # installing

    def pip(self, *args: str | Path, env: Mapping[str, str] | None = None) -> Ran:
        return self.run(tool("python"), "-m", "pip", *args, env=env)

    def uv(self, *args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
        return self.run(tool("uv"), *args, env=env, cwd=cwd)

    def install(self, client: str, index: str, *what: str | Path, into: Path) -> Ran:
        """`what` (requirements and flags) by "pip" or "uv" into a folder of its own."""
        if client == "pip":
            flags = ("-q", "--no-cache-dir", "--no-compile", "--index-url", index, "--target", into)
            return self.pip("install", *flags, *what)
        python = tool("python")
        return self.uv("pip", "install", "--python", python, "--default-index", index, "--target", into, *what)


class Cached(NamedTuple):
    """A server and the upstream behind it."""

    server: CaseusServer
    upstream: FakeUpstream


def name_and_version(filename: str) -> tuple[str, str]:
    """Of a wheel or sdist."""
    if filename.endswith(".whl"):
        name, version, _, _ = parse_wheel_filename(filename)
    else:
        name, version = parse_sdist_filename(filename)
    return name, str(version)


def installed(folder: Path) -> dict[str, str]:
    """Name to version of what was installed into a folder."""
    found = importlib.metadata.distributions(path=[str(folder)])
    return {distribution.metadata["Name"].lower(): distribution.version for distribution in found}


def write(folder: Path, *files: tuple[str, bytes]) -> list[Path]:
    """The files on disk, as publishing clients want them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files:
        (folder / name).write_bytes(data)
    return [folder / name for name, _ in files]


def with_login(url: str, login: Login) -> str:
    """The URL with user and password in it."""
    scheme, rest = url.split("://", 1)
    return f"{scheme}://{login[0]}:{login[1]}@{rest}"


# The bare client.

JSON = "application/vnd.pypi.simple.v1+json"


class Answer(NamedTuple):
    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes
    whole: bool
    """False: the connection broke off before the end that was announced."""

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str,
    method: str = "GET",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    login: Login | None = None,
    timeout: float = 60,
    ca: Path | None = None,
) -> Answer:
    """One request on a connection of its own; follows no redirect. OSError if no head of an answer comes.

    `ca`: the certificate to trust, for https.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = dict(headers or {})
    if login is not None:
        sent["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    try:
        connection.request(method, target, body=body, headers=sent)
        response = connection.getresponse()
        data, whole = b"", True
        try:
            data = response.read()
        except http.client.IncompleteRead as error:
            data, whole = error.partial, False
        except ConnectionError:
            whole = False
        return Answer(response.status, response.reason, response.headers, data, whole)
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def upload(
    base: str, filename: str, data: bytes, *, login: Login, timeout: float = 60, ca: Path | None = None
) -> Answer:
    """POST of one file to `base`legacy/, as publishing clients do it."""
    body, content_type = upload_form(filename, data)
    headers = {"Content-Type": content_type}
    return ask(f"{base}legacy/", "POST", headers=headers, body=body, login=login, timeout=timeout, ca=ca)


def upload_form(filename: str, data: bytes) -> tuple[bytes, str]:
    """The form of one file, and its Content-Type."""
    name, version = name_and_version(filename)
    wheel = filename.endswith(".whl")
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": name,
        "version": version,
        "filetype": "bdist_wheel" if wheel else "sdist",
        "pyversion": "py3" if wheel else "source",
        "sha256_digest": sha256(data),
    }
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n'
    parts += [
        head.encode(),
        b"Content-Type: application/octet-stream\r\n\r\n",
        data,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def listed(base: str, project: str, login: Login | None = None) -> dict[str, dict[str, Any]]:
    """Filename to entry of a project's page; empty for a project that nobody knows."""
    answer = ask(f"{base}simple/{project}/", headers={"Accept": JSON}, login=login)
    if answer.status == 404:
        return {}
    assert answer.status == 200, f"{project}: {answer.status} {answer.reason}"
    return {entry["filename"]: entry for entry in answer.json()["files"]}
