"""ROOT/serial: four 64-bit numbers, little-endian, mapped by every process that reads.

The first is the catalog's serial (checked at every request: 0.1 us, where `PRAGMA data_version` costs 4), stored
after COMMIT and before any answer. The second is the serial up to which the lists beside the files are durable, the
fourth that up to which they are written: no power cut may come between, but a kill may. The third moves with users and
tokens, and is stored as the first is.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

_NUMBER = struct.Struct("<Q")
_SIZE = 4 * _NUMBER.size


class SerialFile:
    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size != _SIZE:
                os.ftruncate(fd, _SIZE)
            # A hole would get its block at the first store, and where the disk is full then, that is SIGBUS.
            os.posix_fallocate(fd, 0, _SIZE)
            self._map = mmap.mmap(fd, _SIZE)
            if size < _SIZE:
                self.written = self.listed
        finally:
            os.close(fd)

    @property
    def serial(self) -> int:
        number: int = _NUMBER.unpack_from(self._map, 0)[0]
        return number

    @serial.setter
    def serial(self, value: int) -> None:
        _NUMBER.pack_into(self._map, 0, value)

    @property
    def listed(self) -> int:
        number: int = _NUMBER.unpack_from(self._map, _NUMBER.size)[0]
        return number

    @listed.setter
    def listed(self, value: int) -> None:
        _NUMBER.pack_into(self._map, _NUMBER.size, value)

    @property
    def users(self) -> int:
        number: int = _NUMBER.unpack_from(self._map, 2 * _NUMBER.size)[0]
        return number

    @users.setter
    def users(self, value: int) -> None:
        _NUMBER.pack_into(self._map, 2 * _NUMBER.size, value)

    @property
    def written(self) -> int:
        number: int = _NUMBER.unpack_from(self._map, 3 * _NUMBER.size)[0]
        return number

    @written.setter
    def written(self, value: int) -> None:
        _NUMBER.pack_into(self._map, 3 * _NUMBER.size, value)

    def close(self) -> None:
        self._map.close()
