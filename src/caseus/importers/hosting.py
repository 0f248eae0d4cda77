"""Files that another server published itself: published here, from its disk."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from packaging.utils import NormalizedName

from caseus.catalog import HostedFile
from caseus.checks.found import Found, check_found, parse_filename_of
from caseus.errors import Busy, Conflict, Invalid
from caseus.importers.disk import Unreadable, copy, nowhere, read_signature, unreadable
from caseus.importers.report import Damaged, Outcome, Result, TooBig, refused
from caseus.importers.shelf import DELETED_HERE, Shelf
from caseus.importers.stock import StockFile
from caseus.model import File


class Hosting:
    """Publishes to `shelf` what is there on a disk. Thread-safe."""

    def __init__(self, shelf: Shelf, *, max_file_bytes: int) -> None:
        self._shelf, self._max_file_bytes = shelf, max_file_bytes

    def take(self, project: NormalizedName, each: StockFile) -> Result:
        """What came of it; on a dry run what would. Unavailable where our own side fails."""
        try:
            return self._take(project, each)
        except (Invalid, TooBig, Conflict, Damaged) as error:
            return refused(project, each.file.filename, error)
        except (Unreadable, Busy) as error:
            reason = str(error)
        return Result(outcome=Outcome.FAILED, project=project, filename=each.file.filename, reason=reason)

    def _take(self, project: NormalizedName, each: StockFile) -> Result:
        file = each.file
        parse_filename_of(project, file.filename)
        hosted = self._hosted(project, file.filename)
        if hosted is not None and self._shelf.same(file, hosted):
            return self._there(project, file, hosted)
        if each.fault:
            raise Damaged(each.fault)
        if each.path is None:
            raise Damaged("it is listed there, but the file is not there")
        if hosted is not None:
            copied = copy(each.path, file, nowhere)
            self._shelf.check_same(copied.digests["sha256"], hosted)
            return self._there(project, file, hosted)
        return self._rehearse(project, each, each.path) if self._shelf.dry_run else self._put(project, each, each.path)

    def _there(self, project: NormalizedName, file: File, hosted: HostedFile) -> Result:
        """A server that tells no yank has none to follow."""
        if file.yanked:
            return self._shelf.follow_yank(project, file, hosted)
        return Result(outcome=Outcome.THERE, project=project, filename=file.filename)

    def _hosted(self, project: str, filename: str) -> HostedFile | None:
        """What has the name here. Conflict if another project has it, or a file that was deleted."""
        tree, catalog = self._shelf.tree, self._shelf.catalog
        hosted = catalog.find_file(tree, filename)
        if hosted is not None and hosted.project != project:
            raise Conflict(f"{hosted.project} has a file of this name here: nothing was overwritten")
        if hosted is None and any(grave.filename == filename for grave in catalog.tombstones(tree, project)):
            raise Invalid(DELETED_HERE)
        return hosted

    def _put(self, project: NormalizedName, each: StockFile, path: Path) -> Result:
        with closing(self._shelf.stage()) as staged:
            copied = copy(path, each.file, staged.write, limit=self._max_file_bytes)
            with staged.reader() as reader:
                found = _judge(project, each, reader)
            signature, remarks = read_signature(each.signature)
            return self._shelf.put(
                project,
                each.file,
                staged,
                found,
                signature=signature,
                uploaded=copied.modified,
                remarks=remarks,
            )

    def _rehearse(self, project: NormalizedName, each: StockFile, path: Path) -> Result:
        copied = copy(path, each.file, nowhere, limit=self._max_file_bytes)
        try:
            with open(path, "rb") as reader:
                found = _judge(project, each, reader)
        except OSError as error:
            raise unreadable(path, error) from None
        _, remarks = read_signature(each.signature)
        return Result(
            outcome=Outcome.TAKEN,
            project=project,
            filename=each.file.filename,
            size=copied.size,
            remarks=found.remarks + remarks,
        )


def _judge(project: NormalizedName, each: StockFile, reader: BinaryIO) -> Found:
    """Damaged if it can't be served: its name was found good before."""
    try:
        return check_found(project, each.file.filename, reader, requires_python=each.file.requires_python)
    except Invalid as error:
        raise Damaged(str(error)) from None
