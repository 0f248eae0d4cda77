"""The JSON of the Simple Repository API (PEP 691, 700, 714, 740, 792): a key is there only where its value is known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from caseus.model import File, Project
from caseus.render.links import Link, beside, sound_hashes
from caseus.render.page import ListForm, ProjectForm
from caseus.render.text import API_VERSION, encodable, provenance_url

_META = {"api-version": API_VERSION}
_DASHED: Final = ("upload_time", "requires_python", "core_metadata", "gpg_sig")


def project_json(project: Project, link: Link = beside) -> bytes:
    """The detail page. PEP 792: a quarantined project offers no file."""
    return JSON_PROJECT.page(project, link)


def _head(project: Project) -> bytes:
    status: dict[str, str] = {"status": project.status}
    if project.status_reason:
        status["reason"] = encodable(project.status_reason)
    told = {
        "meta": _META,
        "name": project.name,
        "project-status": status,
        "versions": [encodable(version) for version in project.versions],
    }
    return msgspec.json.encode(told)[:-1] + b',"files":['


def _files(files: Iterable[File], link: Link) -> bytes:
    return msgspec.json.encode([_file(file, link) for file in files])[1:-1]


def list_json(names: Iterable[str]) -> bytes:
    """The list of projects, by normalised names."""
    return b"".join((JSON_LIST.head, JSON_LIST.entries(names), JSON_LIST.tail))


def _entries(names: Iterable[str]) -> bytes:
    return ",".join([f'{{"name":"{name}"}}' for name in names]).encode()  # a normalised name needs no escapes


JSON_LIST = ListForm(
    head=msgspec.json.encode({"meta": _META})[:-1] + b',"projects":[', entries=_entries, between=b",", tail=b"]}"
)
JSON_PROJECT = ProjectForm(head=_head, entries=_files, between=b",", tail=b"]}")


class _Entry(msgspec.Struct, gc=False, rename={name: name.replace("_", "-") for name in _DASHED}):
    """A file, in the order of its keys: a Struct is made and written in half the time of a dictionary.

    PEP 700's form of time is how msgspec writes one in UTC: whole seconds, or all six digits of a fraction.
    """

    filename: str
    url: str
    hashes: dict[str, str]
    size: int | UnsetType
    upload_time: datetime | UnsetType
    requires_python: str | UnsetType
    core_metadata: bool | dict[str, str] | UnsetType
    yanked: bool | str
    gpg_sig: bool | UnsetType
    provenance: str | UnsetType


def _file(file: File, link: Link) -> _Entry:
    core_metadata: bool | dict[str, str] | UnsetType = UNSET
    if file.core_metadata:
        known = sound_hashes(file.core_metadata) if isinstance(file.core_metadata, dict) else {}
        core_metadata = known or True  # never its old name: pip 22.3 to 23.0 dies of that in JSON (PEP 714)
    return _Entry(
        encodable(file.filename),
        link(file),
        sound_hashes(file.hashes),
        UNSET if file.size is None else file.size,
        UNSET if file.upload_time is None else file.upload_time.astimezone(UTC),
        UNSET if file.requires_python is None else encodable(file.requires_python),
        core_metadata,
        encodable(file.yanked) if isinstance(file.yanked, str) and file.yanked else bool(file.yanked),
        UNSET if file.gpg_sig is None else file.gpg_sig,
        UNSET if file.provenance is None else provenance_url(file.provenance) or UNSET,
    )
