"""`caseus project`: undo of what was published."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cyclopts import App

from caseus.cli.common import (
    HERE,
    Refused,
    Switch,
    Texts,
    Where,
    actor,
    confirm,
    existing_root,
    load_config,
    log_to_stderr,
    open_catalog,
)
from caseus.errors import NotFound

if TYPE_CHECKING:
    from caseus.catalog import Tombstone
    from caseus.publish import Publisher
    from caseus.site import Site

_MAIN = "main"

app = App(name="project", help="What was published here: yank, unyank, delete, forget.")


@app.command
def yank(target: str, /, *, reason: str = "", where: Where = HERE) -> None:
    """Have resolvers pass over files unless they are pinned (PEP 592).

    Parameters
    ----------
    target
        PROJECT, PROJECT==VERSION or a filename.
    reason
        Told to whoever installs it all the same.
    """
    with _publisher(where) as publisher:
        files = publisher.select(target)
        publisher.yank(files, reason, actor())
    _report("yanked", [file.filename for file in files])


@app.command
def unyank(target: str, /, *, where: Where = HERE) -> None:
    """Take back a yank.

    Parameters
    ----------
    target
        PROJECT, PROJECT==VERSION or a filename.
    """
    with _publisher(where) as publisher:
        files = publisher.select(target)
        publisher.unyank(files, actor())
    _report("unyanked", [file.filename for file in files])


@app.command
def delete(target: str, /, *, reason: str = "", yes: Switch = False, where: Where = HERE) -> None:
    """Delete files for good; their names can't be used again for other bytes.

    Parameters
    ----------
    target
        PROJECT, PROJECT==VERSION or a filename.
    reason
        Kept in the journal.
    yes
        Don't ask.
    """
    with _publisher(where) as publisher:
        files = publisher.select(target)
        project = files[0].project
        confirm(f"Delete {len(files)} {'file' if len(files) == 1 else 'files'} of {project} for good?", yes=yes)
        publisher.delete(files, reason, actor())
    _report("deleted", [file.filename for file in files])


@app.command
def uploaders(project: str, /, *, add: Texts = None, remove: Texts = None, where: Where = HERE) -> None:
    """Tell who may upload to a project, or change it. Without any, everybody who may upload; admins always may.

    Parameters
    ----------
    project
        The project, published here already or not.
    add
        A user who may; may be repeated.
    remove
        A user who no longer may; may be repeated.
    """
    from caseus.names import check_user_name, normalize
    from caseus.storage import hosted_tree

    name, tree = normalize(project), hosted_tree("main")
    for user in add or ():
        check_user_name(user)
    with open_catalog(where) as catalog:
        catalog.change_uploaders(tree, name, add=add or (), remove=remove or (), actor=actor())
        users = catalog.uploaders(tree, name)
    print("\n".join(users) if users else f"everybody who may upload may do so to {name}")


@app.command
def forget(filename: str, /, *, yes: Switch = False, where: Where = HERE) -> None:
    """Let a deleted filename be used again, and publish what lies under it in the folder.

    Parameters
    ----------
    filename
        A file that was deleted, or changed in the folder.
    yes
        Don't ask.
    """
    with _site(where) as opened:
        from caseus.watch.intake import Intake

        publisher = opened.indexes[_MAIN].publisher
        grave = publisher.grave(filename)
        confirm(f"Forget {filename}? Whoever locked it by its digest then finds other bytes there.", yes=yes)
        intake = Intake(opened.catalog, opened.store, publisher)
        failure = intake.forget(grave, actor=actor())
        _report("forgot", [filename])
        if not _is_ours(opened, grave):
            text = (
                f"caseus: nothing of {grave.project} is here now: upstreams are asked for it, but for what is `private`"
            )
            print(text, file=sys.stderr)
        if failure is None:
            _report("published", [filename])
        elif not isinstance(failure, NotFound):
            raise Refused(f"{filename} lies in the folder and was not published: {failure}")


def _is_ours(opened: Site, grave: Tombstone) -> bool:
    from caseus.names import NamePatterns, normalize

    private = NamePatterns(opened.config.private)
    return opened.catalog.knows(grave.tree, grave.project) or private.match(normalize(grave.project))


@contextmanager
def _publisher(where: Where) -> Iterator[Publisher]:
    with _site(where) as opened:
        yield opened.indexes[_MAIN].publisher


@contextmanager
def _site(where: Where) -> Iterator[Site]:
    config = load_config(where).config
    existing_root(config.root)
    log_to_stderr()
    from caseus import site

    opened = site.build(config)
    try:
        yield opened
    finally:
        opened.close()


def _report(verb: str, filenames: list[str]) -> None:
    for filename in filenames:
        print(verb, filename)
