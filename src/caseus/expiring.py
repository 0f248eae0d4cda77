"""A small memory whose entries end by themselves."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Entry(NamedTuple, Generic[V]):
    """`until` in seconds of the clock that its user goes by."""

    value: V
    until: float


class Expiring(Generic[K, V]):
    """At most `size` entries, the oldest dropped first. Thread-safe.

    `longest`: seconds for which any entry is kept; one that says later was written before the clock was set back.
    """

    def __init__(self, size: int, longest: float) -> None:
        self._size, self._longest = size, longest
        self._entries: OrderedDict[K, Entry[V]] = OrderedDict()
        self._guard = threading.Lock()

    def put(self, key: K, value: V, *, until: float) -> None:
        with self._guard:
            self._entries.pop(key, None)
            self._entries[key] = Entry(value, until)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def get(self, key: K, now: float) -> Entry[V] | None:
        """The entry if its time has not come."""
        entry = self._entries.get(key)
        return entry if entry is not None and now < entry.until <= now + self._longest else None

    def drop(self, key: K) -> None:
        with self._guard:
            self._entries.pop(key, None)

    def __contains__(self, key: K) -> bool:
        """Whether there is an entry, also one whose time has come."""
        return key in self._entries
