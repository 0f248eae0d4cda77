"""Project and version of any file that a list may name: eggs, installers and old spellings too.

Wheels are split as PEP 427 says. For everything else dumb-pypi's rules hold, so that a project keeps its place: one
dash separates name and version; of several, the first behind which a part with a dot and a digit stands; else PEP 625's
last one. What is better: endings of two parts in one word (`.tgz`) and `.tar.xz` are endings.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from caseus.errors import Invalid

_ENDINGS: Final = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tar.Z")
_RUNS: Final = re.compile("[-_.]+")
_DIGIT: Final = re.compile("[0-9]", re.ASCII)
_PYTHON_TAG: Final = re.compile(r"[a-z]\w*[0-9]+(\.[a-z]\w*[0-9]+)*", re.IGNORECASE | re.ASCII).fullmatch
_WORD: Final = re.compile(r"\w+(\.\w+)*", re.ASCII).fullmatch


def guess(filename: str) -> tuple[str, str | None]:
    """(normalised project, version as it is spelled or None); Invalid for a name that tells no project."""
    name, version = _wheel(filename) if filename.endswith(".whl") else _other(filename)
    project = _normalized(name)
    if not project or version == "":
        raise Invalid(f"{filename!a} tells no project and version")
    return project, version


def version_of(filename: str) -> str | None:
    """As `guess` tells it, of a name that it took."""
    return filename.split("-", 2)[1] if filename.endswith(".whl") else _other(filename)[1]


def packagetype(filename: str) -> str:
    """As the JSON API names it."""
    if filename.endswith(".whl"):
        return "bdist_wheel"
    return "bdist_egg" if filename.endswith(".egg") else "sdist"


@lru_cache(100_000)
def _normalized(name: str) -> str:
    """PEP 503, lenient: "" only where there is neither letter nor digit."""
    normalized = _RUNS.sub("-", name).lower()
    return normalized if normalized.strip("-") else ""


def _wheel(filename: str) -> tuple[str, str]:
    name, _, rest = filename.partition("-")
    version, _, tags = rest.partition("-")
    if version[:1].isdigit() and _are_tags(tags):
        return name, version
    raise Invalid(f"{filename!a} is no name of a wheel (PEP 427)")


@lru_cache(10_000)
def _are_tags(rest: str) -> bool:
    """Of a wheel's name what is behind the version: `[BUILD-]PYTHON-ABI-PLATFORM.whl`. Many have the same."""
    parts = rest[:-4].split("-")
    build = parts.pop(0) if len(parts) == 4 else "0"
    if len(parts) != 3:
        return False
    python, abi, platform = parts
    return bool(build[:1].isdigit() and _PYTHON_TAG(python) and _WORD(abi) and _WORD(platform))


def _other(filename: str) -> tuple[str, str | None]:
    stem = _stem(filename)
    first, dash, rest = stem.partition("-")
    if not dash:
        return stem, None
    if "-" not in rest:
        return first, rest
    parts = stem.split("-")
    for index in range(1, len(parts)):
        if "." in parts[index] and _DIGIT.search(parts[index]):
            return "-".join(parts[:index]), "-".join(parts[index:])
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename  # few names need it, and it loads slowly

    try:
        _, version = parse_sdist_filename(f"{stem}.tar.gz")
    except InvalidSdistFilename:
        return stem, None
    return "-".join(parts[:-1]), parts[-1] if version else None


def _stem(filename: str) -> str:
    for ending in _ENDINGS:
        if filename.endswith(ending):
            return filename[: -len(ending)]
    if filename.endswith((".gz", ".bz2")):
        filename = filename.rpartition(".")[0]
    stem, dot, _ = filename.rpartition(".")
    if not dot:
        raise Invalid(f"{filename!a} has no ending, such as .whl or .tar.gz")
    return stem
