"""`caseus backup` and `caseus restore`."""

from __future__ import annotations

from pathlib import Path

from caseus.cli.common import HERE, AsJson, Refused, Where, existing_root, find_root, show_time
from caseus.cli.show import counted, damages_as_json, print_damages, print_json, show_size


def backup(folder: str, /, *, as_json: AsJson = False, where: Where = HERE) -> None:
    """Back up what is published, users, tokens and settings, also while the server runs; only what is new is copied.

    Parameters
    ----------
    folder
        An empty folder or one with an earlier backup, best on another disk.
    """
    root = existing_root(find_root(where))
    from caseus.cli.progress import showing
    from caseus.upkeep.backup import Backup

    with showing("copying") as progress:
        report = Backup(root, Path(folder).absolute(), progress=progress).run()
    made = report.manifest
    if as_json:
        told = {"serial": made.serial, "files": len(made.files), "bytes": made.bytes, "copied": report.copied}
        print_json(told | {"damages": damages_as_json(report.damages)})
    else:
        if report.damages:
            print_damages(report.damages)
        size = show_size(made.bytes)
        print(f"backed up {root} at serial {made.serial}: {size} published, {counted(report.copied, 'file')} new")
        print("not in it: admin-password, fetched/, and a configuration file elsewhere than ROOT/caseus.toml")
    if report.damages:
        raise Refused(f"{counted(len(report.damages), 'file')} could not be backed up: run `caseus verify`")


def restore(folder: str, /, *, as_json: AsJson = False, where: Where = HERE) -> None:
    """Put a backup into the data folder, which must be empty or not be there.

    Parameters
    ----------
    folder
        The backup.
    """
    root = find_root(where)
    from caseus.cli.progress import showing
    from caseus.upkeep.restore import open_backup
    from caseus.upkeep.restore import restore as put_back

    source = Path(folder).absolute()
    manifest = open_backup(source)
    with showing("restoring") as progress:
        damages = put_back(source, root, manifest, progress=progress)
    if as_json:
        told = {"root": str(root), "serial": manifest.serial, "time": manifest.time}
        print_json(told | {"damages": damages_as_json(damages)})
    else:
        if damages:
            print_damages(damages)
        print(f"restored {root} as it was at {show_time(manifest.time)}, serial {manifest.serial}")
    if damages:
        raise Refused(f"{counted(len(damages), 'damage')} found in {root}")
