"""`caseus reindex`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from caseus.cli.common import (
    HERE,
    AsJson,
    Refused,
    Switch,
    UsageError,
    Where,
    actor,
    confirm,
    find_root,
)
from caseus.cli.show import counted, print_damages, print_json

if TYPE_CHECKING:
    from caseus.upkeep.reindex import Rebuilt


def reindex(*, check_digests: bool = True, yes: Switch = False, as_json: AsJson = False, where: Where = HERE) -> None:
    """Rebuild the catalog from files/ alone. Only while no server runs; the old catalog is moved aside.

    Parameters
    ----------
    check_digests
        Read every file and compare it with its digest.
    yes
        Don't ask.
    """
    root = find_root(where)
    if not (root / "files").is_dir():
        raise UsageError(f"no files/ in {root}: give its --root")
    from caseus.cli.progress import showing
    from caseus.storage.filesystem import FilesystemStorage
    from caseus.upkeep.reindex import out_of_use, rebuild, state_of

    with out_of_use(root):
        state = state_of(root)
        if state != "absent":
            kept = "users and tokens are kept if it can still tell them" if state == "damaged" else "users stay"
            confirm(f"Replace the catalog of {root}, which is {state}? It is moved aside; {kept}.", yes=yes)
        total = sum(1 for _ in FilesystemStorage(root).keys("files/"))
        with showing("reading files/", total) as progress:
            rebuilt = rebuild(root, check_digests=check_digests, actor=actor(), seen=progress.step)
    if as_json:
        told = msgspec.to_builtins(rebuilt.gathered)
        print_json({**told, "users": rebuilt.users, "moved_to": rebuilt.moved_to})
    else:
        _tell(rebuilt)
    damages = rebuilt.gathered.damages
    if damages:
        raise Refused(f"{counted(len(damages), 'damage')} found in {root}: the catalog was rebuilt from the rest")


def _tell(rebuilt: Rebuilt) -> None:
    found = rebuilt.gathered
    if found.damages:
        print_damages(found.damages)
    for key in found.unlisted:
        print("no list knew", key)
    counts = [counted(found.projects, "project"), counted(found.files, "file"), counted(found.tombstones, "tombstone")]
    print(f"the catalog has {counts[0]}, {counts[1]} and {counts[2]}")
    if rebuilt.moved_to:
        print(f"the old catalog is now {rebuilt.moved_to}: delete it when all is well")
    if rebuilt.users is None:
        print("users and tokens are not in files/: the next start makes a new `admin`, `caseus user add` makes others")
    else:
        print(f"kept {counted(rebuilt.users, 'user')} and their tokens")
