"""`caseus verify`."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from caseus.cli.common import (
    HERE,
    AsJson,
    Refused,
    Switch,
    Where,
    find_root,
    open_catalog,
    print_table,
)
from caseus.cli.show import damages_as_json, print_damages, print_json

MOST: Final = 100_000
"""Damages, after which no more are looked for."""


def verify(*, repair: Switch = False, as_json: AsJson = False, where: Where = HERE) -> None:
    """Check every stored file against its digest and what the catalog knows; works while the server runs.

    Parameters
    ----------
    repair
        Make good what can be made from what is right; the rest is told.
    """
    root = find_root(where)
    from caseus.cli.progress import showing
    from caseus.storage.filesystem import FilesystemStorage
    from caseus.upkeep.repair import Repairer
    from caseus.verify import count_files
    from caseus.verify import verify as find_damages

    with open_catalog(where) as catalog:
        total, store = count_files(catalog), FilesystemStorage(root)
        with showing("verifying", total) as progress:
            # Of a disk that is missing every file is: what follows would take the memory that they don't.
            damages = list(islice(find_damages(catalog, store, seen=progress.step), MOST))
        repairer = Repairer(catalog, store)
        repairs = [repairer.repair(damage) for damage in damages] if repair else []
    done = sum(each.done for each in repairs)
    if as_json:
        told: list[Any] = damages_as_json(damages)
        for each, mend in zip(told, repairs, strict=False):
            each.update(repaired=mend.done, outcome=mend.outcome)
        print_json({"files": total, "damages": told})
    elif repairs:
        rows = [(each.damage.kind, each.damage.key, each.damage.detail, each.outcome) for each in repairs]
        print_table(("damage", "file", "detail", "repair"), rows)
    elif damages:
        print_damages(damages)
    else:
        print(f"verified {total} files: all as they were")
    if damages:
        more = "at least " if len(damages) == MOST else ""
        raise Refused(f"{more}{len(damages)} damages found in {root}" + (f", {done} repaired" if repair else ""))
