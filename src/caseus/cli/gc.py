"""`caseus gc`."""

from __future__ import annotations

import msgspec

from caseus.cli.common import HERE, AsJson, Refused, Switch, Where, find_root, open_catalog, print_table
from caseus.cli.show import counted, parse_age, print_json, show_age, show_size


def gc(*, older_than: str = "24h", dry_run: Switch = False, as_json: AsJson = False, where: Where = HERE) -> None:
    """Delete bytes that nothing refers to any more; works while the server runs.

    Parameters
    ----------
    older_than
        Leave alone what is younger, such as 24h or 7d.
    dry_run
        Only tell what would be deleted.
    """
    age = parse_age(older_than)
    root = find_root(where)
    from caseus.cli.progress import showing
    from caseus.storage.filesystem import FilesystemStorage
    from caseus.upkeep.garbage import Collector

    with open_catalog(where) as catalog, showing("looking for garbage") as progress:
        store = FilesystemStorage(root)
        collector = Collector(catalog, store, older_than=age, dry_run=dry_run, seen=progress.step)
        found = list(collector.run())
    size = sum(each.size for each in found)
    if as_json:
        print_json({"dry_run": dry_run, "bytes": size, "garbage": msgspec.to_builtins(found), "kept": collector.kept})
    else:
        if found:
            rows = [(each.kind, show_size(each.size), show_age(each.age), each.key) for each in found]
            print_table(("what", "bytes", "age", "file"), rows)
        verb = "would be deleted" if dry_run else "deleted"
        print(f"{counted(len(found), 'file')}, {show_size(size)} {verb}")
    if collector.kept:
        raise Refused(
            f"{counted(len(collector.kept), 'file')} of {root} left, such as {collector.kept[0]}: packages.jsonl says "
            "published, the catalog does not know it: run `caseus reindex`, or restore a backup"
        )
