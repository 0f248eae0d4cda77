"""The catalog rebuilt from `files/` alone, in a folder of its own, and then put in the place of the old one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from caseus.catalog import Catalog
from caseus.catalog.locks import Presence, exclusive
from caseus.catalog.migration import current
from caseus.catalog.trouble import TROUBLE
from caseus.errors import Busy, CaseusError
from caseus.storage.filesystem import FilesystemStorage
from caseus.upkeep.disk import sync_file, sync_folder
from caseus.upkeep.gather import Gathered, Gatherer

CATALOG = "catalog.sqlite"
WORK = ".reindex"
_MOST_SERIAL = 2**62  # more than that was never counted

State = Literal["absent", "whole", "damaged"]


class Rebuilt(NamedTuple):
    """`users` that were kept, None if the old catalog could not tell them; `moved_to`: the old one's new name."""

    gathered: Gathered
    users: int | None
    moved_to: str | None


@contextmanager
def out_of_use(root: Path) -> Iterator[None]:
    """Keep servers and other commands out of the folder. Busy if one has it open."""
    presence = Presence(root / "server.lock")
    try:
        if not presence.try_alone():
            raise Busy(f"a server or another command has {root} open: stop it first", retry_after=60)
        yield
    finally:
        presence.close()


def state_of(root: Path) -> State:
    """What is there to be replaced."""
    path = root / CATALOG
    if not path.exists():
        return "absent"
    try:
        current(path)
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            sound = connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except (CaseusError, *TROUBLE):
        return "damaged"
    return "whole" if sound else "damaged"


def rebuild(
    root: Path,
    *,
    check_digests: bool = True,
    actor: str,
    seen: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.time,
) -> Rebuilt:
    """Only within `out_of_use`. Users and tokens are not in `files/`: they are kept if the old catalog tells them.

    `seen` is called for each file, sidecar and list. A kill leaves the old catalog where it was.
    """
    state = state_of(root)
    work = root / WORK
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        catalog = Catalog.open(work, clock=clock)
        try:
            catalog.raise_serial(_last_serial(root))
            gatherer = Gatherer(catalog, FilesystemStorage(root), check_digests=check_digests, actor=actor, seen=seen)
            gathered = gatherer.run()
            users = None if state == "absent" else catalog.adopt_accounts(root / CATALOG, actor=actor)
        finally:
            catalog.close()
        aside = None if state == "absent" else _aside_name(root, state, clock())
        _swap(root, work / CATALOG, aside)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Rebuilt(gathered, users, aside)


def _last_serial(root: Path) -> int:
    """As readers saw it last, so that it goes on growing; 0 if nobody knows."""
    with suppress(OSError), open(root / "serial", "rb") as file:
        number = int.from_bytes(file.read(8), "little")
        return number if number < _MOST_SERIAL else 0
    return 0


def _aside_name(root: Path, state: State, now: float) -> str:
    when = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    base = f"{CATALOG}.{'damaged' if state == 'damaged' else 'replaced'}-{when}"
    names = (f"{base}-{number}" if number else base for number in range(1000))
    return next(name for name in names if not (root / name).exists())


def _swap(root: Path, new: Path, aside: str | None) -> None:
    """The old log must not stay beside the new database: SQLite would replay it there."""
    with exclusive(root / "write.lock"):
        sync_file(new)
        if aside is not None:
            os.link(root / CATALOG, root / aside)
            log = root / f"{CATALOG}-wal"
            if log.exists() and log.stat().st_size:
                log.rename(root / f"{aside}-wal")
        for name in (f"{CATALOG}-wal", f"{CATALOG}-shm", "serial"):
            (root / name).unlink(missing_ok=True)
        os.replace(new, root / CATALOG)
        sync_folder(root)
