"""Whether what was made of the catalog's facts is still right, told at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from caseus.errors import Unavailable
from caseus.model import Validity

SKEW: Final = 60.0
"""Seconds by which a clock may be behind the one that wrote; more, and it was set back: `until` may be far."""
_MOST_AT_ONCE: Final = 1000
_MOST_KEPT: Final = 20_000


class Serials(Protocol):
    """What is asked of the catalog."""

    def serial(self) -> int: ...
    def changed_since(self, serial: int, most: int) -> list[tuple[str, str, int]]: ...
    def names_serial(self) -> int: ...
    def is_current(self, validity: Validity, now: float) -> bool: ...


@dataclass(slots=True, kw_only=True)
class Made:
    """Something that was made of facts. `serial`: the catalog's when it was last known to be right, which was read
    before the facts; `of_all`: it ends where the list of projects changes; `until`: Unix seconds, where it ends sooner
    than its validity."""

    validity: Validity
    serial: int
    of_all: bool = False
    until: float = math.inf
    since: float = field(init=False)

    def __post_init__(self) -> None:
        if self.validity.until is not None:
            self.until = min(self.until, self.validity.until)
        self.since = -math.inf if self.validity.fetched is None else self.validity.fetched - SKEW


class Judge:
    """Asks the catalog once a change, not once for everything that was made. Belongs to one loop."""

    def __init__(self, catalog: Serials, clock: Callable[[], float]) -> None:
        self._catalog, self._clock = catalog, clock
        # `_last`: of each project that changed after `_base`, and up to `_seen`, the serial of its last change.
        self._base = self._seen = catalog.serial()
        self._last: dict[tuple[str, str], int] = {}

    def is_right(self, made: Made) -> bool | None:
        """None where that takes a question to the catalog, which may block."""
        if not made.since <= self._clock() < made.until:
            return False
        serial = self._catalog.serial()
        if made.serial == serial:
            return True
        if made.of_all:
            return None
        if (serial != self._seen and not self._look(serial)) or made.serial < self._base:
            return None
        for tree, name, own in made.validity.serials:
            if self._last.get((tree, name), own) != own:
                return False
        made.serial = serial
        return True

    def _look(self, serial: int) -> bool:
        """Whether it is known what changed up to that serial. One query by an index, some 30 us: a thread takes more,
        and while it runs everybody who asks would have to wait for it."""
        if serial < self._seen:
            return False
        try:
            changed = self._catalog.changed_since(self._seen, _MOST_AT_ONCE)
        except Unavailable:
            return False
        if len(changed) == _MOST_AT_ONCE or len(self._last) > _MOST_KEPT:
            self._last.clear()
            self._base = serial
        else:
            self._last.update(((tree, name), last) for tree, name, last in changed)
        self._seen = serial
        return True
