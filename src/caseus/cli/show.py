"""How commands show and read sizes, ages and damages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from caseus.cli.common import UsageError, print_table
from caseus.units import parse_duration

if TYPE_CHECKING:
    from caseus.verify import Damage


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def print_damages(damages: Iterable[Damage]) -> None:
    print_table(("damage", "file", "detail"), [(each.kind, each.key, each.detail) for each in damages])


def damages_as_json(damages: Iterable[Damage]) -> list[dict[str, str]]:
    return [{"kind": each.kind, "key": each.key, "detail": each.detail} for each in damages]


def counted(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def show_size(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)


def show_age(seconds: float) -> str:
    """In the largest unit of which it has two."""
    for unit, factor in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def parse_age(text: str) -> float:
    """Seconds of what a flag `--older-than` says."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--older-than: {error}") from None
