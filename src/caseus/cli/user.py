"""`caseus user`: who may log in."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from cyclopts import App

from caseus import names
from caseus.cli.common import HERE, Switch, UsageError, Where, actor, open_catalog, print_table, show_time
from caseus.errors import Invalid

if TYPE_CHECKING:
    from caseus.catalog import User

app = App(name="user", help="People and robots that may log in: add, list, remove, passwd.")

_SHORT = 8


@app.command
def add(
    name: str,
    /,
    *,
    admin: Switch = False,
    read_only: Switch = False,
    password_stdin: Switch = False,
    where: Where = HERE,
) -> None:
    """Add a user; asks for the password on a terminal.

    Parameters
    ----------
    name
        Letters, digits and ._@- only, at most 64.
    admin
        The user may also administer.
    read_only
        The user may read where reading needs a login, and never upload.
    password_stdin
        Read the password from standard input.
    """
    check_user_name(name)
    if admin and read_only:
        raise UsageError("--admin and --read-only exclude each other")
    password = read_password(stdin=password_stdin)
    from caseus.access import Passwords

    with open_catalog(where, make=True) as catalog:
        hashed = Passwords().hash(password)
        catalog.add_user(name, password_hash=hashed, admin=admin, read_only=read_only, actor=actor())
    print(f"added user {name}")
    warn_of_short(password)


@app.command(name="list")
def list_(*, where: Where = HERE) -> None:
    """List the users."""
    with open_catalog(where) as catalog:
        rows = [(user.name, _rights(user), show_time(user.created)) for user in catalog.users()]
    print_table(("name", "may", "created"), rows)


@app.command
def remove(name: str, /, *, where: Where = HERE) -> None:
    """Remove a user with its tokens; what it published stays."""
    with open_catalog(where) as catalog:
        catalog.remove_user(name, actor=actor())
    print(f"removed user {name}")


@app.command
def passwd(name: str, /, *, password_stdin: Switch = False, where: Where = HERE) -> None:
    """Give a user another password; its tokens stay.

    Parameters
    ----------
    password_stdin
        Read the password from standard input.
    """
    password = read_password(stdin=password_stdin)
    from caseus.access import Passwords

    with open_catalog(where) as catalog:
        catalog.set_password(name, password_hash=Passwords().hash(password), actor=actor())
    print(f"changed the password of user {name}")
    warn_of_short(password)


def _rights(user: User) -> str:
    return "administer" if user.admin else "read" if user.read_only else "upload"


def check_user_name(name: str) -> None:
    """UsageError for what nobody can be called."""
    try:
        names.check_user_name(name)
    except Invalid as error:
        raise UsageError(f"{name!a}: {error}") from None


def read_password(*, stdin: bool) -> str:
    """The new password, from standard input or asked for twice on a terminal."""
    if stdin:
        password = _from_stdin()
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise UsageError("the passwords differ: try again")
    else:
        raise UsageError("give the password on standard input, with --password-stdin")
    if not password:
        raise UsageError("the password is empty")
    return password


def warn_of_short(password: str) -> None:
    if len(password) < _SHORT:
        print(f"caseus: warning: a password of less than {_SHORT} characters is easily guessed", file=sys.stderr)


def _from_stdin() -> str:
    from caseus.passwords.formats import LONGEST

    most = 4 * LONGEST + len("\r\n")  # in UTF-8 a character takes up to four bytes
    data = sys.stdin.buffer.read(most + 1)
    try:
        password = data[:most].decode(errors="strict" if len(data) <= most else "ignore")
    except UnicodeDecodeError:
        raise UsageError("the password is not text in UTF-8") from None
    password = password.removesuffix("\n").removesuffix("\r")
    if "\n" in password or len(password) > LONGEST or len(data) > most:
        raise UsageError(f"the password must be one line of at most {LONGEST} characters")
    return password
