"""Who asks: credentials become a principal in one function, in a fixed order.

A token (in either half of Basic, or as Bearer), then a user and password: the catalog's, then the password file's.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError

from caseus.catalog import Catalog, Token
from caseus.errors import Busy, Denied, Invalid
from caseus.logins import LoginLimits
from caseus.passwords import Entry, verify
from caseus.tokens import check_token, digest

Right = Literal["read", "upload", "admin"]
RIGHTS: dict[str, frozenset[Right]] = {
    "read": frozenset({"read"}),
    "upload": frozenset({"read", "upload"}),
    "admin": frozenset({"read", "upload", "admin"}),
}
"""What each scope of a token may do at most; its user's rights bound it too."""

_REMEMBERED = 300.0  # seconds for which verified credentials need no new verification
_MOST_REMEMBERED = 10_000
AT_ONCE = 2  # password hashes at once: each takes a core and 64 MiB
_QUEUE = 20.0  # seconds that a login waits for its turn

_WRONG = "wrong user name, password or token: check the credentials, or ask an administrator of this index"


class Principal(msgspec.Struct, frozen=True):
    """Who asks, what it may do, and which index `/simple/` means for it. `name` is None for the anonymous."""

    name: str | None
    rights: frozenset[Right]
    home: str = "main"

    def require(self, right: Right) -> None:
        """Denied without the right; the message tells what to do."""
        if right in self.rights:
            return
        if self.name is None:
            raise Denied(
                f"a login is needed to {_VERBS[right]}: give a user name and password, or a token", anonymous=True
            )
        raise Denied(f"{self.name} may not {_VERBS[right]} with these credentials: use others that may")


_VERBS: dict[Right, str] = {"read": "read here", "upload": "upload", "admin": "administer"}


class _Verified(NamedTuple):
    principal: Principal
    serial: int
    until: float
    token: int | None


