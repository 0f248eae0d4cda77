"""A folder of pypiserver: wheels and sdists, at any depth; signatures beside them; users in an htpasswd file."""

from __future__ import annotations

import filecmp
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from packaging.utils import NormalizedName

from caseus.checks.archive import read_metadata
from caseus.checks.found import parse_filename_of
from caseus.checks.metadata import parse_metadata
from caseus.errors import Conflict, Invalid, Unavailable
from caseus.importers.disk import unreadable
from caseus.importers.gocheese import accounts_of
from caseus.importers.report import Outcome, Result, refused
from caseus.importers.stock import Account, Stock, StockFile
from caseus.model import File
from caseus.names import KNOWN_EXTENSIONS, check_filename, normalize, parse_filename


class Pypiserver:
    """Reads the folder that pypiserver serves. All that lies there is published by it, and none has a digest."""

    kind = "pypiserver"

    def __init__(self, folder: Path, htpasswd: str | None = None) -> None:
        self.place = str(folder)
        self.warnings: list[str] = []
        self.aliases: list[str] = []
        self._folder, self._htpasswd = folder, htpasswd

    def accounts(self) -> Iterator[Account | Result]:
        """Of the htpasswd file's text; all of them may upload."""
        if self._htpasswd is not None:
            yield from accounts_of(self._htpasswd)

    def stocks(self) -> Iterator[Stock | Result]:
        stocks: defaultdict[NormalizedName, list[StockFile]] = defaultdict(list)
        seen: dict[str, Path] = {}
        for path in self._files():
            if isinstance(path, Result):
                yield path
                continue
            shown = os.path.relpath(path, self._folder)
            try:
                if path.name in seen:
                    self._check_same(seen[path.name], path)
                    continue
                project = _project_of(path)
            except (Invalid, Conflict, Unavailable) as error:
                yield refused("", shown, error)
                continue
            seen[path.name] = path
            stocks[project].append(_stock_file(path))
        for project in sorted(stocks):
            yield Stock(project=project, hosted=True, files=tuple(stocks[project]))

    def _files(self) -> Iterator[Path | Result]:
        """As pypiserver looks for them: nothing whose path has a dot in front somewhere."""
        faults: list[Result] = []

        def note(error: OSError) -> None:
            name = os.path.relpath(error.filename or "", self._folder)
            reason = str(unreadable(Path(name), error))
            faults.append(Result(outcome=Outcome.FAILED, filename=name, reason=reason))

        for folder, folders, names in os.walk(self._folder, onerror=note):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and name.endswith(KNOWN_EXTENSIONS):
                    yield Path(folder, name)
        yield from faults

    def _check_same(self, first: Path, second: Path) -> None:
        """Conflict if two files of one name, in two folders, have different bytes."""
        try:
            if filecmp.cmp(first, second, shallow=False):
                return
        except OSError as error:
            raise Unavailable(str(unreadable(second, error)), kind="local") from None
        raise Conflict(
            f"{os.path.relpath(first, self._folder)} has this name too, with other bytes: only that is taken"
        )


def _stock_file(path: Path) -> StockFile:
    signature = path.with_name(f"{path.name}.asc")
    return StockFile(file=File(filename=path.name), path=path, signature=signature if signature.is_file() else None)


def _project_of(path: Path) -> NormalizedName:
    """Which project's it is, by its name; where that can be read in two ways (foo-1.0-1.tar.gz), by its metadata.

    Invalid for what is no wheel or sdist.
    """
    told = parse_filename(check_filename(path.name)).project
    if path.suffix == ".whl":
        return told
    possible = {told, *_possible(path.name)}
    return told if len(possible) == 1 else _named_inside(path, possible) or told


def _possible(filename: str) -> Iterator[NormalizedName]:
    for match in re.finditer(r"-(?=\d)", filename):
        with suppress(Invalid):
            name = normalize(filename[: match.start()])
            yield parse_filename_of(name, filename).project


def _named_inside(path: Path, possible: set[NormalizedName]) -> NormalizedName | None:
    with suppress(Invalid, OSError), open(path, "rb") as reader:
        name = parse_metadata(read_metadata(path.name, reader)).name
        if name is not None and normalize(name) in possible:
            return normalize(name)
    return None
