"""One file of another index: downloaded, checked, published; its yank kept as it is there."""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import msgspec
from packaging.utils import NormalizedName

from caseus.catalog import HostedFile
from caseus.checks.found import check_found
from caseus.errors import Busy, CaseusError, Conflict, Invalid, NotFound, Unavailable
from caseus.importers.report import Damaged, Outcome, Result, TooBig, refused
from caseus.importers.shelf import STORED, Shelf
from caseus.importers.source import Source, is_ours
from caseus.model import File
from caseus.upstream import NotContacted, Origin

_NO_SIGNATURE = "the signature that is advertised there is absent or none: taken without it"


class Job(NamedTuple):
    """A file to download. `ours`: what has its name here, where only the bytes can tell if it is the same."""

    project: NormalizedName
    file: File
    linked: frozenset[Origin]
    ours: HostedFile | None


def failure(project: str, filename: str, error: CaseusError) -> Result:
    """The other index didn't give it; whether that says something of the index as a whole."""
    unanswered = isinstance(error, Unavailable) and not isinstance(error, NotContacted)
    return Result(outcome=Outcome.FAILED, project=project, filename=filename, reason=str(error), unanswered=unanswered)


class Taking:
    """Publishes to `shelf` what `source` gives. Thread-safe."""

    def __init__(self, source: Source, shelf: Shelf) -> None:
        self.tree = shelf.tree
        self._source, self._shelf = source, shelf
        self._compared: dict[str, File] = {}  # entries without a digest that we know, whose bytes are ours

    def take(self, job: Job) -> Result:
        """Download it and publish it. Unavailable only where our own side fails; Stopped."""
        project, filename = job.project, job.file.filename
        try:
            return self._source.patiently(lambda: self._take(job))
        except (Invalid, TooBig, Conflict, Damaged) as error:
            return refused(project, filename, error)
        except NotFound:
            reason = "its page lists it, but it is not there"
            return Result(outcome=Outcome.FAILED, project=project, filename=filename, reason=reason)
        except (Unavailable, Busy) as error:
            if is_ours(error):
                raise
            return failure(project, filename, error)

    def _take(self, job: Job) -> Result:
        project, file, linked, ours = job
        with closing(self._shelf.stage()) as staged:
            modified = self._source.download(file, linked, staged)
            if ours is not None:
                self._shelf.check_same(staged.digests["sha256"], ours)
                self._remember(file)
                return self.follow_yank(project, file, ours)
            with staged.reader() as reader:
                found = check_found(project, file.filename, reader, requires_python=file.requires_python)
            signature = self._source.signature(file, linked) if file.sig_url else None
            remarks = (_NO_SIGNATURE,) if file.sig_url and signature is None else ()
            result = self._shelf.put(
                project, file, staged, found, signature=signature, uploaded=modified, remarks=remarks
            )
        self._remember(file)
        return result

    def same(self, file: File, hosted: HostedFile) -> bool | None:
        """Whether the entry means the bytes that are here; None if only they can tell."""
        same = self._shelf.same(file, hosted)
        return True if same is None and self._compared.get(file.filename) == _without_yank(file) else same

    def follow_yank(self, project: NormalizedName, file: File, hosted: HostedFile) -> Result:
        """See `Shelf.follow_yank`."""
        return self._shelf.follow_yank(project, file, hosted)

    def _remember(self, file: File) -> None:
        """An entry that tells no digest of ours would cost a download in every round."""
        if not STORED & file.hashes.keys():
            self._compared[file.filename] = _without_yank(file)


def _without_yank(file: File) -> File:
    return msgspec.structs.replace(file, yanked=False)
