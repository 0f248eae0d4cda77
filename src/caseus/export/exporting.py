"""The one function: a source in, a tree out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from caseus.errors import Invalid
from caseus.export import workers
from caseus.export.last_run import LastRun
from caseus.export.moments import moment
from caseus.export.options import Options
from caseus.export.places import opened
from caseus.export.report import Report
from caseus.export.scan import Scan, look, scan
from caseus.export.sources import Source
from caseus.export.target import StrPath

if TYPE_CHECKING:
    from caseus.storage import Storage


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
    target: StrPath | Storage,
    options: Options = Options(),  # noqa: B008  (frozen)
    *,
    previous: Source | None = None,
    skip_invalid: bool = False,
    atomic: bool = False,
    sync: bool = False,
    jobs: int | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Make the tree what the source says, writing and deleting only what differs.

    `target`: a folder, made if it is missing, or a store that has nothing else. `previous`: the list of the last run,
    where that wrote to another place: of projects that are in it as they are now no page is written. `atomic`: a folder
    is made anew beside the old one, and the two are exchanged. `sync`: what is written is on the disk when it gets its
    name. `jobs`: processes (default: one for each core; one where threads run).

    BadLines; Invalid for options that contradict each other; Busy if another export writes there; NotFound,
    Unavailable.
    """
    options.check()
    jobs = jobs or workers.most_jobs()
    generated = moment(clock()) if options.timestamp else None
    with workers.settled(), ExitStack() as stack:
        lines = stack.enter_context(source.lines())
        place = stack.enter_context(opened(target, sync=sync))
        last = LastRun(place.target, options)
        old = None
        if previous is not None and not last.knows_all:
            old = stack.enter_context(previous.lines())
        memory = last.memory(lines.kind)
        seen = look(lines.spool, lines.decode, jobs, memory, meanings=old is not None, meanwhile=_load)
        done = last.is_done(seen)
        if done is not None:
            return done
        found = seen.scan()
        del seen, memory  # they are as large
        refuse_bad(found, skip_invalid=skip_invalid)
        before = scan(old.spool, old.decode, jobs, meanings=True) if old is not None else None
        from caseus.export.run import Run

        new_run = partial(Run, options=options, last=last, jobs=jobs, generated=generated, path_of=source.path)
        run = new_run(place.target)
        plan = run.plan(found, before)
        if atomic and not plan.is_empty:
            run = new_run(stack.enter_context(place.aside()))
        with lines.spool.steady():
            report = run.write(found, lines.kind, plan)
        return report._replace(bad=found.bad, faults=tuple(found.faults))


def _load() -> None:
    """What makes pages is loaded while helpers look at the list already, which don't need it."""
    import caseus.export.run  # noqa: F401


def refuse_bad(found: Scan, *, skip_invalid: bool) -> None:
    """BadLines if there are any, unless they may be left out."""
    if found.bad and not skip_invalid:
        raise BadLines(Report(0, 0, 0, 0, 0, found.bad, tuple(found.faults)))
