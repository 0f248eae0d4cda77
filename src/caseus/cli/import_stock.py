"""`caseus import` of what another server keeps on its disk: GoCheese, pyshop, pypiserver, devpi."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from caseus.cli.common import HERE, AsJson, Refused, UsageError, Where, existing_root, load_config
from caseus.cli.import_progress import progress, say, stopped_by_signals
from caseus.cli.import_report import print_report
from caseus.cli.passwd import read_passwd
from caseus.errors import CaseusError

if TYPE_CHECKING:
    from caseus.importers.run import StockImport
    from caseus.importers.stock import Reader

_INTERRUPTED = 130

DryRun = Annotated[bool, Parameter(negative="", help="Only tell what would be taken.")]


def gocheese(
    folder: str,
    /,
    *,
    passwd: str | None = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """Take over a folder of GoCheese: packages with a marker as yours, the others into the cache.

    Parameters
    ----------
    folder
        What its -root named.
    passwd
        Its password file, whose users are added.
    """
    _check_folder(folder)
    users = read_passwd(passwd) if passwd is not None else None

    def reader() -> Reader:
        from caseus.importers.gocheese import GoCheese

        return GoCheese(Path(folder), users)

    return _take(reader, dry_run=dry_run, as_json=as_json, where=where)


def pyshop(
    database: str,
    /,
    *,
    repository: str,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """Take over a database of pyshop: local packages as yours with their owners, mirrored ones into the cache, users.

    Parameters
    ----------
    database
        The SQLite file that its sqlalchemy.url names.
    repository
        The folder that its pyshop.repository names.
    """
    if not Path(database).is_file():
        raise UsageError(f"no file {database}: give the SQLite database of pyshop")
    _check_folder(repository)

    def reader() -> Reader:
        from caseus.importers.pyshop import Pyshop

        return Pyshop(Path(database), Path(repository))

    return _take(reader, dry_run=dry_run, as_json=as_json, where=where)


def pypiserver(
    folder: str,
    /,
    *,
    htpasswd: str | None = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """Take over a folder of pypiserver: all that lies there as yours.

    Parameters
    ----------
    folder
        The folder that it serves.
    htpasswd
        Its password file, whose users are added.
    """
    _check_folder(folder)
    users = read_passwd(htpasswd) if htpasswd is not None else None

    def reader() -> Reader:
        from caseus.importers.pypiserver import Pypiserver

        return Pypiserver(Path(folder), users)

    return _take(reader, dry_run=dry_run, as_json=as_json, where=where)


def devpi(
    folder: str,
    /,
    *,
    index: Annotated[str, Parameter(name="--index")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """Take over one index of what devpi-export wrote; its paths go on to work.

    Parameters
    ----------
    folder
        The folder that devpi-export wrote.
    index
        The index, as USER/NAME.
    """
    _check_folder(folder)

    def reader() -> Reader:
        from caseus.importers.devpi import Devpi

        return Devpi(Path(folder), index)

    return _take(reader, dry_run=dry_run, as_json=as_json, where=where)


def _check_folder(folder: str) -> None:
    if not Path(folder).is_dir():
        raise UsageError(f"no folder {folder}")


def _take(reader: Callable[[], Reader], *, dry_run: bool, as_json: bool, where: Where) -> int:
    """Open the index, run the import and print its report, also of one that broke off; the exit code."""
    config = load_config(where).config
    existing_root(config.root)
    read = reader()
    from caseus import site
    from caseus.importers.caching import Caching
    from caseus.importers.hosting import Hosting
    from caseus.importers.run import StockImport
    from caseus.importers.shelf import Shelf
    from caseus.names import NamePatterns

    opened = site.build(config)
    stop = threading.Event()
    try:
        shelf = Shelf(opened.catalog, opened.indexes[site.MAIN].publisher, actor=f"import:{read.kind}", dry_run=dry_run)
        caching = Caching(
            opened.catalog, opened.store, hosted_tree=shelf.tree, tree_of=opened.cache_tree,
            limit=site.cache_limit(config), dry_run=dry_run,
        )  # fmt: skip
        with progress(lines=False) as shown, stopped_by_signals(stop):
            run = StockImport(
                read, shelf, Hosting(shelf, max_file_bytes=config.max_file_bytes), caching,
                private=NamePatterns(config.private), stop=stop, progress=shown,
            )  # fmt: skip
            failure = _run(run)
    finally:
        opened.close()
    if run.report.results or run.plan or failure is None:
        print_report(run.report, run.plan if dry_run else None, read.place, as_json=as_json)
    for warning in run.report.warnings:
        say(f"warning: {warning}")
    if isinstance(failure, CaseusError):
        raise failure
    if failure is not None:
        return _INTERRUPTED
    if run.report.bad:
        raise Refused(f"{run.report.bad} could not be taken: see the report")
    return 0


def _run(run: StockImport) -> Exception | None:
    """What it ended by before its end; what was done by then is in the report."""
    from caseus.importers.source import Stopped

    try:
        run.run()
    except (CaseusError, Stopped) as error:
        return error
    return None
