"""Hashes of passwords that can be verified: argon2, bcrypt, GoCheese's `$sha256$`, and those of htpasswd files.

One entry of `_FORMATS` each. The costs that a hash asks for are bounded, because anybody may make us pay them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from caseus.errors import Invalid

LONGEST = 1024
"""Characters of a password: sha-crypt's time grows with them."""

_ARGON2 = re.compile(r"\$argon2(?:id|i|d)(?:\$v=\d{1,2})?\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,3})\$([^$]+)\$([^$]+)\Z")
_MOST_MEMORY = 1 << 20  # KiB: a GiB
_MOST_ARGON2 = 1 << 22  # KiB times passes: some seconds
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}\Z")
_MOST_BCRYPT = 15  # a power of two: 2 s
_BCRYPT_BYTES = 72  # what bcrypt takes of a password; the programs that made these hashes cut it there silently
_MOST_ROUNDS = 1_000_000  # of sha-crypt: a second
_SHA256 = re.compile(r"\$sha256\$([0-9A-Fa-f]{64})\Z")
_TOO_COSTLY = "its cost is set too high: make it anew by `caseus passwd-hash`"


class _Format(NamedTuple):
    """`fault`: what is wrong with the hash, if anything. `verify` is asked of sound hashes only."""

    name: str
    begins: re.Pattern[str]
    fault: Callable[[str], str | None]
    verify: Callable[[str, bytes], bool]


def check_hash(text: str) -> None:
    """Invalid if no password can be verified by it. The message never tells the hash."""
    found = _format_of(text)
    if found is None:
        raise Invalid("that is no password hash that can be verified here: make one by `caseus passwd-hash`")
    fault = found.fault(text)
    if fault is not None:
        raise Invalid(f"the {found.name} hash can't be used: {fault}")


def verify(hash: str, password: str) -> bool:
    """Whether the password is the one that was hashed; False for a hash that can't be verified. Takes a while."""
    found = _format_of(hash)
    if found is None or len(password) > LONGEST or found.fault(hash) is not None:
        return False
    try:
        return found.verify(hash, password.encode())
    except UnicodeEncodeError:
        return False


def _format_of(text: str) -> _Format | None:
    return next((each for each in _FORMATS if each.begins.match(text)), None)


def _argon2_fault(text: str) -> str | None:
    match = _ARGON2.match(text)
    if match is None:
        return "it has not the form of one"
    memory, passes, lanes = (int(match[at]) for at in (1, 2, 3))
    salt, digest = _unpadded(match[4]), _unpadded(match[5])
    if len(salt) < 8 or len(digest) < 4 or not lanes or not passes or memory < 8 * lanes:
        return "its parts are damaged or cut off"
    return _TOO_COSTLY if memory > _MOST_MEMORY or memory * passes > _MOST_ARGON2 else None


def _unpadded(text: str) -> bytes:
    """What the argon2 reference takes for Base64: without padding, and with no bit too many; b"" for anything else."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode().rstrip("=") == text else b""


def _argon2(text: str, password: bytes) -> bool:
    try:
        return PasswordHasher().verify(text, password)
    except Argon2Error:
        return False


def _bcrypt_fault(text: str) -> str | None:
    match = _BCRYPT.match(text)
    if match is None or not 4 <= int(match[1]) <= 31:
        return "it is damaged or cut off"
    return _TOO_COSTLY if int(match[1]) > _MOST_BCRYPT else None


def _bcrypt(text: str, password: bytes) -> bool:
    return bcrypt.checkpw(password[:_BCRYPT_BYTES], text.encode())


def _sha256_fault(text: str) -> str | None:
    return None if _SHA256.match(text) else "it has not 64 hexadecimal digits"


def _sha256(text: str, password: bytes) -> bool:
    return hmac.compare_digest(text.removeprefix("$sha256$").lower(), hashlib.sha256(password).hexdigest())


def _by_passlib(name: str, begins: str, handler: str) -> _Format:
    """A format that libpass knows under the name `handler`. It is imported when it is needed: it takes a while."""

    def find() -> Any:
        from passlib import hash as handlers  # type: ignore[import-untyped]

        return getattr(handlers, handler)

    def fault(text: str) -> str | None:
        try:
            parsed = find().from_string(text)
        except ValueError:
            parsed = None
        if parsed is None or parsed.checksum is None:
            return "it is damaged or cut off"
        return _TOO_COSTLY if getattr(parsed, "rounds", 0) > _MOST_ROUNDS else None

    def check(text: str, password: bytes) -> bool:
        try:
            return bool(find().verify(password, text))
        except ValueError:  # of passwords with NUL
            return False

    return _Format(name, re.compile(begins), fault, check)


_FORMATS = (
    _Format("argon2", re.compile(r"\$argon2"), _argon2_fault, _argon2),
    _Format("bcrypt", re.compile(r"\$2[abxy]?\$"), _bcrypt_fault, _bcrypt),
    _Format("$sha256$", re.compile(r"\$sha256\$"), _sha256_fault, _sha256),
    _by_passlib("{SHA}", r"\{SHA\}[A-Za-z0-9+/]{27}=\Z", "ldap_sha1"),
    _by_passlib("{SSHA}", r"\{SSHA\}[A-Za-z0-9+/]{32,56}={0,2}\Z", "ldap_salted_sha1"),
    _by_passlib("apr1", r"\$apr1\$", "apr_md5_crypt"),
    _by_passlib("MD5-crypt", r"\$1\$", "md5_crypt"),
    _by_passlib("SHA-256-crypt", r"\$5\$", "sha256_crypt"),
    _by_passlib("SHA-512-crypt", r"\$6\$", "sha512_crypt"),
    _by_passlib("DES-crypt", r"[./0-9A-Za-z]{13}\Z", "des_crypt"),
)
