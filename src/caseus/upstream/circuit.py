"""When an origin is left alone: after failures in a row, and when it says so itself.

Open, it is asked once every ten seconds by whoever comes first then; the others are refused at once, so that an origin
that comes back meets one request and not all that waited.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from typing import ClassVar

from caseus.errors import Unavailable

LONGEST_WAIT = 600.0
"""Seconds for which an upstream's own word (Retry-After) is heeded at most."""


class Unreachable(Unavailable):
    """The upstream as a whole doesn't answer; what else is Unavailable may be one page's fault."""


class LeftAlone(Unreachable):
    """Nobody was asked; `retry_after` tells when somebody may be."""


class Circuit:
    """Of one origin, in one process. Thread-safe. `clock`: Unix seconds."""

    opens_after: ClassVar[int] = 5
    """Failures in a row."""
    probe_every: ClassVar[float] = 10.0
    """Seconds."""

    def __init__(self, origin: str, clock: Callable[[], float]) -> None:
        self._origin, self._clock = origin, clock
        self._guard = threading.Lock()
        self._failures: set[Hashable] = set()
        self._last: Unavailable | None = None
        self._probe_at: float | None = None  # None: closed
        self._quiet_until = 0.0

    def enter(self) -> None:
        """Call it before each request: LeftAlone if there must be none now."""
        with self._guard:
            if self._probe_at is None:
                return
            now = self._clock()
            left = max(self._probe_at, self._quiet_until) - now
            if 0 < left <= LONGEST_WAIT:  # more than that was reckoned before the clock was set back
                raise self._refusal(left)
            self._probe_at = now + self.probe_every  # this request is the probe

    def answered(self) -> None:
        """It gave a whole answer, or when it was left alone at least the head of one."""
        with self._guard:
            if self._clock() >= self._quiet_until:
                self._probe_at = None
            self._failures.clear()

    @property
    def is_open(self) -> bool:
        return self._probe_at is not None

    def failed(self, error: Unavailable, what: Hashable | None = None) -> None:
        """A failure; those that are the same `what`'s count once, for one page may be broken for good."""
        with self._guard:
            self._last = error
            self._failures.add(object() if what is None else what)
            if self._probe_at is not None or len(self._failures) >= self.opens_after:
                self._open(self.probe_every)

    def told_to_wait(self, seconds: float | None, error: Unavailable) -> None:
        """It is asked for too much (429), or says how long it will fail (503 with Retry-After)."""
        with self._guard:
            self._last = error
            wait = min(self.probe_every if seconds is None else seconds, LONGEST_WAIT)
            self._quiet_until = self._clock() + wait
            self._open(wait)

    def _open(self, seconds: float) -> None:
        self._probe_at = self._clock() + seconds

    def _refusal(self, left: float) -> LeftAlone:
        assert self._last is not None
        return LeftAlone(
            f"{self._last}; {self._origin} is left alone for {math.ceil(left)} more seconds",
            kind=self._last.kind,
            retry_after=left,
        )
