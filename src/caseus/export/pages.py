"""The pages of one project: which there are, and which of an earlier run are there no longer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, cast

from caseus.errors import Invalid
from caseus.export.classic import changelog_rows, project_page
from caseus.export.entries import Entry
from caseus.export.files import is_placed
from caseus.export.found import Found, Links
from caseus.export.options import Options
from caseus.export.project_json import ProjectJson
from caseus.export.releases import pep440
from caseus.export.target import Target
from caseus.export.writing import plain_names
from caseus.model import File, Project

if TYPE_CHECKING:
    from packaging.utils import NormalizedName

    from caseus.export.feeds import Feeds

_SIMPLE: Final = frozenset({"index.html", "index.json"})
_JSON: Final = "json"
_NO_FOLDERS: Final = frozenset({"", _JSON, f"{_JSON}.gz", f"{_JSON}.zst", ".", ".."})
_RELEASES: Final = "releases.xml"


class ProjectPages:
    """`generated`: the moment that pages tell, None if they tell none."""

    def __init__(self, options: Options, generated: str | None) -> None:
        self.links = Links(options)
        self.options, self._generated = options, generated

    def pages(self, found: Found, links: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """(key, bytes), what others lead to first. `links` of the files in HTML."""
        name, options = found.name, self.options
        if found.releases:
            json = ProjectJson(found, self.links)
            if options.release_json:
                for version in found.versions:
                    if is_folder(version):
                        yield f"pypi/{name}/{version}/{_JSON}", json.release(version)
            if options.project_json:
                yield f"pypi/{name}/{_JSON}", json.project()
            if options.rss:
                yield f"rss/project/{name}/{_RELEASES}", self._feeds.releases(found)
        if options.style == "dumb-pypi":
            yield f"simple/{name}/index.html", project_page(found, links, self._generated)
            if options.simple_json:
                yield f"simple/{name}/index.json", self._json(self._project(found))
            return
        from caseus.render import project_html

        project = self._project(found)
        yield f"simple/{name}/index.html", project_html(project, self._link)
        if options.simple_json:
            yield f"simple/{name}/index.json", self._json(project)

    def rows(self, found: Found, links: Sequence[str]) -> list[bytes]:
        """Of the changelog, one for each file; empty ones where none is wanted. `links` of the files in HTML."""
        if not self.options.changelog:
            return [b""] * len(found.releases)
        return changelog_rows(found.releases, self.links.in_changelog(found.name, found.releases, links))

    @cached_property
    def _feeds(self) -> Feeds:
        from caseus.export.feeds import Feeds  # few want them, and they load slowly

        return Feeds(self.options)

    def _json(self, project: Project) -> bytes:
        from caseus.render import project_json

        return project_json(project, self._link)

    def _link(self, file: File) -> str:
        return file.url or self.links.beside(Entry(filename=file.filename))

    def _project(self, found: Found) -> Project:
        """As an index of caseus has it: files by name."""
        files = sorted(found.releases, key=lambda release: release.entry.filename)
        versions = {_normal(release.version, release.entry) for release in files if release.version is not None}
        return Project(
            name=cast("NormalizedName", found.name),
            files=tuple(as_file(release.entry) for release in files),
            versions=tuple(pep440({*versions, *found.told_versions})),
            status=found.status,
            status_reason=found.status_reason,
        )


def stale(target: Target, name: str, wanted: Collection[str], *, files: bool) -> list[str]:
    """Keys of the project's pages that an earlier run wrote and this one doesn't; nobody else's files.

    `wanted`: keys of this run, without compressed forms. `files`: those of packages are the tree's own too.
    """
    there = target.names(f"simple/{name}")
    found = {f"simple/{name}/{page}" for page in plain_names(there) & _SIMPLE}
    if files:
        found |= {f"simple/{name}/{file}" for file in there if is_placed(file)}
    there = target.names(f"pypi/{name}")
    folders = [f"pypi/{name}", *(f"pypi/{name}/{entry[:-1]}" for entry in there if entry.endswith("/"))]
    found |= {f"{folder}/{_JSON}" for folder in folders if _JSON in plain_names(target.names(folder))}
    if _RELEASES in plain_names(target.names(f"rss/project/{name}")):
        found.add(f"rss/project/{name}/{_RELEASES}")
    return sorted(found - set(wanted))


def is_folder(version: str) -> bool:
    """Whether a folder can be named so: not where `json` is a file already."""
    return version not in _NO_FOLDERS and "/" not in version and "\0" not in version


def as_file(entry: Entry) -> File:
    """As pages of the Simple Repository API have it; what is not known is left out, never invented."""
    hashes = dict([entry.hash.lower().split("=", 1)]) if entry.hash is not None else {}
    metadata: bool | dict[str, str] = entry.core_metadata == "true"
    if entry.core_metadata and not metadata:
        metadata = dict([entry.core_metadata.lower().split("=", 1)])
    return File(
        filename=entry.filename,
        hashes=hashes,
        size=entry.size,
        upload_time=datetime.fromtimestamp(entry.upload_time or entry.uploaded, UTC) if entry.uploaded else None,
        requires_python=entry.requires_python,
        core_metadata=metadata,
        yanked=(entry.yanked_reason or True) if entry.is_yanked else False,
        gpg_sig=entry.gpg_sig,
        provenance=entry.provenance,
        url=entry.url,
    )


def _normal(version: str, entry: Entry) -> str:
    """PEP 440's normal form, as far as the name of the file is a wheel's or sdist's."""
    if entry.version is not None:
        return entry.version
    from caseus.names import parse_filename

    try:
        return parse_filename(entry.filename).version
    except Invalid:
        return version
