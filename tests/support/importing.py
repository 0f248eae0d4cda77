"""An index to take over, and one to take it over into."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from caseus.catalog import Catalog
from caseus.importers.index import IndexImport
from caseus.importers.report import Outcome, Result
from caseus.importers.selection import Selection
from caseus.importers.source import Source
from caseus.index import Local
from caseus.names import normalize
from caseus.packages import PackageLists
from caseus.publish import Publisher
from caseus.storage.filesystem import FilesystemStorage
from caseus.upstream import Origin, Timeouts, Upstream
from support.server import run_cli

SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----\n"
TOLD = ("filename", "hashes", "size", "yanked", "upload-time", "requires-python")
"""What the pages of source and target have to agree in."""


class Imported(NamedTuple):
    """A `caseus import` that has ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def count(self, outcome: str) -> int:
        return int(self.report["files"][outcome])

    def reasons(self, outcome: str) -> dict[str, str]:
        """Filename (or user, or project) to why."""
        return {
            entry["filename"] or entry["user"] or entry["project"]: "; ".join(
                filter(None, [entry["reason"], *entry["remarks"]])
            )
            for entry in self.report["details"]
            if entry["outcome"] == outcome
        }


def run_import(
    root: Path, url: str, *flags: str, input: str | None = None, environ: Mapping[str, str] | None = None
) -> Imported:
    """The command, in a process of its own."""
    environ = {"CASEUS_UPSTREAM": "none"} | dict(environ or {})
    done = run_cli("import", "index", url, "--root", root, *flags, input=input, environ=environ)
    return Imported(done.returncode, done.stdout, done.stderr)


def run_stock(root: Path, *words: str | Path, upstream: str = "none", flags: Sequence[str] = ("--json",)) -> Imported:
    """The command of another server's folder, in a process of its own: `words` such as "gocheese", FOLDER."""
    done = run_cli("import", *words, *flags, "--root", root, environ={"CASEUS_UPSTREAM": upstream})
    return Imported(done.returncode, done.stdout, done.stderr)


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.files = 0
        self.results: list[Result] = []

    def found(self, files: int) -> None:
        self.files += files

    def done(self, result: Result) -> None:
        self.results.append(result)


class Target:
    """An empty index in a folder, and imports into it; to be closed."""

    def __init__(self, root: Path, url: str, *, max_file_bytes: int = 1 << 20) -> None:
        root.mkdir()
        self.catalog = Catalog.open(root)
        self.store = FilesystemStorage(root)
        self.catalog.writer.after_commit = PackageLists(self.catalog, self.store).follow
        self.publisher = Publisher(self.catalog, self.store, "main", displaces=["fetched/pypi"])
        self.local = Local(self.catalog, self.store, "main")
        self.upstream = Upstream(url, timeouts=Timeouts(connect=5, read=5, page=5), proxies={})
        self.stop = threading.Event()
        self._max_file_bytes = max_file_bytes

    def importer(
        self,
        *chosen: str,
        exclude: Sequence[str] = (),
        jobs: int = 2,
        delete: bool = False,
        heard: Heard | None = None,
        pauses: Sequence[float] = (0.0,),
        files_from: frozenset[Origin] = frozenset(),
    ) -> IndexImport:
        source = Source(
            self.upstream, max_file_bytes=self._max_file_bytes, stop=self.stop, pauses=pauses, files_from=files_from
        )
        return IndexImport(
            source, self.catalog, self.publisher, Selection(chosen, exclude),
            jobs=jobs, stop=self.stop, progress=heard or Heard(), delete=delete,
        )  # fmt: skip

    def take(self, *chosen: str, **options: Any) -> dict[str, tuple[Outcome, str]]:
        """One run of one round: filename (or project) to what came of it, and why."""
        return outcomes(round_of(self.importer(*chosen, **options)))

    def files(self, project: str) -> list[str]:
        return [file.filename for file in self.catalog.hosted_files("files/main", normalize(project))]

    def read(self, project: str, filename: str) -> bytes:
        with self.local.open(normalize(project), filename) as blob:
            return b"".join(iter(blob.read, b""))

    def close(self) -> None:
        self.upstream.close()
        self.catalog.close()


def round_of(run: IndexImport) -> IndexImport:
    run.take(run.names())
    return run


def outcomes(run: IndexImport) -> dict[str, tuple[Outcome, str]]:
    return {
        result.filename or result.project: (result.outcome, "; ".join(filter(None, [result.reason, *result.remarks])))
        for result in run.report.results
    }


def told(entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of the entries of a JSON page what both pages have to say."""
    return {name: {key: entry.get(key) for key in TOLD} for name, entry in entries.items()}
