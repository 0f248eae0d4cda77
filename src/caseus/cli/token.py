"""`caseus token`: strings that stand for a user, for scripts and CI."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal

from cyclopts import App

from caseus.cli.common import HERE, UsageError, Where, actor, open_catalog, print_table, show_time
from caseus.errors import Invalid, NotFound
from caseus.units import parse_duration

app = App(name="token", help="Strings that stand for a user, for scripts and CI: create, list, revoke.")

_FOREVER = 100 * 365 * 86_400.0


@app.command
def create(
    *,
    user: str,
    scope: Literal["read", "upload", "admin"] = "upload",
    expires: str = "90d",
    where: Where = HERE,
) -> None:
    """Print a new token, which is shown only now. Give it as the password of the user `__token__`.

    Parameters
    ----------
    user
        The user that it stands for.
    scope
        What it may do at most: read, upload (and read) or admin (and both).
    expires
        A time from now such as 90d or 12h, a date such as 2030-01-31, or never.
    """
    from caseus.tokens import SHOWN, digest, make_token

    until = parse_expiry(expires, time.time())
    token = make_token()
    with open_catalog(where) as catalog:
        owner = catalog.user(user)
        if owner is None:
            raise NotFound(f"no user {user!r}: add one by `caseus user add`")
        if scope == "admin" and not owner.admin:
            raise Invalid(f"{user} is no admin: make a token of scope upload or read")
        if scope != "read" and owner.read_only:
            raise Invalid(f"{user} may only read: make a token of scope read")
        catalog.add_token(
            user=user, digest=digest(token), prefix=token[:SHOWN], scope=scope, expires=until, actor=actor()
        )
    print(token)


@app.command(name="list")
def list_(*, user: str | None = None, where: Where = HERE) -> None:
    """List the tokens, by their first characters.

    Parameters
    ----------
    user
        Only the tokens of this user.
    """
    with open_catalog(where) as catalog:
        if user is not None and catalog.user(user) is None:
            raise NotFound(f"no user {user!r}: see `caseus user list`")
        tokens = catalog.tokens(user)
    rows = [
        (str(t.id), t.prefix, t.user, t.scope, show_time(t.created), show_time(t.expires), show_time(t.last_used))
        for t in tokens
    ]
    print_table(("id", "token", "user", "scope", "created", "expires", "last used"), rows)


@app.command
def revoke(token: str, /, *, where: Where = HERE) -> None:
    """Revoke a token at once.

    Parameters
    ----------
    token
        Its id, its first characters as `caseus token list` shows them, or the whole token.
    """
    from caseus.tokens import SHOWN, digest

    with open_catalog(where) as catalog:
        if token.isdigit():
            found = [each for each in catalog.tokens() if each.id == int(token)]
        elif len(token) > SHOWN:
            whole = catalog.token(digest(token))
            found = [whole] if whole else []
        else:
            found = [each for each in catalog.tokens() if token and each.prefix.startswith(token)]
        if not found:
            raise NotFound("no such token: see `caseus token list`")
        if len(found) > 1:
            raise Invalid(f"{len(found)} tokens begin so: give the id, see `caseus token list`")
        catalog.revoke_token(found[0].id, actor=actor())
    print(f"revoked token {found[0].id} of {found[0].user}")


def parse_expiry(text: str, now: float) -> float | None:
    """Unix seconds of `90d`, a date or a time (UTC unless it says otherwise); None for never. UsageError."""
    if text == "never":
        return None
    try:
        until = now + parse_duration(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"--expires: {text!r} is none of 90d, 12h, a date such as 2030-01-31 and never") from None
        until = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not now < until < now + _FOREVER:
        raise UsageError(f"--expires: {text!r} is not in the next hundred years")
    return until
