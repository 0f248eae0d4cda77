"""`caseus project`: undo of what was published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cyclopts import App

from caseus.cli.common import (
    HERE,
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

if TYPE_CHECKING:
    from caseus.publish import Publisher

app = App(name="project", help="What was published here: yank, unyank, delete.")


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


@contextmanager
def _publisher(where: Where) -> Iterator[Publisher]:
    config = load_config(where).config
    existing_root(config.root)
    log_to_stderr()
    from caseus import site

    opened = site.build(config)
    try:
        yield opened.indexes[site.MAIN].publisher
    finally:
        opened.close()


def _report(verb: str, filenames: list[str]) -> None:
    for filename in filenames:
        print(verb, filename)
