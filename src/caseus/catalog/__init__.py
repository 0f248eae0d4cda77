"""The catalog: the SQL database of facts (SQLite in ROOT/catalog.sqlite)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from caseus.catalog import journal
from caseus.catalog.accounts import Accounts
from caseus.catalog.aliases import Aliases
from caseus.catalog.fetched import Fetched
from caseus.catalog.folders import Folders
from caseus.catalog.hosted import Hosted
from caseus.catalog.listings import Listing, Listings
from caseus.catalog.migration import migrate
from caseus.catalog.rows import FetchedFile, HostedFile, JournalEntry, Token, Tombstone, UpstreamPage, User
from caseus.catalog.transaction import Changes, Transaction
from caseus.catalog.upkeep import Upkeep
from caseus.catalog.uploaders import Uploaders
from caseus.catalog.uploads import LEASE, Claim, ClaimState, Published
from caseus.errors import Unavailable
from caseus.model import Validity

__all__ = [
    "LEASE",
    "Catalog",
    "Changes",
    "Claim",
    "ClaimState",
    "FetchedFile",
    "HostedFile",
    "JournalEntry",
    "Listing",
    "Published",
    "Token",
    "Tombstone",
    "UpstreamPage",
    "User",
]


class Catalog(Hosted, Listings, Fetched, Folders, Accounts, Uploaders, Aliases, Upkeep):
    """Every write returns when it is durable and seen by the next read of any process.

    Raises Unavailable("local") if the database can't be read or written, Unavailable("full") if the disk is full.
    """

    @classmethod
    def open(cls, root: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Open ROOT's catalog, making or migrating it first. Invalid if it is newer than this caseus, or damaged.

        Unavailable if it is gone: an empty one beside published files would take their names for nobody's, and ask
        the upstream for them.
        """
        if not (root / "catalog.sqlite").exists() and any((root / "files").glob("*/*/*")):
            raise Unavailable(
                f"the catalog of {root} is gone, but files/ has packages: run `caseus reindex`, or restore a backup",
                kind="local",
            )
        migrate(root / "catalog.sqlite", root / "write.lock")
        catalog = cls(root, clock)
        catalog.writer.idle = catalog._idle
        catalog.adopt_serial()
        return catalog

    def is_current(self, validity: Validity, now: float) -> bool:
        """Whether what was read with this validity would be read the same again."""
        if validity.until is not None and now >= validity.until:
            return False
        return all(self.project_serial(tree, name) == serial for tree, name, serial in validity.serials)

    def journal(self, since: int = 0) -> Iterator[JournalEntry]:
        """Entries with a greater number, in order."""
        return journal.entries(self._read, since)

    def check_journal(self) -> list[str]:
        """Every break of the journal's chain, in words; empty where it is whole."""
        return journal.check(self._read)

    def _idle(self, transaction: Transaction) -> None:
        self.write_used(transaction)
        self.write_tokens_used(transaction)
