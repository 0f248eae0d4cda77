"""The metadata that an archive carries, read without unpacking and in bounded memory and time."""

from __future__ import annotations

import errno
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from caseus.checks.limits import Contents, plain, unreadable
from caseus.checks.tars import read_tar_sdist
from caseus.checks.zips import find_wheel_metadata, read_wheel, read_zip_sdist
from caseus.errors import Invalid
from caseus.names import check_filename, parse_filename

_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    ArithmeticError,  # with OverflowError
    LookupError,
    RuntimeError,  # with NotImplementedError and RecursionError, and what zipfile says of encryption
    ValueError,  # with UnicodeDecodeError
)
"""What the standard library raises of content that is not as it should be."""


def read_metadata(filename: str, reader: BinaryIO) -> bytes:
    """METADATA of a wheel or PKG-INFO of a source distribution, byte for byte.

    Invalid, with every fault that was found, if the archive is not whole, not safe to unpack or not what its name says;
    Unavailable if the reader fails.
    """
    contents = look_into(filename, reader)
    if contents.faults or contents.metadata is None:
        raise Invalid(contents.faults)
    return contents.metadata


def look_into(filename: str, reader: BinaryIO) -> Contents:
    """What the archive holds and what is wrong with it. Invalid for a filename that is none; Unavailable."""
    parsed = parse_filename(check_filename(filename))
    try:
        with _refusing_broken():
            if parsed.filetype == "bdist_wheel":
                return read_wheel(reader, parsed)
            if filename.endswith(".zip"):
                return read_zip_sdist(reader)
            return read_tar_sdist(reader)
    except Invalid as error:
        return Contents(metadata=None, faults=error.faults)


def read_wheel_metadata(reader: BinaryIO, filename: str) -> bytes:
    """METADATA of a wheel that somebody else published, byte for byte; for pip's own tolerance, not for uploads.

    Only the end of the file, its central directory and METADATA are read, so the reader may fetch ranges; what it
    raises of its own (CaseusError) goes through. Invalid if there is no METADATA or not one that is the wheel's.
    """
    with _refusing_broken():
        return find_wheel_metadata(reader, filename)


@contextmanager
def _refusing_broken() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise Invalid(_sentence(error)) from error
    except OSError as error:
        # A seek to where a lying header points is EINVAL; gzip's and zipfile's own OSErrors have no number.
        if error.errno not in (None, errno.EINVAL):
            raise unreadable(error) from error
        raise Invalid(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    return f"the archive is broken ({plain(str(error)) or type(error).__name__}): build the file again"
