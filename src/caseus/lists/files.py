"""The list of projects of a large index: a file of shards, written again only where names came or went."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b

import msgspec

from caseus.catalog import Catalog
from caseus.catalog.locks import exclusive
from caseus.errors import Unavailable
from caseus.lists.bytes import Bytes
from caseus.lists.listing import Contents, Listing, Part, Shard, trailer
from caseus.lists.shards import Cut, Names, cut, follow
from caseus.render import ListForm
from caseus.storage.folders import Folders, told
from caseus.storage.temporary import Temporary

FOLDER = ".lists"
_FORMAT = 1
_MOST_FLIPS = 2000
"""Names that came or went: of more, all shards are made anew."""
_SLACK = 16 << 20
"""Bytes that nobody reads any more and that may lie in the file, beyond as many as are read."""
_PATIENCE = 120.0
"""Seconds to wait for another process: the first time may take some."""
_ATTEMPTS = 5

_decoder = msgspec.msgpack.Decoder(Contents)


class Opened:
    """A list, and the file with its bytes, open until it is closed."""

    def __init__(self, listing: Listing, fd: int) -> None:
        self.listing = listing
        self._fd = fd

    def read(self, piece: bytes | Part) -> bytes:
        """The bytes of a piece of the page. Unavailable."""
        if isinstance(piece, bytes):
            return piece
        with told("read the list of projects"):
            data = os.pread(self._fd, piece.length, piece.start)
        if len(data) != piece.length:
            raise Unavailable("the list of projects is shorter than it was: try again", kind="local", retry_after=1)
        return data

    def close(self) -> None:
        os.close(self._fd)


class ListFile:
    """One form of the list of one index, in ROOT/.lists; any number of processes and threads share it.

    `names`: those of the index that sort behind one. `made_by`: what they depend on besides the catalog's facts; where
    that is another than before, all is made anew.
    """

    def __init__(self, catalog: Catalog, name: str, form: ListForm, names: Names, *, made_by: str) -> None:
        self._catalog, self._form, self._names = catalog, form, names
        self._name = name
        self._folder = catalog.root / FOLDER
        told_by = (_FORMAT, form.head, form.between, form.tail, made_by, catalog.identity())
        self._key = blake2b(repr(told_by).encode(), digest_size=16).hexdigest()
        self._known: Listing | None = None
        kept = self._load()
        if kept is not None and kept.serial > catalog.serial():  # the catalog was put back to what it was before
            (self._folder / name).unlink(missing_ok=True)

    def open(self) -> Opened:
        """The list with every name that came, and without every one that went, up to now. Blocks. Unavailable."""
        for _ in range(_ATTEMPTS):
            listing = self._current()
            with told("read the list of projects", absence=True), suppress(FileNotFoundError):
                return Opened(listing, os.open(self._folder / listing.contents.file, os.O_RDONLY | os.O_CLOEXEC))
            self._known = None  # another process has it in a new file, or somebody deleted the folder
        raise Unavailable("the list of projects goes away as it is written: try again", kind="local", retry_after=1)

    def _current(self) -> Listing:
        known = self._known
        if known is None or known.contents.serial < self._catalog.names_serial():
            with told("keep the list of projects"):
                self._folder.mkdir(mode=0o700, exist_ok=True)
                with exclusive(self._folder / "lock", timeout=_PATIENCE):
                    self._known = known = Listing(self._form, self._follow())
        return known

    def _follow(self) -> Contents:
        """Under the lock."""
        serial = self._catalog.serial()  # first: what changes meanwhile is only looked at again
        kept = self._load()
        if kept is None or kept.serial > serial:
            return self._make(serial)
        flips = self._catalog.names_since(kept.serial, _MOST_FLIPS)
        if not flips:
            return msgspec.structs.replace(kept, serial=serial)
        return self._make(serial) if len(flips) == _MOST_FLIPS else self._mend(kept, serial, flips)

    def _load(self) -> Contents | None:
        """What is kept, if it was made by what makes it now and its bytes are there."""
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            kept = _decoder.decode((self._folder / self._name).read_bytes())
            if kept.key == self._key and (self._folder / kept.file).exists():
                return kept
        return None

    def _make(self, serial: int) -> Contents:
        with Bytes.new(self._folder, self._name) as file:
            shards = [file.add(self._form, found) for found in cut(self._names(""))]
            return self._save(serial, file, shards)

    def _mend(self, kept: Contents, serial: int, flips: Iterable[str]) -> Contents:
        before = {shard.last: shard for shard in kept.shards}
        with Bytes.open(self._folder, kept.file) as file:

            def make(found: Cut) -> Shard:
                return file.add(self._form, found, before.get(found.names[-1]))

            shards = follow(kept.shards, flips, self._names, make)
            used = sum(shard.plain.length + shard.deflated.length for shard in shards)
            if file.size <= 2 * used + _SLACK:
                return self._save(serial, file, shards)
            with Bytes.new(self._folder, self._name) as smaller:
                return self._save(serial, smaller, [smaller.copy(shard, file) for shard in shards])

    def _save(self, serial: int, file: Bytes, shards: list[Shard]) -> Contents:
        """The bytes first; then what is said of them takes the place of what was said before."""
        file.sync()
        contents = Contents(
            key=self._key, serial=serial, file=file.name, shards=tuple(shards), trailer=trailer(self._form, shards)
        )
        with Temporary(Folders(self._catalog.root)) as temporary:
            temporary.write(msgspec.msgpack.encode(contents))
            temporary.sync()
            temporary.rename(self._folder / self._name)
        for path in self._folder.glob(f"{self._name}.*"):
            if path.name != file.name:
                path.unlink(missing_ok=True)  # who reads it goes on
        return contents
