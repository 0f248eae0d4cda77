"""A project as the lines of a list tell it, and where its files are linked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

from caseus.export.entries import Decode, Entry
from caseus.export.filenames import version_of
from caseus.export.moments import moment
from caseus.export.options import Options
from caseus.export.releases import Release, by_version, latest, ordered
from caseus.model import Status
from caseus.render.text import escaped, file_url

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]+").fullmatch


class Found:
    """`lines`: (number, text). `doubled`: a filename, or what is known of the project, was told twice, differently, or
    the file was deleted; the later line holds.

    `others`: lines that tell no file that is there.
    """

    def __init__(self, name: str, lines: Iterable[tuple[int, bytes]], decode: Decode) -> None:
        self.name = name
        self.others: list[Entry] = []
        self.status: Status = "active"
        self.status_reason: str | None = None
        self.told_versions: tuple[str, ...] = ()
        self.doubled = False
        files: dict[str, Release] = {}
        graves: set[str] = set()
        for number, line in lines:
            entry = decode(line)
            if not entry.filename:
                self.doubled |= any(not other.filename and other != entry for other in self.others)
                self._tell(entry)
                self.others.append(entry)
                continue
            filename = entry.filename
            before = files.pop(filename, None)
            if before is not None or filename in graves:
                self.doubled |= before is None or filename in graves or before.entry != entry
            if entry.deleted is None:
                files[filename] = release_of(number, entry)
            else:
                graves.add(filename)
                self.others.append(entry)
                self.doubled |= before is not None
        self.releases = ordered(files.values())

    def _tell(self, entry: Entry) -> None:
        if entry.status is not None:
            self.status, self.status_reason = entry.status, entry.status_reason
        self.told_versions = tuple(entry.versions or ())

    @cached_property
    def versions(self) -> dict[str, list[Release]]:
        """To the files of each that are offered, oldest first."""
        return by_version(self.offered)

    @cached_property
    def latest(self) -> str | None:
        return latest(self.versions)

    @property
    def offered(self) -> list[Release]:
        """PEP 792: a quarantined project offers no file."""
        return [] if self.status == "quarantined" else self.releases


def release_of(line: int, entry: Entry) -> Release:
    """Of the entry of a file, which was checked."""
    filename, version, uploaded = entry.filename, entry.version, entry.uploaded
    if version is None and entry.project is None:
        version = version_of(filename)
    told = moment(uploaded) if uploaded is not None else None
    return Release(version, entry, quoted(filename), line, told, entry.is_yanked)


class Links:
    """Where a page links files. `up`: from the page to the top of the tree, such as `../../`."""

    def __init__(self, options: Options) -> None:
        self._prefix = None if options.packages_url is None else options.packages_url.rstrip("/") + "/"
        self._escaped = escaped(self._prefix or "")
        self._base = options.base_url

    def beside(self, entry: Entry) -> str:
        """From the page of its project in `simple/`, without the digest."""
        return entry.url or (self._prefix or "") + quoted(entry.filename)

    def in_html(self, releases: Iterable[Release]) -> list[str]:
        """As `beside`, with the digest, for an attribute."""
        return [self._in_html(release) for release in releases]

    def in_changelog(self, project: str, releases: Iterable[Release], links: Sequence[str]) -> Sequence[str]:
        """The same from the changelog; `links` by `in_html`."""
        if self._prefix is not None:
            return links
        up = f"../simple/{project}/"
        return [link if release.entry.url else up + link for release, link in zip(releases, links, strict=True)]

    def _in_html(self, release: Release) -> str:
        entry = release.entry
        link = escaped(entry.url) if entry.url else self._escaped + release.path
        return f"{link}#{entry.hash}" if entry.hash else link  # what a digest is made of was checked

    def for_programs(self, project: str, release: Release, up: str) -> str:
        """Absolute, where the tree's URL is known."""
        if self._prefix is not None:
            return release.entry.url or self._prefix + release.path
        return release.entry.url or f"{self._base or up}simple/{project}/{release.path}"


def quoted(filename: str) -> str:
    return filename if _PLAIN(filename) else file_url(filename)
