"""Moments as dumb-pypi's pages tell them."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = date(1970, 1, 1)
_DIGITS: Final = [f"{number:02}" for number in range(60)]  # twice as fast as formatting


def moment(seconds: float) -> str:
    """`2018-06-09 23:26:45`, in UTC."""
    whole = int(seconds)
    rest = whole % 86_400
    minutes = rest // 60
    return f"{_date(whole // 86_400)} {_DIGITS[minutes // 60]}:{_DIGITS[minutes % 60]}:{_DIGITS[rest % 60]}"


@lru_cache(20_000)
def _date(days: int) -> str:
    return str(_EPOCH + timedelta(days))
