"""The JSON of the Simple Repository API (PEP 691, 700, 714, 740, 792): a key is there only where its value is known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from caseus.model import File, Project
from caseus.render.links import Link, beside, encodable, provenance_url, sound_hashes
from caseus.render.page import API_VERSION, ListForm

_META = {"api-version": API_VERSION}


def project_json(project: Project, link: Link = beside) -> bytes:
    """The detail page. PEP 792: a quarantined project offers no file."""
    status: dict[str, str] = {"status": project.status}
    if project.status_reason:
        status["reason"] = encodable(project.status_reason)
    files = () if project.status == "quarantined" else project.files
    return msgspec.json.encode(
        {
            "meta": _META,
            "name": project.name,
            "project-status": status,
            "versions": [encodable(version) for version in project.versions],
            "files": [_file(file, link) for file in files],
        }
    )


def list_json(names: Iterable[str]) -> bytes:
    """The list of projects, by normalised names."""
    return b"".join((JSON_LIST.head, JSON_LIST.entries(names), JSON_LIST.tail))


def _entries(names: Iterable[str]) -> bytes:
    return ",".join([f'{{"name":"{name}"}}' for name in names]).encode()  # a normalised name needs no escapes


JSON_LIST = ListForm(
    head=msgspec.json.encode({"meta": _META})[:-1] + b',"projects":[', entries=_entries, between=b",", tail=b"]}"
)


def upload_time(moment: datetime) -> str:
    """PEP 700's form, in UTC: whole seconds, or all six digits of a fraction."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat().removesuffix("+00:00") + "Z"


def _file(file: File, link: Link) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "filename": encodable(file.filename),
        "url": link(file),
        "hashes": sound_hashes(file.hashes),
    }
    if file.size is not None:
        entry["size"] = file.size
    if file.upload_time is not None:
        entry["upload-time"] = upload_time(file.upload_time)
    if file.requires_python is not None:
        entry["requires-python"] = encodable(file.requires_python)
    if file.core_metadata:
        known = sound_hashes(file.core_metadata) if isinstance(file.core_metadata, dict) else {}
        entry["core-metadata"] = known or True  # never its old name: pip 22.3 to 23.0 dies of that in JSON (PEP 714)
    entry["yanked"] = encodable(file.yanked) if isinstance(file.yanked, str) and file.yanked else bool(file.yanked)
    if file.gpg_sig is not None:
        entry["gpg-sig"] = file.gpg_sig
    if provenance := provenance_url(file.provenance):
        entry["provenance"] = provenance
    return entry
