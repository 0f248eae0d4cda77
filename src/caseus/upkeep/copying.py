"""Files from one folder's store to another's, checked by their digests on the way."""

from __future__ import annotations

import hashlib
import os

from caseus.errors import CaseusError, NotFound
from caseus.storage.filesystem import FilesystemStorage
from caseus.verify import Damage


def copy(source: FilesystemStorage, target: FilesystemStorage, key: str, sha256: str | None) -> Damage | None:
    """Give the target the source's bytes, instead of what it has; not if they are not those of the digest.

    A target that is right already stays as it is. Unavailable if the target can't be written.
    """
    staged = target.stage()
    try:
        try:
            with source.open(key) as blob:
                while data := blob.read():
                    staged.write(data)
                staged.stamp(os.fstat(blob.fileno()).st_mtime)
        except NotFound:
            return Damage("missing", key, "it is not there to be copied")
        actual = staged.digests["sha256"]
        if sha256 is not None and actual != sha256:
            return Damage("wrong digest", key, f"not copied: sha256 {actual} instead of {sha256}")
        if not staged.holds(key):
            target.delete(key)
            staged.commit(key)
        return None
    finally:
        staged.close()


def digest_of(store: FilesystemStorage, key: str) -> str | None:
    """sha256 of what is stored, None if nothing is or it can't be read."""
    try:
        with store.open(key) as blob:
            digest = hashlib.sha256()
            while data := blob.read():
                digest.update(data)
            return digest.hexdigest()
    except CaseusError:
        return None


def size_of(store: FilesystemStorage, key: str) -> int | None:
    """Bytes of what is stored, None if nothing is or it can't be opened."""
    try:
        with store.open(key) as blob:
            return blob.size
    except CaseusError:
        return None
