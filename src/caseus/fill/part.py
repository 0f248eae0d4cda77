"""One file on its way: its part, the lock on it, the verdict on it, and what is known of it so far.

The verdict is in the mode of the part's inode, so that whoever has it open reads it in one fstat, also when its name is
gone: a part that its owner can write is open; one that can't be written is verified if the group can read it, else it
failed. The rest (size, ETag, the error in words) is a small JSON file beside it, replaced whole, with the number of the
inode in its name: what the next attempt tells doesn't hide what became of this one. One that carries a size goes before
its part does, so that an inode number that is used again never meets it.
"""

from __future__ import annotations

import enum
import fcntl
import hashlib
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from caseus.errors import Unavailable, UnavailableKind

_WORDS_KEPT = 60.0  # seconds
_OPEN, _VERIFIED, _FAILED = 0o600, 0o444, 0o400


class Verdict(enum.Enum):
    OPEN = "open"
    VERIFIED = "verified"
    FAILED = "failed"


class PartState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the filler tells. `size` in bytes, of the whole; `etag` of the bytes so far, if a strong one was sent."""

    size: int | None = None
    etag: str | None = None
    error: str | None = None
    kind: UnavailableKind = "upstream"


def verdict(fd: int) -> Verdict:
    mode = os.fstat(fd).st_mode
    if mode & stat.S_IWUSR:
        return Verdict.OPEN
    return Verdict.VERIFIED if mode & stat.S_IRGRP else Verdict.FAILED


def same_inode(a: int, b: int) -> bool:
    return os.path.samestat(os.fstat(a), os.fstat(b))


def clean(folder: Path) -> None:
    """Removes what dead fillers left in the folder; what is locked stays."""
    living = set()
    for path in folder.glob("*.part"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            living.add(path.stem)
        finally:
            os.close(fd)
    for path in folder.iterdir():
        if path.name.partition(".")[0] not in living:
            path.unlink(missing_ok=True)


class Part:
    """The part of one key in the folder; nothing is opened by making this."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.part"

    def take(self, *, create: bool = True) -> int | None:
        """The part, locked for filling, as a descriptor; None if another has the lock, or there is none to take."""
        while True:
            try:
                fd = self._open_to_fill(create)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            if self.is_current(fd):
                return fd
            os.close(fd)  # who had the lock took the name away between our open and our lock

    def follow(self) -> int | None:
        """The part for reading, None if there is none (any more)."""
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None

    def is_current(self, fd: int) -> bool:
        """Whether the descriptor's file still has the part's name."""
        try:
            return os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(fd))
        except FileNotFoundError:
            return False

    def state(self, fd: int) -> PartState | None:
        """What was told of this very file."""
        try:
            return msgspec.json.decode(self._state(fd).read_bytes(), type=PartState)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    # what only the holder of the lock may do; `lock` is its descriptor

    def tell(self, lock: int, *, size: int | None, etag: str | None) -> None:
        self._write(lock, PartState(size=size, etag=etag))

    def verified(self, lock: int) -> None:
        """Readers may have it all; new ones find it in the store."""
        os.fchmod(lock, _VERIFIED)
        self.remove(lock)

    def failed(self, lock: int, error: Unavailable) -> None:
        """Every reader gets the error. The words stay for a while when the part is gone: a reader may be late."""
        self._forget_old_words()
        try:
            self._write(lock, PartState(error=str(error), kind=error.kind))
        except OSError:  # on a full disk the verdict must do without words
            self._state(lock).unlink(missing_ok=True)
        os.fchmod(lock, _FAILED)
        if self.is_current(lock):
            bad = self.path.with_suffix(".bad")
            os.replace(self.path, bad)
            bad.unlink()

    def remove(self, lock: int) -> None:
        """Takes the names away. Without a verdict this gives the part up: readers that had nothing yet begin anew."""
        if self.is_current(lock):  # else somebody emptied the folder by hand, and the names are another filler's
            self._state(lock).unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _forget_old_words(self) -> None:
        now = time.time()
        with suppress(OSError):  # without descriptors no folder can be listed: the verdict comes all the same
            for path in list(self.path.parent.glob("*.json")):
                with suppress(FileNotFoundError):
                    part = path.with_name(f"{path.name.partition('.')[0]}.part")
                    if now - path.stat().st_mtime > _WORDS_KEPT and not part.exists():
                        path.unlink()

    def _open_to_fill(self, create: bool) -> int:
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        try:
            return os.open(self.path, os.O_RDWR | flags, _OPEN)
        except PermissionError:  # its filler died between the verdict and taking the name away
            return os.open(self.path, os.O_RDONLY | flags, _OPEN)

    def _state(self, fd: int) -> Path:
        return self.path.with_suffix(f".{os.fstat(fd).st_ino}.json")

    def _write(self, lock: int, state: PartState) -> None:
        temporary = self.path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        try:
            temporary.write_bytes(msgspec.json.encode(state))
            os.replace(temporary, self._state(lock))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
