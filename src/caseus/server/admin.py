"""The first user of a new index: `admin`, made at the first start, so that nobody has to know a default password."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from caseus.catalog import Catalog
from caseus.config import PASSWORD_FILE, ConfigError
from caseus.errors import Conflict

NAME = "admin"


class FirstAdmin(NamedTuple):
    """`password` is None where the operator set it; `where` says in which file it is."""

    password: str | None
    where: str


def make_first_admin(
    catalog: Catalog, root: Path, environ: Mapping[str, str], hash_password: Callable[[str], str]
) -> FirstAdmin | None:
    """Make `admin` if there is no user yet; None if there is one. ConfigError for an unusable password file."""
    if catalog.users():
        return None
    if PASSWORD_FILE in environ:
        made = FirstAdmin(None, f"the file that {PASSWORD_FILE} names")
        password = _read_password(Path(environ[PASSWORD_FILE]))
    else:
        password = secrets.token_urlsafe(18)
        made = FirstAdmin(password, str(root / "admin-password"))
        _write_password(root / "admin-password", password)
    try:
        catalog.add_user(NAME, password_hash=hash_password(password), admin=True, actor="start")
    except Conflict:  # `caseus user add admin` came between
        if made.password is not None:
            (root / "admin-password").unlink(missing_ok=True)
        return None
    return made


def _read_password(file: Path) -> str:
    try:
        password = file.read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"can't read {file}, which {PASSWORD_FILE} names: {reason}") from None
    if not password or "\n" in password:
        raise ConfigError(f"{file}, which {PASSWORD_FILE} names, must hold the password and nothing else, in one line")
    return password


def _write_password(file: Path, password: str) -> None:
    """One left by a start that was cut short, or by users who are gone, holds nobody's password: it is replaced."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as stream:
        stream.write(password + "\n")
        stream.flush()
        os.fsync(descriptor)
