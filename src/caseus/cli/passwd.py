"""`caseus passwd-check` and `caseus passwd-hash`: files of users and their passwords' hashes."""

from __future__ import annotations

import sys
from pathlib import Path

from caseus.cli.common import Refused, Switch, UsageError
from caseus.cli.show import counted
from caseus.cli.user import check_user_name, read_password, warn_of_short


def passwd_check(file: str | None = None, /) -> None:
    """Check a password file, or what comes on standard input: lists every fault, and ends with 1 if there is one.

    Parameters
    ----------
    file
        The file (default: standard input).
    """
    from caseus.passwords import parse

    found = parse(sys.stdin.buffer.read().decode("utf-8", "replace") if file is None else read_passwd(file))
    for fault in found.faults:
        print(f"line {fault.line}: {fault.message}")
    if found.faults:
        raise Refused(f"{counted(len(found.faults), 'fault')} found: the server would keep its former passwords")
    read_only = sum(entry.read_only for entry in found.users.values())
    print(f"{counted(len(found.users), 'user')}, {read_only} of them read-only: no fault")


def passwd_hash(user: str, /, *, read_only: Switch = False, password_stdin: Switch = False) -> None:
    """Make a line of a password file; asks for the password on a terminal.

    Parameters
    ----------
    user
        The name: letters, digits and ._@- only, at most 64.
    read_only
        The user may read where reading needs a login, and never upload.
    password_stdin
        Read the password from standard input.
    """
    check_user_name(user)
    password = read_password(stdin=password_stdin)
    from caseus.access import Passwords

    print(f"{user}:{Passwords().hash(password)}{':ro' if read_only else ''}")
    warn_of_short(password)


def read_passwd(file: str) -> str:
    """The text of a password file. What is no UTF-8 becomes a fault of its line. UsageError if it can't be read."""
    try:
        return Path(file).read_text("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror or error}") from None
