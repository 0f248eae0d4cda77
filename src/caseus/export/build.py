"""The second look at a list: the pages of each project that changed, and of every project what the lists need."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from caseus.export.files import PathOf, place_files
from caseus.export.found import Found
from caseus.export.pages import ProjectPages, stale
from caseus.export.scan import NO_FILE, Scan
from caseus.export.state import ProjectState
from caseus.export.writing import Counts, Writer

_encode = msgspec.json.Encoder().encode


class Share(NamedTuple):
    """Projects that follow each other, and a temporary file for their lines of `packages.json`."""

    names: Sequence[str]
    lines: BinaryIO


class Built(NamedTuple):
    """Of a share. `order`: numbers of its files' lines, project by project, each in the order of its releases.

    `stale`: keys of pages that are to be deleted once nothing leads to them.
    """

    order: array[int]
    projects: Sequence[ProjectState]
    stale: Sequence[str]
    counts: Counts


class Past(NamedTuple):
    """What an earlier run wrote that is right still.

    `pages`: projects whose pages are. `projects`: those of them of which more is known; `lines`: its `packages.json`,
    with the place of each of these in it, or None. `files`: files of packages in its folders are its own.
    """

    pages: Container[str] = ()
    projects: Mapping[str, ProjectState] = {}
    lines: BinaryIO | None = None
    places: Mapping[str, int] = {}
    files: bool = False


class Builder:
    """Does shares, each in any process."""

    def __init__(
        self, scan: Scan, pages: ProjectPages, new_writer: Callable[[], Writer], past: Past, path_of: PathOf
    ) -> None:
        self._scan, self._pages, self._new_writer, self._past = scan, pages, new_writer, past
        self._path_of = path_of

    def build(self, share: Share) -> Built:
        writer = self._new_writer()
        order = array("I")
        projects: list[ProjectState] = []
        gone: list[str] = []
        for name in share.names:
            project = self._copy(name, order, share.lines)
            if project is None:
                found = Found(name, self._scan.lines_of(name), self._scan.decode)
                if name not in self._past.pages:
                    gone += self._write(found, writer)
                order.extend(release.line for release in found.releases)
                project = self._tell(found, share.lines)
            projects.append(project)
        share.lines.flush()
        return Built(order, projects, gone, writer.counts)

    def _write(self, found: Found, writer: Writer) -> list[str]:
        written = place_files(found, self._path_of, writer) if self._pages.options.files else []
        for key, data in self._pages.pages(found):
            writer.put(key, data)
            written.append(key)
        target = writer.target
        return [] if target.empty else stale(target, found.name, written, files=self._past.files)

    def _tell(self, found: Found, lines: BinaryIO) -> ProjectState:
        told = [release.entry for release in found.releases] + found.others
        data = b"".join([_encode(entry) + b"\n" for entry in told])
        lines.write(data)
        digest = b"" if found.doubled else self._scan.digests[found.name]  # which line was last is not in the digest
        return ProjectState(digest, found.latest, len(data), len(found.releases))

    def _copy(self, name: str, order: array[int], lines: BinaryIO) -> ProjectState | None:
        """The project as it was, without looking at its lines; None if they have to be looked at."""
        project = self._past.projects.get(name)
        if project is None or self._past.lines is None:
            return None
        stamps = self._scan.stamps
        files = [number for number in self._scan.lines[name] if stamps[number] != NO_FILE]
        if len({stamps[number] for number in files}) < len(files):
            return None  # the changelog has what was uploaded in one moment in the order of the releases
        self._past.lines.seek(self._past.places[name])
        lines.write(self._past.lines.read(project.size))
        order.extend(files)
        return project
