"""Real packages from the real upstream through an empty cache, then again with the upstream unplugged."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import Shell, installed, tool
from support.server import CaseusServer

PACKAGES = [
    "numpy", "pandas", "django", "requests", "flask", "rich",
    "pydantic", "sqlalchemy", "httpx", "click", "attrs", "jinja2",
]  # fmt: skip

pytestmark = [pytest.mark.online, pytest.mark.slow]


def configured_upstream() -> str:
    """The index that this machine's pip uses, else the public one."""
    done = subprocess.run(
        [tool("python"), "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return os.environ.get("PIP_INDEX_URL") or done.stdout.strip() or "pypi"


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that is ours, and where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_a_dozen_packages(client: str, shell: Shell, dead_port: int, tmp_path: Path) -> None:
    root, upstream = tmp_path / "root", configured_upstream()
    with CaseusServer(root, upstream=upstream) as server:
        shell.install(client, f"{server.url}simple/", "--only-binary", ":all:", *PACKAGES, into=tmp_path / "1").ok()
    first = installed(tmp_path / "1")
    assert set(PACKAGES) <= set(first)

    unplugged = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), f"http://127.0.0.1:{dead_port}")
    unplugged |= {name.upper(): value for name, value in unplugged.items()} | {"no_proxy": "", "NO_PROXY": ""}
    flags = ("--upstream-ttl", "0")  # every page is asked for again, and must be served although that fails
    with CaseusServer(root, upstream=upstream, environ=unplugged, flags=flags) as server:
        other = Shell(tmp_path / "other-home")
        other.install(client, f"{server.url}simple/", "--only-binary", ":all:", *PACKAGES, into=tmp_path / "2").ok()
        assert installed(tmp_path / "2") == first
        # It is unplugged: what was never asked for can't be had.
        other.install(client, f"{server.url}simple/", "tomli", into=tmp_path / "3").failed()
