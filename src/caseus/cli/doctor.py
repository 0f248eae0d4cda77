"""`caseus doctor`: plays pip, uv and twine against an index."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from caseus.binds import TcpBind
from caseus.cli.common import HERE, AsJson, Refused, Switch, Texts, UsageError, Where, existing_root, load_config
from caseus.cli.show import counted
from caseus.cli.user import read_password
from caseus.errors import Invalid

if TYPE_CHECKING:
    from caseus.doctor import Login

Url = Annotated[str | None, Parameter(name="URL")]


def doctor(
    url: Url = None,
    /,
    *,
    project: Texts = None,
    user: str | None = None,
    password_stdin: Switch = False,
    upload_url: str | None = None,
    upload: Switch = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> None:
    """Look at an index as pip, uv and twine do, and tell what is wrong and how to mend it.

    Parameters
    ----------
    url
        The index, such as https://pkgs.example.com/simple/; without it, the server that runs on --root.
    project
        A project to look at; may be repeated (default: some that the index lists, else well-known ones).
    user
        Who to be, instead of the user in the URL or in ~/.netrc; `__token__` for a token.
    password_stdin
        Read the password, or the token, of --user from standard input.
    upload_url
        Where uploads go (default: legacy/ beside the index, the index, or the folder above it).
    upload
        Publish the tiny package caseus-doctor-throwaway, which stays there.
    """
    index = _checked(url, "URL") if url is not None else _running_here(where)
    if upload_url is not None:
        _checked(upload_url, "--upload-url")
    login = _login(user, stdin=password_stdin)
    from caseus.doctor import Request, as_json_text, examine, show

    request = Request(url=index, login=login, projects=tuple(project or ()), upload_url=upload_url, upload=upload)
    with _progress() as seen:
        report = examine(request, seen=seen)
    if as_json:
        print(as_json_text(report))
    else:
        show(report, sys.stdout)
    if report.unseen is not None:
        raise UsageError(report.unseen)
    if report.faults:
        faults, warnings = counted(report.count("fail"), "fault"), counted(report.count("warn"), "warning")
        raise Refused(f"{faults} and {warnings} found at {report.url}")


def _checked(url: str, what: str) -> str:
    from caseus.upstream.urls import origin_of

    try:
        origin_of(url)
    except Invalid as error:
        raise UsageError(f"{what}: {error}") from None
    return url


def _running_here(where: Where) -> str:
    """The URL of the server that runs with this configuration."""
    config = load_config(where).config
    existing_root(config.root)
    if config.tls_cert is not None and config.public_url is not None:  # whose name the certificate has
        return f"{config.public_url}simple/"
    bind = next((bind for bind in config.binds if isinstance(bind, TcpBind)), None)
    if bind is None:
        raise UsageError("the server listens on no port that is told here: give the URL by which clients reach it")
    if bind.port == 0:
        raise UsageError("the port is a free one each time (port 0): give the URL that `caseus serve` printed")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind.host, bind.host)  # noqa: S104  (compared, not bound)
    scheme = "http" if config.tls_cert is None else "https"
    return f"{scheme}://{TcpBind(host, bind.port)}/simple/"


def _login(user: str | None, *, stdin: bool) -> Login | None:
    if user is None:
        if stdin:
            raise UsageError("--password-stdin: whose password is it? give --user too")
        return None
    from caseus.doctor import Login

    if stdin or not sys.stdin.isatty():
        return Login(user, read_password(stdin=stdin))
    import getpass

    return Login(user, getpass.getpass("Password: "))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is looked at now, on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda name: None
        return
    from rich.console import Console

    with Console(stderr=True).status("looking at the index") as status:
        yield lambda name: status.update(f"looking at: {name}")
