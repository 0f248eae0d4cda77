"""Passwords as other programs keep them: hashes of many formats, and files of `user:hash` lines.

What caseus makes itself is argon2id (`caseus.access`); all else is only verified.
"""

from caseus.passwords.files import Entry, Fault, PasswdFile, parse
from caseus.passwords.formats import check_hash, verify

__all__ = ["Entry", "Fault", "PasswdFile", "check_hash", "parse", "verify"]
