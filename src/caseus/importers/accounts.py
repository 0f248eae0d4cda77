"""Users of another server, with the hashes of their passwords."""

from __future__ import annotations

from caseus.catalog import Catalog
from caseus.errors import Conflict, Invalid
from caseus.importers.report import Outcome, Result
from caseus.importers.stock import Account
from caseus.names import check_user_name
from caseus.passwords import check_hash

_OTHER_USER = "a user of this name is here already: left as it is"


class Accounts:
    """Adds users to the catalog; who is there is left alone."""

    def __init__(self, catalog: Catalog, *, actor: str, dry_run: bool = False) -> None:
        self._catalog, self._actor, self._dry_run = catalog, actor, dry_run

    def take(self, account: Account) -> Result:
        """What came of it. Unavailable where our own side fails."""
        name = account.name
        try:
            check_user_name(name)
        except Invalid as error:
            return Result(outcome=Outcome.SKIPPED, user=ascii(name)[1:-1], reason=str(error))
        try:
            check_hash(account.hash)
        except Invalid as error:
            return Result(outcome=Outcome.DAMAGED, user=name, reason=str(error))
        known = self._catalog.user(name)
        if known is not None:
            same = (known.password_hash, known.admin, known.read_only) == (
                account.hash,
                account.admin,
                account.read_only,
            )
            if same:
                return Result(outcome=Outcome.THERE, user=name)
            return Result(outcome=Outcome.SKIPPED, user=name, reason=_OTHER_USER)
        if not self._dry_run:
            try:
                self._catalog.add_user(
                    name,
                    password_hash=account.hash,
                    admin=account.admin,
                    read_only=account.read_only,
                    actor=self._actor,
                )
            except Conflict:
                return Result(outcome=Outcome.SKIPPED, user=name, reason=_OTHER_USER)
        return Result(outcome=Outcome.TAKEN, user=name)
