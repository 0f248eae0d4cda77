"""One file of another index: downloaded, checked, published; its yank kept as it is there."""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import msgspec
from packaging.utils import NormalizedName

from caseus.catalog import Catalog, HostedFile
from caseus.checks.found import check_found
from caseus.errors import Busy, CaseusError, Conflict, Invalid, NotFound, Unavailable
from caseus.importers.report import Outcome, Result
from caseus.importers.source import Damaged, Source, TooBig, is_ours
from caseus.importers.yanks import Yanks
from caseus.model import File
from caseus.publish import Publisher
from caseus.upstream import NotContacted, Origin

_STORED = frozenset({"sha256", "blake2b_256", "md5"})  # the digests that the catalog has of every file
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
    """Publishes what `source` gives, as `actor`. Thread-safe."""

    def __init__(
        self, source: Source, catalog: Catalog, publisher: Publisher, *, actor: str, dry_run: bool = False
    ) -> None:
        self.tree = publisher.tree
        self._source, self._publisher, self._actor, self._dry_run = source, publisher, actor, dry_run
        self._clock = catalog.clock
        self._yanks = Yanks(catalog, publisher.tree)
        self._compared: dict[str, File] = {}  # entries without a digest that we know, whose bytes are ours

    def take(self, job: Job) -> Result:
        """Download it and publish it. Unavailable only where our own side fails; Stopped."""
        project, filename = job.project, job.file.filename
        try:
            return self._source.patiently(lambda: self._take(job))
        except (Invalid, TooBig) as error:
            outcome, reason = Outcome.SKIPPED, str(error)
        except Conflict as error:
            outcome, reason = Outcome.CONFLICT, str(error)
        except Damaged as error:
            outcome, reason = Outcome.DAMAGED, str(error)
        except NotFound:
            outcome, reason = Outcome.FAILED, "its page lists it, but it is not there"
        except (Unavailable, Busy) as error:
            if is_ours(error):
                raise
            return failure(project, filename, error)
        return Result(outcome=outcome, project=project, filename=filename, reason=reason)

    def _take(self, job: Job) -> Result:
        project, file, linked, ours = job
        with closing(self._publisher.stage()) as staged:
            modified = self._source.download(file, linked, staged)
            if ours is not None:
                if staged.digests["sha256"] != ours.sha256:
                    raise Conflict("other bytes have this name here: nothing was overwritten")
                self._remember(file)
                return self.follow_yank(project, file, ours)
            with staged.reader() as reader:
                found = check_found(project, file.filename, reader, requires_python=file.requires_python)
            remarks = found.remarks
            signature = self._source.signature(file, linked) if file.sig_url else None
            if file.sig_url and signature is None:
                remarks += (_NO_SIGNATURE,)
            outcome = self._publisher.take(
                staged,
                found.checked,
                filename=file.filename,
                actor=self._actor,
                signature=signature,
                uploaded=self._uploaded(file, modified),
                yanked=_yank_reason(file),
            )
            size = staged.size
        self._remember(file)
        published = Outcome.TAKEN if outcome == "published" else Outcome.THERE
        return Result(outcome=published, project=project, filename=file.filename, size=size, remarks=remarks)

    def same(self, file: File, hosted: HostedFile) -> bool | None:
        """Whether the entry means the bytes that are here, by every digest that both know; None if there is none."""
        known = {"sha256": hosted.sha256, "blake2b_256": hosted.blake2b_256, "md5": hosted.md5}
        told = _STORED & file.hashes.keys()
        if told:
            return all(known[name] == file.hashes[name] for name in told)
        if file.size is not None and file.size != hosted.size:
            return False
        return True if self._compared.get(file.filename) == _without_yank(file) else None

    def follow_yank(self, project: NormalizedName, file: File, hosted: HostedFile) -> Result:
        """Yank or unyank what is here as the file is there, unless somebody here had the last word on it."""
        wanted = _yank_reason(file)
        outcome, reason = Outcome.THERE, ""
        if wanted != hosted.yanked:
            if self._yanks.last(file.filename) not in (None, self._actor):
                there, here = ("yanked" if yank is not None else "not yanked" for yank in (wanted, hosted.yanked))
                reason = f"{there} there, {here} here by somebody's hand: left so"
            else:
                outcome, reason = (Outcome.UNYANKED, "") if wanted is None else (Outcome.YANKED, wanted)
                if not self._dry_run:
                    self._yank(hosted, wanted)
        return Result(outcome=outcome, project=project, filename=file.filename, reason=reason)

    def _remember(self, file: File) -> None:
        """An entry that tells no digest of ours would cost a download in every round."""
        if not _STORED & file.hashes.keys():
            self._compared[file.filename] = _without_yank(file)

    def _yank(self, hosted: HostedFile, reason: str | None) -> None:
        if reason is None:
            self._publisher.unyank([hosted], self._actor)
        else:
            self._publisher.yank([hosted], reason, self._actor)

    def _uploaded(self, file: File, modified: float | None) -> float | None:
        """When it was published there, as far as that is known; never in the future."""
        told = modified if file.upload_time is None else file.upload_time.timestamp()
        return None if told is None else min(told, self._clock())


def _yank_reason(file: File) -> str | None:
    """As the catalog has it: None for not yanked, "" for no reason."""
    if isinstance(file.yanked, str):
        return file.yanked
    return "" if file.yanked else None


def _without_yank(file: File) -> File:
    return msgspec.structs.replace(file, yanked=False)
