"""One export of a list into a tree: looked at, compared with the last run, written in the order in which links lead.

Pages of projects first, then what leads to them, then deletions; so whoever follows a link meets a page.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import BinaryIO, Final, cast

from caseus.export import workers
from caseus.export.build import Builder, Built, Past, Share
from caseus.export.entries import decode_json
from caseus.export.lists import Lists, write_packages
from caseus.export.options import Options
from caseus.export.pages import ProjectPages, stale
from caseus.export.report import Report
from caseus.export.scan import Scan, scan, shares
from caseus.export.spool import Spool
from caseus.export.state import ProjectState, State, read_state, write_state
from caseus.export.target import Target
from caseus.export.writing import Counts, Writer, plain_names, total

_SHARES_A_JOB: Final = 8
_LEAST_SHARE: Final = 200  # files
_CHANGELOG: Final = re.compile(r"page[0-9]+\.html\Z").match
_PACKAGES: Final = "packages.json"


class Run:
    """`generated`: the moment that pages tell, None if they tell none."""

    def __init__(self, target: Target, options: Options, *, jobs: int, generated: str | None) -> None:
        self._target, self._options, self._generated = target, options, generated
        self._jobs = jobs if target.forks else 1
        self._state = read_state(target)
        self._digests = options.digests()

    def is_done(self, source: str) -> Report | None:
        """What there is, where the last run was of just this list with these options. `source`: digest of the list."""
        state = self._state
        if state is None or (state.source, state.pages, state.lists) != (source, *self._digests):
            return None
        return _report(list(state.projects.values()), Counts())

    def write(self, found: Scan, source: str, previous: Scan | None) -> Report:
        """The tree as the list says. `previous`: what an earlier run wrote that left no state here."""
        state, names = self._state, sorted(found.lines)
        right = self._right(found, previous)
        gone = sorted(self._before(previous) - found.lines.keys())
        if len(right) == len(names) and not gone and (state is None or state.lists == self._digests[1]):
            return _report(list(state.projects.values()) if state else [], Counts())
        with ExitStack() as stack:
            past = self._past(right, stack)
            built, parts = self._build(found, names, past, stack)
            projects = [project for each in built for project in each.projects]
            writer = Writer(self._target, self._options.compress)
            lists = Lists(writer, self._options, self._generated)
            listed = [(name, project.latest) for name, project in zip(names, projects, strict=True) if project.files]
            lists.names([name for name, _ in listed])
            counts = [each.counts for each in built]
            if self._options.changelog:
                counts.append(lists.changelog(found, [line for each in built for line in each.order], self._jobs))
            lists.home(listed)
            lists.extras()
            write_packages(self._target, parts)
        for key in [*self._surplus(lists.keys), *(key for each in built for key in each.stale)]:
            writer.delete(key)
        for name in gone:
            for key in stale(self._target, name, ()):
                writer.delete(key)
        self._remember(source, dict(zip(names, projects, strict=True)), right, lists.keys)
        return _report(projects, total([*counts, writer.counts]))

    def _right(self, found: Scan, previous: Scan | None) -> set[str]:
        """Projects whose pages need not be written."""
        before = dict(previous.digests) if previous is not None else {}
        if (state := self._state) is not None:
            same = state.pages == self._digests[0]
            before |= {name: project.digest if same else b"" for name, project in state.projects.items()}
        return {name for name, digest in found.digests.items() if before.get(name) == digest}

    def _before(self, previous: Scan | None) -> set[str]:
        """Projects of which there may be pages."""
        there = set(previous.lines) if previous is not None else set()
        if self._state is not None:
            return there | self._state.projects.keys()
        if not self._target.empty and (file := self._target.open(_PACKAGES)) is not None:
            with file:
                there |= set(scan(Spool(file), decode_json, self._jobs).lines)
        return there

    def _past(self, right: set[str], stack: ExitStack) -> Past:
        state = self._state
        if state is None or state.packages is None or self._target.signature(_PACKAGES) != state.packages:
            return Past(pages=right)
        lines = self._target.open(_PACKAGES)
        if lines is None:
            return Past(pages=right)
        starts = accumulate((project.size for project in state.projects.values()), initial=0)
        places = dict(zip(state.projects, starts, strict=False))
        known = {name: state.projects[name] for name in right}  # all: else `packages` were not told
        return Past(right, known, stack.enter_context(lines), places)

    def _build(
        self, found: Scan, names: Sequence[str], past: Past, stack: ExitStack
    ) -> tuple[list[Built], list[BinaryIO]]:
        counts = [len(found.lines[name]) for name in names]
        most = max(1, min(self._jobs * _SHARES_A_JOB, sum(counts) // _LEAST_SHARE))
        cuts = shares(counts, most)
        parts = [cast(BinaryIO, stack.enter_context(tempfile.TemporaryFile(prefix="caseus-"))) for _ in cuts]
        pages = ProjectPages(self._options, self._generated)
        builder = Builder(found, pages, self._target, past)
        tasks = [Share(names[start:stop], part) for (start, stop), part in zip(cuts, parts, strict=True)]
        return workers.run(self._jobs, tasks, builder.build), parts

    def _surplus(self, keys: Sequence[str]) -> list[str]:
        """Lists that an earlier run wrote and this one didn't."""
        if self._target.empty:
            return []
        there = set(self._state.keys) if self._state is not None else set()
        there |= {f"changelog/{name}" for name in plain_names(self._target.names("changelog")) if _CHANGELOG(name)}
        return sorted(there - set(keys))

    def _remember(
        self, source: str, projects: Mapping[str, ProjectState], right: set[str], keys: Sequence[str]
    ) -> None:
        """Only projects whose pages are here: those that just the previous list calls right may be elsewhere."""
        known = self._state.projects if self._state is not None else {}
        here = {name: project for name, project in projects.items() if name not in right or name in known}
        complete = len(here) == len(projects)
        pages, lists = self._digests
        state = State(
            pages=pages,
            lists=lists,
            source=source if complete else "",
            packages=self._target.signature(_PACKAGES) if complete else None,
            keys=tuple(keys),
            projects=here,
        )
        write_state(self._target, state)


def _report(projects: Sequence[ProjectState], counts: Counts) -> Report:
    files = [project.files for project in projects]
    return Report(sum(files), len(files) - files.count(0), *counts)
