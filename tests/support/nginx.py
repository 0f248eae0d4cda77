"""nginx as the guide tells to set it up, before a caseus that is set up as the guide tells."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.certificates import Certificates
from support.server import CaseusServer

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
STOP_LIMIT = 30.0

_FRAME = """\
{user}
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{}}
http {{
    access_log off;
    log_not_found off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""


class Fronted(NamedTuple):
    """`url`: the public one, ends in "/python/"; `server.url` is that behind. `ca`: the PEM file to trust."""

    url: str
    server: CaseusServer
    ca: Path


def block_of_the_guide(language: str, first: str) -> str:
    """The text of the block of code that begins so, in the section about proxies."""
    section = GUIDE.read_text().split("\n## Behind nginx or Caddy\n")[1].split("\n## ")[0]
    (found,) = re.findall(rf"^```{language}\n({re.escape(first)}.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(found)


@contextmanager
def behind_nginx(folder: Path, *, by_unix: bool = False) -> Iterator[Fronted]:
    """Both from the guide's own blocks: only the names of hosts, ports and files are put in.

    `by_unix`: nginx reaches caseus by a unix socket, which the guide tells in words.
    """
    certificates = Certificates(folder / "tls", "localhost")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"localhost:{listener.getsockname()[1]}"
        settings = block_of_the_guide("toml", "# caseus.toml\npublic_url")
        root = folder / "root"
        root.mkdir(parents=True)
        trusted = {'["127.0.0.1"]': '["unix"]'} if by_unix else {}
        (root / "caseus.toml").write_text(_put(settings, {"pkgs.example.com": host} | trusted))
        bind = ("--bind", f"unix:{folder}/caseus.sock") if by_unix else ()
        with CaseusServer(root, flags=bind) as server:
            certificate, key = certificates.files()
            target = f"http://{server.url}:;" if by_unix else server.url.rstrip("/") + ";"
            told = _put(
                block_of_the_guide("nginx", "server {"),
                {
                    "listen 443 ssl;": f"listen 127.0.0.1:{listener.getsockname()[1]} ssl;",
                    "# ssl_certificate and ssl_certificate_key as usual\n": (
                        f"ssl_certificate {certificate};\n    ssl_certificate_key {key};\n"
                    ),
                    "http://127.0.0.1:8080;": target,
                },
            )
            with running_nginx(folder / "nginx", told, listener):
                yield Fronted(f"https://{host}/python/", server, certificates.ca)


def _put(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, f"the guide has not once: {old}"
        text = text.replace(old, new)
    return text


@contextmanager
def running_nginx(folder: Path, block: str, listener: socket.socket) -> Iterator[None]:
    """nginx with this block in `http { }`.

    It takes over the listening socket, so that no port is chosen twice and no client comes too early.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert program, "nginx is missing: run `make test-deps`"
    folder.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers are somebody who may not open `folder`
    (folder / "nginx.conf").write_text(_FRAME.format(user=user, folder=folder, server=block))
    listener.setblocking(False)
    command = [program, "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    descriptor = listener.fileno()
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            command, env={"NGINX": f"{descriptor};"}, pass_fds=[descriptor], stdin=subprocess.DEVNULL, stderr=stderr
        )
    listener.close()  # from now on it is nginx's alone: without nginx, clients are refused and don't wait
    try:
        yield
        told = (folder / "stderr").read_text() + (folder / "error.log").read_text()
        assert process.poll() is None, told
        assert not re.search(r"\[(warn|error|crit|alert|emerg)\]", told), told
    finally:
        process.terminate()
        process.wait(STOP_LIMIT)
