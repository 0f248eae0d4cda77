"""What can be told of a published file without a catalog: by its bytes, or by a line of the list beside it."""

from __future__ import annotations

import hashlib
import os
import re

import msgspec

from caseus.catalog import HostedFile, Tombstone
from caseus.checks.archive import read_metadata
from caseus.checks.metadata import parse_metadata
from caseus.errors import Invalid
from caseus.names import check_filename, parse_filename
from caseus.packages import Line
from caseus.storage import file_key
from caseus.storage.filesystem import FilesystemStorage

_SHA256 = re.compile(r"sha256=([0-9a-f]{64})\Z")


def check_line(line: Line) -> str | None:
    """Why the line can't be a fact; None if it can."""
    try:
        check_filename(line.filename)
        if line.deleted is None and line.version is None:
            parse_filename(line.filename)
    except Invalid as error:
        return f"{line.filename!a}: {error}"
    for digest in (line.hash, line.core_metadata):
        if digest is not None and not _SHA256.match(digest):
            return f"{line.filename!a} has no sha256: {digest!a}"
    return None


def sha256_of(digest: str | None) -> str | None:
    """The hex of `sha256=HEX`."""
    return digest.removeprefix("sha256=") if digest is not None else None


def tombstone(tree: str, project: str, line: Line) -> Tombstone:
    return Tombstone(
        tree=tree,
        project=project,
        filename=line.filename,
        sha256=sha256_of(line.hash) or "",
        deleted=line.deleted or 0.0,
        reason=line.deleted_reason or "",
        yanked=line.yanked_reason,
    )


def complete(line: Line) -> bool:
    """Whether the line tells all that the catalog has; dumb-pypi's own lists don't."""
    return None not in (line.size, line.md5, line.blake2b_256, line.upload_time)


def listed_file(tree: str, project: str, line: Line) -> HostedFile:
    """The file that a complete line tells."""
    return HostedFile(
        tree=tree,
        project=project,
        filename=line.filename,
        version=line.version or parse_filename(line.filename).version,
        sha256=sha256_of(line.hash) or "",
        size=line.size or 0,
        md5=line.md5 or "",
        blake2b_256=line.blake2b_256 or "",
        uploaded=line.upload_time or 0.0,
        uploader=line.uploaded_by or "reindex",
        requires_python=line.requires_python,
        metadata_sha256=sha256_of(line.core_metadata),
        has_sig=line.gpg_sig,
        yanked=line.yanked_reason,
    )


def read_file(store: FilesystemStorage, tree: str, project: str, filename: str) -> tuple[HostedFile, bytes]:
    """The file by its bytes, and its METADATA. Invalid if it is no package of the project; Unavailable, NotFound.

    Uploaded when it was written, by "reindex", without a signature.
    """
    parsed = parse_filename(check_filename(filename))
    if parsed.project != project:
        raise Invalid(f"it is a file of {parsed.project}: it belongs into that folder")
    digests = hashlib.sha256(), hashlib.md5(usedforsecurity=False), hashlib.blake2b(digest_size=32)
    with store.open(file_key(tree, project, filename)) as blob:
        while data := blob.read():
            for digest in digests:
                digest.update(data)
        status = os.fstat(blob.fileno())
        with os.fdopen(os.dup(blob.fileno()), "rb") as reader:
            metadata = read_metadata(filename, reader)
    sha256, md5, blake2b_256 = (digest.hexdigest() for digest in digests)
    file = HostedFile(
        tree=tree,
        project=project,
        filename=filename,
        version=parsed.version,
        sha256=sha256,
        size=status.st_size,
        md5=md5,
        blake2b_256=blake2b_256,
        uploaded=status.st_mtime,
        uploader="reindex",
        requires_python=parse_metadata(metadata).requires_python,
        metadata_sha256=hashlib.sha256(metadata).hexdigest() if parsed.filetype == "bdist_wheel" else None,
    )
    return file, metadata


def amended(file: HostedFile, line: Line) -> HostedFile:
    """A file by its bytes, with what a line knows better."""
    uploaded = line.upload_time if line.upload_time is not None else line.upload_timestamp
    return msgspec.structs.replace(
        file,
        uploaded=file.uploaded if uploaded is None else float(uploaded),
        uploader=line.uploaded_by or file.uploader,
        requires_python=line.requires_python or file.requires_python,
        yanked=line.yanked_reason,
    )
