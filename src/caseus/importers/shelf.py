"""What is published here, as an import changes it: nothing is overwritten, yanks follow the other index.

Every import has one, whether it reads pages of an index or the folder of one.
"""

from __future__ import annotations

from collections.abc import Iterable

from packaging.utils import NormalizedName

from caseus.catalog import Catalog, HostedFile
from caseus.checks.found import Found
from caseus.errors import Conflict
from caseus.importers.report import Outcome, Result
from caseus.importers.yanks import Yanks
from caseus.model import File
from caseus.publish import Publisher
from caseus.storage import Staged

OTHER_BYTES = "other bytes have this name here: nothing was overwritten"
DELETED_HERE = "it was deleted here, and a name is used once"

STORED = frozenset({"sha256", "blake2b_256", "md5"})
"""The digests that the catalog has of every file."""


class Shelf:
    """Publishes as `actor`; with `dry_run` nothing. Thread-safe."""

    def __init__(self, catalog: Catalog, publisher: Publisher, *, actor: str, dry_run: bool = False) -> None:
        self.tree, self.index, self.actor, self.dry_run = publisher.tree, publisher.index, actor, dry_run
        self.catalog, self._publisher = catalog, publisher
        self._yanks = Yanks(catalog, publisher.tree)

    def displaced(self, names: Iterable[NormalizedName]) -> list[NormalizedName]:
        """Those of the names that were fetched from an upstream so far, and are not ours yet."""
        fetched = {name for tree in self._publisher.displaces for name in self.catalog.projects(tree)}
        return [name for name in names if name in fetched and not self.catalog.knows(self.tree, name)]

    def stage(self) -> Staged:
        """Where bytes go until they have their name; the caller closes it."""
        return self._publisher.stage()

    def put(
        self,
        project: NormalizedName,
        file: File,
        staged: Staged,
        found: Found,
        *,
        signature: bytes | None,
        uploaded: float | None,
        remarks: tuple[str, ...] = (),
    ) -> Result:
        """Publish what was staged and judged. `uploaded`: Unix seconds. Conflict, Busy, Unavailable."""
        outcome = self._publisher.take(
            staged,
            found.checked,
            filename=file.filename,
            actor=self.actor,
            signature=signature,
            uploaded=self._uploaded(file, uploaded),
            yanked=_yank_reason(file),
        )
        return Result(
            outcome=Outcome.TAKEN if outcome == "published" else Outcome.THERE,
            project=project,
            filename=file.filename,
            size=staged.size,
            remarks=found.remarks + remarks,
        )

    def same(self, file: File, hosted: HostedFile) -> bool | None:
        """Whether the entry means the bytes that are here, by every digest that both know; None if there is none."""
        known = {"sha256": hosted.sha256, "blake2b_256": hosted.blake2b_256, "md5": hosted.md5}
        told = STORED & file.hashes.keys()
        if told:
            return all(known[name] == file.hashes[name] for name in told)
        return False if file.size is not None and file.size != hosted.size else None

    def check_same(self, sha256: str, hosted: HostedFile) -> None:
        """Conflict unless the bytes with that digest are those that are here."""
        if sha256 != hosted.sha256:
            raise Conflict(OTHER_BYTES)

    def follow_yank(self, project: NormalizedName, file: File, hosted: HostedFile) -> Result:
        """Yank or unyank what is here as the file is there, unless somebody here had the last word on it."""
        wanted = _yank_reason(file)
        outcome, reason = Outcome.THERE, ""
        if wanted != hosted.yanked:
            if self._yanks.last(file.filename) not in (None, self.actor):
                there, here = ("yanked" if yank is not None else "not yanked" for yank in (wanted, hosted.yanked))
                reason = f"{there} there, {here} here by somebody's hand: left so"
            else:
                outcome, reason = (Outcome.UNYANKED, "") if wanted is None else (Outcome.YANKED, wanted)
                if not self.dry_run:
                    self._yank(hosted, wanted)
        return Result(outcome=outcome, project=project, filename=file.filename, reason=reason)

    def _yank(self, hosted: HostedFile, reason: str | None) -> None:
        if reason is None:
            self._publisher.unyank([hosted], self.actor)
        else:
            self._publisher.yank([hosted], reason, self.actor)

    def _uploaded(self, file: File, seen: float | None) -> float | None:
        """When it was published there, as far as that is known; never in the future."""
        told = seen if file.upload_time is None else file.upload_time.timestamp()
        return None if told is None else min(told, self.catalog.clock())


def _yank_reason(file: File) -> str | None:
    """As the catalog has it: None for not yanked, "" for no reason."""
    if isinstance(file.yanked, str):
        return file.yanked
    return "" if file.yanked else None
