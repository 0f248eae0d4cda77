"""Sizes and durations as people write them."""

from __future__ import annotations

import math
import re

FOREVER = "forever"

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]i?B?|B)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|h|d|w)?", re.ASCII | re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_size(text: str) -> int:
    """Bytes of `1GiB`, `500MB`, `1.5G` or a plain number; K is 1000, Ki is 1024. ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no size: write bytes, or a number with a unit, such as 500MB or 1GiB")
    number, unit = match[1], (match[2] or "b").lower()
    base = 1024 if "i" in unit else 1000
    factor = base ** _POWERS.get(unit[0], 0)
    return int(number) * factor if number.isdigit() else int(float(number) * factor)


def parse_duration(text: str) -> float:
    """Seconds of `600`, `10m`, `24h`, `90d` or `2w`. ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(
            f"{text!r} is no duration: write seconds, or a number with s, m, h, d or w, such as 10m or 90d"
        )
    return float(match[1]) * _SECONDS[(match[2] or "s").lower()]


def parse_lifetime(text: str) -> float:
    """As `parse_duration`, or infinity for `forever`. ValueError."""
    if text.strip().lower() == FOREVER:
        return math.inf
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}, or {FOREVER}") from None


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads as exactly this many bytes."""
    for unit, factor in (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration`, or `parse_lifetime`, reads as exactly this many seconds."""
    if math.isinf(seconds):
        return FOREVER
    for unit, factor in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % factor == 0:
            return f"{seconds / factor:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds}s"
