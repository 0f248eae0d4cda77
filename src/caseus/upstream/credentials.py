"""By what user and password an upstream knows us: from its URL, the environment, a netrc file or a keyring.

They are looked for at the first request, and again when the upstream refuses them (401), for a keyring's passwords may
live for an hour only.
"""

from __future__ import annotations

import netrc
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from caseus.errors import Invalid
from caseus.upstream.urls import basic_header

TOKEN_USER = "__token__"  # noqa: S105  (a user's name)
"""The user name that goes with a password that nobody gave a name for."""

_PATIENCE = 60.0  # seconds between two look-ups because of refusals
_KEYRING_LIMIT = 30.0

log: Any = structlog.get_logger(__name__)


class Pair(NamedTuple):
    user: str
    password: str


Find = Callable[[], Pair | None]
"""Looks for credentials. Invalid where it can't."""


def nobody() -> Pair | None:
    """No credentials."""
    return None


class Credentials:
    """What `find` gives, remembered. Thread-safe; one look-up at a time. `clock`: monotonic seconds."""

    def __init__(self, find: Find = nobody, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._find, self._clock = find, clock
        self._guard = threading.Lock()
        self._known = False
        self._header: str | None = None
        self._found = 0.0

    def header(self) -> str | None:
        """The value of Authorization, None without credentials."""
        with self._guard:
            if not self._known:
                self._look()
            return self._header

    def renewed(self, refused: str | None) -> str | None:
        """After the upstream refused `refused`: another value to try, if there is any."""
        with self._guard:
            if self._header == refused and self._clock() - self._found >= _PATIENCE:
                self._look()
            return self._header if self._header != refused else None

    def _look(self) -> None:
        try:
            pair = self._find()
        except Invalid as error:
            log.warning("upstream.no_credentials", error=str(error))
            pair = None
        self._header = basic_header(*pair) if pair is not None else None
        self._known, self._found = True, self._clock()


def from_environment(environ: Mapping[str, str], password: str, user: str | None, otherwise: str) -> Find:
    """`password`, `user`: names of variables; `otherwise`: the user where none is named."""

    def find() -> Pair:
        for name in filter(None, (password, user)):
            if not environ.get(name):
                raise Invalid(
                    f"the environment variable {name} is not set: set it, or take the upstream's setting away"
                )
        return Pair(environ[user] if user else otherwise, environ[password])

    return find


def from_netrc(file: Path | None, host: str, environ: Mapping[str, str]) -> Find:
    """What the file says of the host (None: `$NETRC`, else `~/.netrc`)."""
    path = file or Path(environ.get("NETRC") or os.path.join(environ.get("HOME") or "~", ".netrc")).expanduser()

    def find() -> Pair | None:
        try:
            told = netrc.netrc(path).authenticators(host)
        except OSError as error:
            raise Invalid(f"netrc: {path} can't be read: {error.strerror}") from None
        except (netrc.NetrcParseError, UnicodeDecodeError) as error:
            line = getattr(error, "lineno", None)  # its text may hold the password
            raise Invalid(f"netrc: {path} can't be understood" + (f": look at line {line}" if line else "")) from None
        return Pair(told[0] or TOKEN_USER, told[2] or "") if told is not None else None

    return find


def from_keyring(services: Sequence[str], user: str, environ: Mapping[str, str]) -> Find:
    """What the command `keyring get` says of the first service that it knows; pip and uv ask it in the same way."""

    def find() -> Pair | None:
        command = keyring_command(environ)
        for service in services:
            password = _ask_keyring(command, service, user)
            if password:
                return Pair(user, password)
        return None

    return find


def keyring_command(environ: Mapping[str, str]) -> str:
    """Its path. Invalid if there is none."""
    command = shutil.which("keyring", path=environ.get("PATH"))
    if command is None:
        raise Invalid("keyring: the command `keyring` is not on the PATH: install it, or take the setting away")
    return command


def _ask_keyring(command: str, service: str, user: str) -> str | None:
    try:
        done = subprocess.run(
            [command, "get", service, user],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            timeout=_KEYRING_LIMIT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("upstream.keyring_failed", service=service, error=type(error).__name__)
        return None
    if done.returncode:
        return None
    return done.stdout.decode(errors="replace").rstrip("\r\n") or None
