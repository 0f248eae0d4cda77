"""One export of a list into a tree: looked at, compared with the last run, written in the order in which links lead.

Files and pages of projects first, then what leads to them, then deletions; so whoever follows a link meets a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Final, NamedTuple

from caseus.export import workers
from caseus.export.build import Builder, Built, Past
from caseus.export.changelog import Changelog, Rows, Task
from caseus.export.entries import decode_json
from caseus.export.files import PathOf
from caseus.export.last_run import LastRun
from caseus.export.lists import PACKAGES, Lists, write_packages
from caseus.export.memory import Noted, noted
from caseus.export.options import Options
from caseus.export.pages import ProjectPages, stale
from caseus.export.report import Report
from caseus.export.scan import Scan, scan, shares
from caseus.export.scratch import Scratch
from caseus.export.spool import Spool
from caseus.export.state import (
    FOLDERS,
    RUNNING,
    ProjectState,
    State,
    told,
    write_state,
)
from caseus.export.target import Target
from caseus.export.writing import Writer, plain_names, total

_SHARES_A_JOB: Final = 32
_LEAST_SHARE: Final = 100  # files
_FEW: Final = 5  # lists that are made in the time in which a helper starts
_CHANGELOG: Final = re.compile(r"page[0-9]+\.html\Z").match


class Plan(NamedTuple):
    """What is to be done. `names`: all projects, sorted; `right`: those whose pages need not be written.

    `gone`: projects of which only an earlier run knew. `lists`: whether the lists are right if the rest is.
    """

    names: Sequence[str]
    right: frozenset[str]
    gone: Sequence[str]
    lists: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return self.lists and len(self.right) == len(self.names) and not self.gone


class Run:
    """`last` as it left the target. `generated`: the moment that pages tell, None if they tell none. `path_of`: where a
    file is that goes along.
    """

    def __init__(
        self,
        target: Target,
        options: Options,
        last: LastRun,
        *,
        jobs: int,
        generated: str | None,
        path_of: PathOf,
    ) -> None:
        self._target, self._options, self._generated, self._path_of = target, options, generated, path_of
        self._last, self._state = last, last.state
        self._jobs = jobs if target.forks else 1

    def plan(self, found: Scan, previous: Scan | None) -> Plan:
        """`previous`: the list of an earlier run, which may have written to another place."""
        state = self._state
        there: set[str] = set()
        right: set[str] = set()
        if previous is not None:
            there |= previous.lines.keys()
            right = {name for name, meaning in found.meanings.items() if previous.meanings.get(name) == meaning}
        if state is not None:
            there |= state.projects.keys()
            right -= state.projects.keys()
            if self._last.has_pages:
                known = state.projects
                right |= {
                    name for name in known.keys() & found.lines.keys() if known[name].digest == found.digests[name]
                }
        elif (file := self._target.open(PACKAGES)) is not None:
            with file:
                there |= scan(Spool(file), decode_json, self._jobs).lines.keys()
        lists = previous is not None if state is None else self._last.has_lists
        if not self._last.is_sure:
            there |= {
                name[:-1] for folder in ("simple", "pypi") for name in self._target.names(folder) if name[-1] == "/"
            }
        return Plan(sorted(found.lines), frozenset(right), sorted(there - found.lines.keys()), lists)

    def write(self, found: Scan, kind: str, plan: Plan) -> Report:
        if plan.is_empty:
            return told(self._state.projects.values() if self._state else ())
        if not self._target.empty:
            self._target.write(RUNNING, b"")
        if not self._last.is_sure:
            self._target.sweep(FOLDERS)
        lists = Lists(self._new_writer, self._options, self._generated)
        with Scratch(self._jobs) as lines, Scratch(self._jobs) as rows:
            built = self._build(found, plan, lines, rows)
            projects = dict(zip(plan.names, (project for each in built for project in each.projects), strict=True))
            listed = [(name, project.latest) for name, project in projects.items() if project.files]
            known = self._state.changelog if self._state is not None and self._last.has_lists else None
            changelog = Changelog(found, Rows(built, rows), self._options, known)
            counts = [each.counts for each in built]
            lists.names([name for name, _ in listed])
            tasks: list[Task] = [
                partial(write_packages, self._target, [piece for each in built for piece in each.lines], lines)
            ]
            if self._options.changelog:
                tasks += lists.changelog(changelog)
            done = workers.run(self._jobs if len(tasks) > _FEW else 1, tasks, lambda task: task())
            counts += [count for _, count in done]
            order = b"".join([lines for lines, _ in done]) if self._options.changelog else None
            if self._options.rss:
                lists.feeds(found, changelog.lines())
            lists.home(listed, sum(project.files for project in projects.values()))
            lists.extras()
        for key in self._stale(plan, built, lists.keys):
            lists.writer.delete(key)
        self._remember(found, kind, projects, plan, lists.keys, order)
        if not self._target.empty:
            self._target.delete(RUNNING)
        return told(projects.values())._replace(**total([*counts, lists.writer.counts])._asdict())

    def _new_writer(self) -> Writer:
        before = self._state.compress if self._state is not None else ()
        compress = self._options.compress
        dropped = [form for form in before if form not in compress]
        return Writer(self._target, compress, dropped, trusts=self._last.is_sure and self._state is not None)

    def _build(self, found: Scan, plan: Plan, lines: Scratch, rows: Scratch) -> list[Built]:
        """The pages of projects, written."""
        counts = [len(found.lines[name]) for name in plan.names]
        most = max(1, min(self._jobs * _SHARES_A_JOB, sum(counts) // _LEAST_SHARE))
        pages = ProjectPages(self._options, self._generated)
        builder = Builder(found, pages, self._new_writer, self._past(plan, lines), self._path_of, lines, rows)
        tasks = [plan.names[start:stop] for start, stop in shares(counts, most)]
        return workers.run(self._jobs, tasks, builder.build)

    def _past(self, plan: Plan, lines: Scratch) -> Past:
        """What of an earlier run is right still."""
        state = self._state
        past = Past(plan.right, files=self._owns_files)
        if state is None:
            return past
        if self._last.is_sure:
            past = past._replace(counts={name: project.pages for name, project in state.projects.items()})
        if state.packages is None or self._target.signature(PACKAGES) != state.packages:
            return past
        file = self._target.open(PACKAGES)
        if file is None:
            return past
        starts = accumulate((project.size for project in state.projects.values()), initial=0)
        places = dict(zip(state.projects, starts, strict=False))
        known = {name: state.projects[name] for name in plan.right}  # all are: else `packages` were not told
        return past._replace(projects=known, lines=lines.include(file), places=places)

    @property
    def _owns_files(self) -> bool:
        """Whether those of packages in the tree are an export's."""
        return self._options.files or (self._state is not None and self._state.files)

    def _stale(self, plan: Plan, built: Sequence[Built], keys: Sequence[str]) -> Iterator[str]:
        """Keys of what an earlier run wrote and this one didn't. `keys`: of its lists."""
        if self._target.empty:
            return
        there = set(self._state.keys) if self._state is not None else set()
        there |= {f"changelog/{name}" for name in plain_names(self._target.names("changelog")) if _CHANGELOG(name)}
        yield from sorted(there - set(keys))
        for each in built:
            yield from each.stale
        for name in plan.gone:
            yield from stale(self._target, name, (), files=self._owns_files)

    def _remember(
        self,
        found: Scan,
        kind: str,
        projects: dict[str, ProjectState],
        plan: Plan,
        keys: Sequence[str],
        changelog: bytes | None,
    ) -> None:
        """Only projects whose pages are here: those that just the previous list calls right may be elsewhere."""
        known = self._state.projects if self._state is not None else {}
        here = {name: project for name, project in projects.items() if name not in plan.right or name in known}
        complete = len(here) == len(projects)
        state = State(
            pages=self._last.pages,
            lists=self._last.lists,
            kind=kind if complete else "",
            packages=self._target.signature(PACKAGES) if complete else None,
            keys=tuple(keys),
            changelog=changelog,
            files=self._options.files,
            compress=self._options.compress,
            projects=here,
            lines=noted(found, here) if complete else Noted(),
        )
        write_state(self._target, state)
