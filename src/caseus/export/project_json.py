"""The JSON API's pages as dumb-pypi writes them: `pypi/PROJECT/json`, and `pypi/PROJECT/VERSION/json`.

The per-release page has only that release under `releases`; the public index has all there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from caseus.export.filenames import packagetype
from caseus.export.found import Found, Links
from caseus.export.releases import Release, fullest

_encode = msgspec.json.Encoder().encode
_UP: Final = "../../"


class _File(msgspec.Struct, gc=False):
    filename: str
    url: str
    requires_python: str | None
    packagetype: str
    yanked: bool
    yanked_reason: str | None
    upload_time: str | msgspec.UnsetType = msgspec.UNSET
    digests: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class _Info(msgspec.Struct, gc=False):
    name: str
    version: str | None
    requires_dist: list[str] | None
    requires_python: str | None
    platform: str
    summary: None
    yanked: bool
    yanked_reason: str | None


class _Page(msgspec.Struct, gc=False):
    info: _Info
    releases: Mapping[str, Sequence[msgspec.Raw]]
    urls: Sequence[msgspec.Raw]


class ProjectJson:
    """The pages of one project."""

    def __init__(self, found: Found, links: Links) -> None:
        self._found, self._links = found, links
        # Relative links of a release's page lead one folder further up than those of the project's.
        self._same = all(self._url(release, _UP) == self._url(release, f"{_UP}../") for release in found.offered[:1])
        self._files = {release.entry.filename: self._file(release, _UP) for release in found.offered}  # told 3 times

    def project(self) -> bytes:
        return self._page(
            self._info(), {version: self._listed(files) for version, files in self._found.versions.items()}
        )

    def release(self, version: str) -> bytes:
        files = self._found.versions[version]
        told = self._listed(files) if self._same else [self._file(file, f"{_UP}../") for file in files]
        return self._page(fullest(files), {version: told})

    def _info(self) -> Release | None:
        found = self._found
        if found.latest is None:
            return found.offered[-1] if found.offered else None
        return fullest(found.versions[found.latest])

    def _page(self, info: Release | None, releases: Mapping[str, Sequence[msgspec.Raw]]) -> bytes:
        name = self._found.name
        if info is None:
            return _encode(_Page(_Info(name, None, None, None, "UNKNOWN", None, False, None), releases, []))
        version, entry = info.version, info.entry
        dist, python = entry.requires_dist, entry.requires_python
        told = _Info(name, version, dist, python, "UNKNOWN", None, info.yanked, entry.yanked_reason)
        return _encode(_Page(told, releases, releases.get(version, []) if version is not None else []))

    def _listed(self, files: Sequence[Release]) -> list[msgspec.Raw]:
        known = self._files
        return [known[file.entry.filename] for file in files]

    def _url(self, release: Release, up: str) -> str:
        return self._links.for_programs(self._found.name, release, up)

    def _file(self, release: Release, up: str) -> msgspec.Raw:
        entry = release.entry
        told = _File(
            entry.filename,
            self._url(release, up),
            entry.requires_python,
            packagetype(entry.filename),
            release.yanked,
            entry.yanked_reason,
            msgspec.UNSET if release.uploaded is None else release.uploaded,
            msgspec.UNSET if entry.hash is None else _digests(entry.hash),
        )
        return msgspec.Raw(_encode(told))


def _digests(told: str) -> dict[str, str]:
    algorithm, _, digest = told.partition("=")
    return {algorithm: digest}
