"""What is wrong with an upload: pure functions over its form, its filename and its bytes.

To add a rule, write a function in `rules` and put it into `rules.RULES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

import msgspec
from packaging.utils import NormalizedName

from caseus.checks.form import Form
from caseus.checks.rules import Upload, find_faults
from caseus.errors import Invalid
from caseus.names import Filetype

__all__ = ["Checked", "Form", "check_upload"]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that broke no rule; the file is where each fact comes from."""

    project: NormalizedName
    version: str
    """In PEP 440's normal form."""
    filetype: Filetype
    requires_python: str | None
    metadata: bytes | None
    """METADATA or PKG-INFO, byte for byte; None only of a file of another index that has none to read."""


def check_upload(
    form: Form, filename: str, reader: BinaryIO, digests: Mapping[str, str], *, signature: bytes | None
) -> Checked:
    """Judges a file with the form it came with.

    `digests` are the file's own, as `Staged.digests` tells them; `reader` gives its bytes and must seek. Memory and
    time are bounded whatever the archive says of itself. Invalid with every fault, worst first; Unavailable if the
    reader fails.
    """
    upload = Upload(form, filename, reader, digests, signature)
    if faults := find_faults(upload):
        raise Invalid(faults)
    return Checked(
        project=upload.parsed.project,
        version=upload.parsed.version,
        filetype=upload.parsed.filetype,
        requires_python=upload.core.requires_python,
        metadata=upload.metadata,
    )
