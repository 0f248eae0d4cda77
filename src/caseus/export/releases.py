"""The files of a project in order, and which release is its latest."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from caseus.export.entries import Entry

if TYPE_CHECKING:
    from packaging.version import Version

_DIGITS: Final = re.compile("([0-9]+)", re.ASCII)
_PLAIN: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*", re.ASCII).fullmatch
Order = tuple[int, "Version | tuple[int | str, ...]"]


class Release(msgspec.Struct, frozen=True, gc=False):
    """A file as pages tell it. `version`: what its name tells, as it is spelled there. `path`: its name, as links have
    it. `line`: the number of its line. `uploaded`: the moment in words, None where it is not known.
    """

    version: str | None
    entry: Entry
    path: str
    line: int = 0
    uploaded: str | None = None
    yanked: bool = False


def ordered(files: Iterable[Release]) -> list[Release]:
    """As dumb-pypi has them: by version, wheels first, by filename with numbers as numbers.

    What is no version by PEP 440 comes before all that is; a file without one counts as 0.
    """
    spelled: dict[str, list[Release]] = {}
    for file in files:
        spelled.setdefault(file.version or "0", []).append(file)
    found: list[Release] = []
    order = _order_of(spelled)
    for _, same in groupby(_sorted(spelled, order), order):
        found += _in_release([file for version in same for file in spelled[version]])
    return found


def by_version(files: Iterable[Release]) -> dict[str, list[Release]]:
    """Version to its files, in the order of the files; those without a version are in none."""
    found: dict[str, list[Release]] = {}
    for file in files:
        if file.version is not None:
            found.setdefault(file.version, []).append(file)
    return found


def latest(versions: dict[str, list[Release]]) -> str | None:
    """The newest final release that is not yanked; else the newest prerelease, else the newest at all.

    `versions` as `by_version` gives them. Not by PEP 440 is not final. A release is yanked if all its files are.
    """
    best, score = None, (-1, -1)
    for version, files in reversed(versions.items()):
        there = not all(file.yanked for file in files)
        if (found := (int(there), int(_is_final(version)))) > score:
            best, score = version, found
            if score == (1, 1):
                break
    return best


def fullest(files: list[Release]) -> Release:
    """The first of the files of which most is known: never two files' metadata mixed (poetry relies on that)."""
    best, most = files[0], -1
    for file in files:
        known = bool(file.entry.requires_dist) + bool(file.entry.requires_python)
        if known > most:
            best, most = file, known
            if known == 2:
                break
    return best


def natural(text: str) -> tuple[int | str, ...]:
    """Numbers at odd places, text at even ones: any two can be compared."""
    return tuple(int(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(text)))


@lru_cache(100_000)
def version_order(version: str) -> Order:
    from packaging.version import InvalidVersion, Version  # most projects don't need it, and it loads slowly

    try:
        return 1, Version(version)
    except InvalidVersion:
        return 0, natural(version)


def pep440(versions: Iterable[str]) -> list[str]:
    """Sorted by PEP 440, and what is equal there by its spelling; what is no version first."""
    found = sorted(versions)
    return _sorted(found, _order_of(found))


def _order_of(versions: Collection[str]) -> Callable[[str], object]:
    """What orders them all: the numbers, where they have nothing else."""
    return _numbers if all(map(_PLAIN, versions)) else version_order


@lru_cache(100_000)
def _numbers(version: str) -> tuple[int, ...]:
    """Of a version that is `_PLAIN`: PEP 440 orders such ones by them, less the zeros in the end."""
    numbers = [int(part) for part in version.split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _sorted(versions: Collection[str], order: Callable[[str], object]) -> list[str]:
    """By their order, in half the time that comparing pairs takes."""
    if order is not version_order:
        return sorted(versions, key=order)  # type: ignore[arg-type]
    ranks: tuple[list[str], list[str]] = [], []
    for version in versions:
        ranks[version_order(version)[0]].append(version)
    for rank in ranks:
        rank.sort(key=_within_rank)
    return ranks[0] + ranks[1]


def _within_rank(version: str) -> Any:
    return version_order(version)[1]


def _is_final(version: str) -> bool:
    if _PLAIN(version):
        return True
    rank, parsed = version_order(version)
    return not cast("Version", parsed).is_prerelease if rank else False


def _in_release(files: list[Release]) -> list[Release]:
    if len(files) == 1:
        return files
    wheels: list[Release] = []
    others: list[Release] = []
    for file in files:
        (wheels if file.entry.filename.endswith(".whl") else others).append(file)
    return _by_name(wheels) + _by_name(others)


def _by_name(files: list[Release]) -> list[Release]:
    if len(files) < 2:
        return files
    return sorted(files, key=lambda file: (natural(file.entry.filename), file.entry.filename))
