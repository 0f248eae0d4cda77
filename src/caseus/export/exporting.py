"""The one function: a source in, a tree out."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from caseus.errors import Busy, Invalid, Unavailable
from caseus.export import workers
from caseus.export.moments import moment
from caseus.export.options import Options
from caseus.export.report import Report
from caseus.export.run import Run
from caseus.export.scan import Scan, scan
from caseus.export.sources import Lines, Source
from caseus.export.state import KEY
from caseus.export.target import FolderTarget, StoredTarget, Target
from caseus.storage import Storage

_NEW: Final = ".caseus-export.new"
_TOP: Final = ("simple", "pypi", "rss", "changelog", "index.html", "packages.json", KEY)
"""What an export writes at the top of a tree, in the order in which links lead; the rest is found by listing."""


class BadLines(Invalid):
    """Some lines can't be used, so nothing was written; `report` tells which."""

    def __init__(self, report: Report) -> None:
        self.report = report
        super().__init__(
            f"{report.bad} of the list's lines can't be used, so nothing was written: mend them, or leave them out "
            "by --skip-invalid"
        )


def export(
    source: Source,
    target: Path | Storage,
    options: Options = Options(),  # noqa: B008  (frozen)
    *,
    previous: Source | None = None,
    skip_invalid: bool = False,
    jobs: int | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Make the tree what the source says, writing and deleting only what differs.

    `target`: a folder, made if it is missing, or a store that has nothing else. `previous`: the list of the last run,
    where that wrote to another place; pages of projects that are in it as now are not written. `jobs`: processes
    (default: one for each core; one where threads run).

    BadLines, Invalid for options that contradict each other, Busy if another export writes there, NotFound, Unavailable.
    """
    options.check()
    jobs = jobs or workers.most_jobs()
    generated = moment(clock()) if options.timestamp else None
    with ExitStack() as stack:
        lines = stack.enter_context(source.lines())
        where = stack.enter_context(_opened(target))
        run = Run(where, options, jobs=jobs, generated=generated)
        digest = lines.digest
        done = run.is_done(digest)
        if done is not None:
            return done
        found = _scanned(lines, jobs)
        bad = {"bad": found.bad, "faults": tuple(found.faults)}
        if found.bad and not skip_invalid:
            raise BadLines(Report(0, 0, 0, 0, 0, **bad))
        before = _scanned(stack.enter_context(previous.lines()), jobs) if previous is not None else None
        return run.write(found, digest, before)._replace(**bad)


def _scanned(lines: Lines, jobs: int) -> Scan:
    return scan(lines.spool, lines.decode, jobs)


@contextmanager
def _opened(target: Path | Storage) -> Iterator[Target]:
    if not isinstance(target, Path):
        yield StoredTarget(target)
        return
    with _locked(target):
        if any((target / name).exists() for name in _TOP):
            yield FolderTarget(target)
            return
        # Nobody reads what is not there yet: it is made aside and then given its place, whole.
        new = target / _NEW
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        yield FolderTarget(new, empty=True)
        for name in sorted(os.listdir(new), key=lambda name: _TOP.index(name) if name in _TOP else 4):
            os.rename(new / name, target / name)
        new.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Busy if another export writes there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"can't write to {folder}: {error.strerror}", kind="local") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Busy(f"another export writes to {folder}: wait for it", retry_after=60) from None
    finally:
        os.close(fd)
