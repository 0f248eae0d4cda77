"""What is wrong with a file that another index published already.

Lenient where an upload is not: old packages have odd metadata, and people depend on them. Refused is only what can't be
served here: no wheel or sdist of the project, no version by PEP 440, an archive that is broken or not safe to unpack.
"""

from __future__ import annotations

from typing import BinaryIO

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from caseus.checks import Checked
from caseus.checks.form import Form
from caseus.checks.rules import FILE_RULES, Upload, find_faults
from caseus.errors import Invalid
from caseus.names import ParsedFilename, check_filename, parse_filename


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A file that can be published here; `remarks`: for what an upload of it would be refused."""

    checked: Checked
    remarks: tuple[str, ...] = ()


def check_found(
    project: NormalizedName, filename: str, reader: BinaryIO, *, requires_python: str | None = None
) -> Found:
    """Judges a file that an index lists under the project; `reader` gives its bytes and must seek.

    `requires_python`: the index's word, which counts where the file has no metadata. Invalid with every reason why it
    can't be published here; Unavailable if the reader fails.
    """
    parsed = parse_filename_of(project, filename)
    upload = Upload(Form({}), filename, reader, {}, None, parsed)
    faults = find_faults(upload, FILE_RULES)
    refused = [fault for fault in upload.contents.faults if fault not in upload.contents.odd]
    if refused:
        raise Invalid(refused)
    try:
        metadata, told = upload.metadata, upload.core.requires_python
    except Invalid:
        metadata, told = None, requires_python
    return Found(
        checked=Checked(
            project=project,
            version=parsed.version,
            filetype=parsed.filetype,
            requires_python=told if _is_specifier(told) else None,
            metadata=metadata,
        ),
        remarks=tuple(faults),
    )


def parse_filename_of(project: NormalizedName, filename: str) -> ParsedFilename:
    """What the filename says as one of the project. Invalid."""
    parsed = parse_filename(check_filename(filename))
    if parsed.project == project:
        return parsed
    # An sdist from before PEP 625: foo-1.0-1.tar.gz reads as version 1 of foo-1-0, and is 1.0-1 of foo.
    stem, version = filename[: len(project)], filename[len(project) + 1 :]
    if parsed.filetype == "sdist" and canonicalize_name(stem) == project:
        try:
            version = str(Version(version.removesuffix(".zip").removesuffix(".tar.gz")))
            return ParsedFilename(project, version, "sdist")
        except InvalidVersion:
            pass
    raise Invalid(f"the filename is not one of {project}")


def _is_specifier(text: str | None) -> bool:
    """Whether it may stand in our pages: there are clients that refuse a page for one that can't be parsed."""
    try:
        return text is not None and bool(SpecifierSet(text))
    except ValueError:
        return False
