"""Password files: a line `user:hash` for each user, or `user:hash:ro` for one who may only read.

Empty lines and lines that begin with `#` are skipped (GoCheese's rule; htpasswd files have neither).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from caseus.errors import Invalid
from caseus.names import check_user_name
from caseus.passwords.formats import check_hash


class Entry(NamedTuple):
    """A user of the file. `read_only`: may read where reading needs a login, and never upload."""

    hash: str
    read_only: bool = False


class Fault(NamedTuple):
    """Why a line, counted from 1, gives no user. The message tells no hash."""

    line: int
    message: str


class PasswdFile(NamedTuple):
    """What a file says: its sound lines by name, and every line that is not."""

    users: Mapping[str, Entry]
    faults: tuple[Fault, ...]


def parse(text: str) -> PasswdFile:
    """Reads a whole file; never raises. Of two lines with one name the first counts, the second is a fault."""
    users: dict[str, Entry] = {}
    lines: dict[str, int] = {}
    faults = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = line.rstrip()
        if not line or line.startswith("#"):
            continue
        try:
            name, entry = _parse_line(line)
            if name in users:
                raise Invalid(f"user {name} is in line {lines[name]} already: remove one of the two")
        except Invalid as error:
            faults.append(Fault(number, str(error)))
        else:
            users[name], lines[name] = entry, number
    return PasswdFile(MappingProxyType(users), tuple(faults))


def _parse_line(line: str) -> tuple[str, Entry]:
    name, colon, rest = line.partition(":")
    if not colon:
        raise Invalid("no colon: write user:hash, or user:hash:ro")
    check_user_name(name)
    hash, colon, flag = rest.partition(":")
    if not hash:
        raise Invalid(f"no password hash for user {name}: make the line by `caseus passwd-hash`, or remove it")
    if colon and flag != "ro":
        raise Invalid(f"only :ro may follow the hash of user {name}")
    check_hash(hash)
    return name, Entry(hash, bool(colon))
