"""Guessing passwords is slow: failed logins are counted, by account and address and by address alone.

One account from one address: five tries are free; after each further failure the next try has to wait, twice as long
each time, up to five minutes. One address over all accounts: thirty failures, of which one a minute is forgiven; who
logged in from there with success lately is not held up by that, so that a neighbour's guessing locks nobody out.
While it waits no password is looked at, not even the right one. Tokens can't be guessed and are never counted.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar

from caseus.errors import TooManyTries

FREE = 5
LONGEST = 300.0
FORGOTTEN = 3600.0
"""Seconds after the last failure, after which the count of an account and address begins anew."""
FREE_OF_ADDRESS = 30
FORGIVEN = 60.0
"""Seconds after which one failure of an address is forgiven."""
TRUSTED = 86_400.0
"""Seconds for which an account that logged in from an address is not held up by others there."""
MOST = 10_000
"""Of accounts and addresses that are remembered; then the one that was heard of least recently goes."""
_LONGEST_NAME = 64

Account = tuple[str, str]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class _Tries:
    failures: int = 0
    last: float = -FORGOTTEN
    trusted_until: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next try."""
        if self.failures < FREE or now - self.last >= FORGOTTEN:
            return 0.0
        delay = min(LONGEST, 2.0 ** min(self.failures - FREE, 30))
        return self.last + delay - now


@dataclass(slots=True)
class _Spent:
    """A bucket that runs out at a steady pace."""

    level: float = 0.0
    at: float = 0.0

    def now(self, now: float) -> float:
        return max(0.0, self.level - (now - self.at) / FORGIVEN)


class LoginLimits:
    """Thread-safe; `clock` must never go back. Accounts are what clients call them, whether or not they exist."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: OrderedDict[Account, _Tries] = OrderedDict()
        self._spent: OrderedDict[str, _Spent] = OrderedDict()

    def check(self, account: str, client: str) -> None:
        """TooManyTries if this account must wait before it may try a password from this address."""
        key = _key(account, client)
        with self._lock:
            now = self._clock()
            tries = self._tries.get(key) or _Tries()
            wait = tries.wait(now)
            spent = self._spent.get(key[1])
            if spent is not None and now >= tries.trusted_until:
                wait = max(wait, (spent.now(now) - FREE_OF_ADDRESS + 1) * FORGIVEN)
        if wait > 0:
            raise TooManyTries("too many failed logins: wait before the next one, or use a token", retry_after=wait)

    def failed(self, account: str, client: str) -> None:
        """A password was wrong, or the account does not exist."""
        key = _key(account, client)
        with self._lock:
            now = self._clock()
            tries = _entry(self._tries, key, _Tries)
            tries.failures = 1 if now - tries.last >= FORGOTTEN else tries.failures + 1
            tries.last = now
            spent = _entry(self._spent, key[1], _Spent)
            spent.level, spent.at = spent.now(now) + 1, now

    def succeeded(self, account: str, client: str) -> None:
        """The password was right."""
        with self._lock:
            tries = _entry(self._tries, _key(account, client), _Tries)
            tries.failures, tries.trusted_until = 0, self._clock() + TRUSTED


def network_of(client: str) -> str:
    """The address, of IPv6 its /64, which is what one subscriber has; what is no address is one network, "" too."""
    try:
        address = ip_address(client)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((int(address), 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


def _key(account: str, client: str) -> Account:
    """Names that are too long for a user are one account."""
    return account if len(account) <= _LONGEST_NAME else "", network_of(client)


def _entry(entries: OrderedDict[K, V], key: K, make: Callable[[], V]) -> V:
    """The entry, as the one that was heard of last."""
    found = entries.setdefault(key, make())
    entries.move_to_end(key)
    if len(entries) > MOST:
        entries.popitem(last=False)
    return found