class Passwords:
    """argon2id (RFC 9106's second recommendation: 64 MiB, 3 passes), few at once; imported hashes of other formats."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._dummy: str | None = None

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def verify(self, hashed: str | None, password: str) -> bool:
        """Whether the password fits; takes as long for nobody (None) as for a user.

        With a hash of another program it takes longer by what that costs: cheap ones tell nothing, bcrypt does.
        """
        if self._dummy is None:  # for whoever comes first: made for nobody only, it would tell nobody from a user
            self._dummy = self.hash(secrets.token_hex(16))
        if hashed is None or not self._is_ours(hashed):
            verify(self._dummy, password)
        return hashed is not None and verify(hashed, password)

    def _is_ours(self, hashed: str) -> bool:
        try:
            return not self._hasher.check_needs_rehash(hashed)
        except InvalidHashError:
            return False

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """To be held for `verify`. Busy if too many wait."""
        if not self._turns.acquire(timeout=_QUEUE):
            raise Busy("too many logins at once: try again", retry_after=5)
        try:
            yield
        finally:
            self._turns.release()


class Access:
    """Knows principals by their `Authorization` header. Thread-safe.

    `listed`: users of the password file; the catalog's go first. `before`: what this one takes the place of, with its
    counts of failed logins.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        open_reading: bool,
        clock: Callable[[], float] = time.time,
        logins: LoginLimits | None = None,
        listed: Mapping[str, Entry] = MappingProxyType({}),
        before: Access | None = None,
    ) -> None:
        self.open_reading = open_reading
        self.listed = listed
        self._logins: LoginLimits = logins or (before._logins if before else LoginLimits())
        self.passwords: Passwords = before.passwords if before else Passwords()
        self._catalog, self._clock = catalog, clock
        self._anonymous = Principal(None, frozenset({"read"}) if open_reading else frozenset())
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, _Verified] = {}

    def recall(self, authorization: str | None) -> Principal | None:
        """The principal, if that takes no time: the anonymous one, or one that was verified lately. Never blocks."""
        if authorization is None:
            return self._anonymous
        return self.recall_by(self.fingerprint(authorization))

    def recall_by(self, fingerprint: bytes) -> Principal | None:
        """As `recall`, by what `fingerprint` gave for the header."""
        verified = self._remembered.get(fingerprint)
        if verified is None or self._clock() >= verified.until or verified.serial != self._catalog.users_serial():
            return None
        if verified.token is not None:
            self._catalog.token_used(verified.token)
        return verified.principal

    def principal(self, authorization: str | None, client: str = "") -> Principal:
        """The principal; blocks while a password is hashed. Denied for wrong, expired or malformed credentials.

        `client`: the address that asks. TooManyTries where too many passwords from there were wrong.
        """
        known = self.recall(authorization)
        if known is not None or authorization is None:
            return known or self._anonymous
        serial = self._catalog.users_serial()  # first: a change meanwhile makes what follows forgotten
        principal, token = self._verify(authorization, client)
        until = self._clock() + _REMEMBERED
        if token is not None and token.expires is not None:
            until = min(until, token.expires)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        remembered = _Verified(principal, serial, until, token.id if token else None)
        self._remembered[self.fingerprint(authorization)] = remembered
        return principal

    def _verify(self, authorization: str, client: str) -> tuple[Principal, Token | None]:
        scheme, _, value = authorization.strip().partition(" ")
        if scheme.lower() == "bearer":
            halves, user, password = [value.strip()], None, ""
        elif scheme.lower() == "basic":
            user, password = _basic(value)
            halves = [password, user]
        else:
            raise Denied("unknown way to log in: use Basic or Bearer", anonymous=True)
        for half in filter(_is_token, halves):
            token = self._token(half)
            return self._of_user(token.user, token.scope), token
        if user is not None and password:  # uv sends a user without one, for each file, before it asks its keyring
            self._logins.check(user, client)
            with self.passwords.turn():
                return self.recall(authorization) or self._by_password(user, password, client), None
        raise Denied(_WRONG, anonymous=True)

    def _by_password(self, user: str, password: str, client: str) -> Principal:
        self._logins.check(user, client)  # others may have failed there while this one waited for its turn
        known, listed = self._catalog.user(user), self.listed.get(user)
        hashed = known.password_hash if known else listed.hash if listed else None
        if not self.passwords.verify(hashed, password):
            self._logins.failed(user, client)
            raise Denied(_WRONG, anonymous=True)
        self._logins.succeeded(user, client)
        if known is None and listed is not None:
            return Principal(user, RIGHTS["read" if listed.read_only else "upload"])
        return self._of_user(user, "admin")

    def _token(self, text: str) -> Token:
        token = self._catalog.token(digest(text))
        if token is None:
            raise Denied(_WRONG, anonymous=True)
        if token.expires is not None and self._clock() >= token.expires:
            raise Denied("this token has expired: make a new one by `caseus token create`", anonymous=True)
        self._catalog.token_used(token.id)
        return token

    def _of_user(self, name: str, scope: str) -> Principal:
        user = self._catalog.user(name)
        if user is None:
            raise Denied(_WRONG, anonymous=True)
        most = "admin" if user.admin else "read" if user.read_only else "upload"
        return Principal(name, RIGHTS[most] & RIGHTS[scope])

    def fingerprint(self, authorization: str) -> bytes:
        """What stands for the header in memory: a keyed hash, of no use outside of this process."""
        return hashlib.blake2b(authorization.encode("utf-8", "surrogateescape"), key=self._key, digest_size=16).digest()


def _is_token(text: str) -> bool:
    try:
        check_token(text)
    except Invalid:
        return False
    return True


def _basic(value: str) -> tuple[str, str]:
    """User and password (RFC 7617; UTF-8)."""
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Denied("malformed Basic credentials", anonymous=True) from None
    user, separator, password = text.partition(":")
    if not separator:
        raise Denied("malformed Basic credentials: no colon between user and password", anonymous=True)
    return user, password
