"""A closed world of packages for resolvers: nothing outside of it is asked for."""

from __future__ import annotations

import html
import json
import random
from pathlib import Path
from typing import Any

from support.packages import make_wheel, metadata, sha256

PACKAGES = 60
WANTED = 30
VERSIONS = 40


def name(number: int) -> str:
    return f"package-{number:02}"


def wanted() -> str:
    """What a resolver is asked for: half of the packages; the others come as what they need."""
    return "".join(f"{name(number)}\n" for number in range(WANTED))


def write(static: Path) -> None:
    """Files, their sidecars and pages, under `simple` and `json`. Each needs up to four packages of higher numbers."""
    chance = random.Random(0)
    for number in range(PACKAGES):
        later = range(number + 1, PACKAGES)
        needed = chance.sample(later, min(4, len(later)))
        requires = [f"{name(each)}>={chance.randrange(5)}.{chance.randrange(4)},<10" for each in needed]
        if number + 1 == WANTED:
            requires += [f"{name(each)}>=1" for each in range(WANTED, PACKAGES)]
        entries = [_release(static / "simple" / name(number), name(number), v, requires) for v in range(VERSIONS)]
        _pages(static, name(number), entries)


def _release(folder: Path, project: str, number: int, requires: list[str]) -> dict[str, Any]:
    version = f"{number // 4}.{number % 4}"
    told = metadata(project, version, requires=requires, requires_python=">=3.9", description="A line of it.\n" * 60)
    filename, data = make_wheel(project, version, metadata_bytes=told)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / filename).write_bytes(data)
    (folder / f"{filename}.metadata").write_bytes(told)
    return {
        "filename": filename,
        "url": filename,
        "hashes": {"sha256": sha256(data)},
        "requires-python": ">=3.9",
        "core-metadata": {"sha256": sha256(told)},
        "dist-info-metadata": {"sha256": sha256(told)},
        "size": len(data),
        "upload-time": "2024-01-01T00:00:00Z",
    }


def _pages(static: Path, project: str, entries: list[dict[str, Any]]) -> None:
    versions = [f"{number // 4}.{number % 4}" for number in range(VERSIONS)]
    page = {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": entries}
    links = "".join(
        f'<a href="{entry["filename"]}#sha256={entry["hashes"]["sha256"]}" '
        f'data-requires-python="{html.escape(">=3.9")}" data-core-metadata="sha256={entry["core-metadata"]["sha256"]}">'
        f"{entry['filename']}</a>\n"
        for entry in entries
    )
    head = '<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.1"><title>Links</title></head>'
    for tree, data in (("simple", f"{head}<body>\n{links}</body></html>\n"), ("json", json.dumps(page))):
        (static / tree / project).mkdir(parents=True, exist_ok=True)
        (static / tree / project / "index").write_text(data)
