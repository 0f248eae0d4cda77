"""The errors that the core raises.

Each carries data; one table in `caseus.web.errors` maps them to HTTP answers, and the command line prints
`str(error)` as its one line. A message says what was wrong, with what, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from caseus.model import Validity

UnavailableKind = Literal["upstream", "timeout", "local", "full"]


class CaseusError(Exception):
    """Any error that is an answer and not a fault of caseus itself."""


class NotFound(CaseusError):
    """Nobody here knows the name; `validity` says how long that holds, where it was asked of an index."""

    def __init__(self, message: str, validity: Validity | None = None) -> None:
        self.validity = validity
        super().__init__(message)


class Conflict(CaseusError):
    """The name is taken by other bytes, or was used once and deleted."""


class Invalid(CaseusError):
    """Input that breaks rules; `faults` holds every fault that was found, worst first."""

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        more = len(self.faults) - 1
        super().__init__(self.faults[0] + (f" (+{more} more)" if more else ""))


class Denied(CaseusError):
    """The principal may not do this; `anonymous` means that a login would be asked for (401, else 403)."""

    def __init__(self, message: str, *, anonymous: bool = False) -> None:
        self.anonymous = anonymous
        super().__init__(message)


class Unavailable(CaseusError):
    """The answer exists but can't be had now.

    `kind`: "upstream" (it failed, 502), "timeout" (it was too slow, 504), "local" (our own side is unsure, 503),
    "full" (no space left, 507). `retry_after`: seconds, or None.
    """

    def __init__(self, message: str, *, kind: UnavailableKind, retry_after: float | None = None) -> None:
        self.kind: UnavailableKind = kind
        self.retry_after = retry_after
        super().__init__(message)


class TooLarge(CaseusError):
    """More bytes than the limit; `limit` in bytes."""

    def __init__(self, message: str, *, limit: int) -> None:
        self.limit = limit
        super().__init__(message)


class Busy(CaseusError):
    """Somebody else holds it; `retry_after` in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class TooManyTries(Busy):
    """This client failed too often: it has to wait for `retry_after` seconds, others don't."""


class BadRange(CaseusError):
    """The requested range begins behind the end (RFC 9110 section 15.5.17); `size` of the whole in bytes, if known."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        super().__init__("the requested range lies outside the file")
