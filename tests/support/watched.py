"""A site whose folder is watched, and the hands of a person in that folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

from caseus.catalog import HostedFile, Tombstone
from caseus.errors import NotFound
from caseus.model import Project
from caseus.names import normalize
from caseus.site import Site, build
from caseus.verify import Damage, verify
from support.forms import form_for
from support.web import make_config

TREE = "files/main"


class Watched:
    """A context manager; `start` and `stop` as often as a test likes."""

    def __init__(self, root: Path, **told: Any) -> None:
        self.root = root
        self.config = make_config(root, **({"watch": True} | told))
        self._stack = ExitStack()
        self._site: Site | None = None

    @property
    def site(self) -> Site:
        assert self._site is not None
        return self._site

    def start(self, *, watch: bool = True) -> Self:
        self._site = build(self.config)
        self._stack.callback(self._site.close)
        if watch:
            self.watch()
        return self

    def watch(self) -> None:
        self._stack.enter_context(self.site.watching())

    def stop(self) -> None:
        self._stack.close()
        self._site = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # what a person does

    def folder(self, project: str) -> Path:
        return self.root / TREE / project

    def copy(self, project: str, file: tuple[str, bytes]) -> Path:
        """cp."""
        folder = self.folder(project)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file[0]).write_bytes(file[1])
        return folder / file[0]

    def remove(self, project: str, *names: str) -> None:
        """rm, or rm -r."""
        for name in names:
            (self.folder(project) / name).unlink()
        if not names:
            shutil.rmtree(self.folder(project))

    def mark(self, project: str, marker: str = ".private") -> Path:
        """mkdir and touch."""
        self.folder(project).mkdir(parents=True, exist_ok=True)
        (self.folder(project) / marker).touch()
        return self.folder(project) / marker

    # what others do, and see

    def upload(self, project: str, file: tuple[str, bytes], *, signature: bytes | None = None) -> None:
        publisher = self.site.indexes["main"].publisher
        with closing(publisher.stage()) as staged:
            staged.write(file[1])
            form = form_for(project, "1.0", *file)
            form.fields["version"] = [file[0].split("-")[1].removesuffix(".tar.gz")]
            publisher.publish(staged, form, filename=file[0], signature=signature, actor="mia")

    def project(self, name: str) -> Project:
        return self.site.indexes["main"].index.project(normalize(name))

    def listed(self, name: str) -> list[str]:
        try:
            return [file.filename for file in self.project(name).files]
        except NotFound:
            return []

    def rows(self, name: str) -> dict[str, HostedFile]:
        return {row.filename: row for row in self.site.catalog.hosted_files(TREE, name)}

    def graves(self, name: str) -> dict[str, Tombstone]:
        return {grave.filename: grave for grave in self.site.catalog.tombstones(TREE, name)}

    def journal(self, name: str) -> list[tuple[str, str]]:
        """(action, actor) of what was done to a project, in order."""
        return [(each.action, each.actor) for each in self.site.catalog.journal() if each.project == name]

    def damages(self) -> list[Damage]:
        return list(verify(self.site.catalog, self.site.store, settle=lambda: None))


def until(condition: Callable[[], Any], why: Callable[[], Iterable[str]] = lambda: (), seconds: float = 60) -> None:
    """Waits for the condition; `why` tells what is missing."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not come to be: {list(why())}"
        time.sleep(0.01)  # between two looks
