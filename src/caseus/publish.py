"""Publishing to an index, and undoing it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from packaging.version import InvalidVersion, Version

from caseus.catalog import Catalog, HostedFile, Tombstone
from caseus.checks import Checked, check_upload
from caseus.checks.form import Form
from caseus.errors import Conflict, Invalid, NotFound
from caseus.names import is_filename, normalize
from caseus.publication import Outcome, Publication
from caseus.storage import Staged, Storage, hosted_tree


class Publisher:
    """Publishes to one index. `displaces`: trees of the upstreams behind it."""

    def __init__(
        self,
        catalog: Catalog,
        store: Storage,
        index: str,
        *,
        displaces: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.index, self.tree = index, hosted_tree(index)
        self._catalog, self._store = catalog, store
        self.displaces = tuple(displaces)
        self._clock, self._sleep = clock, sleep

    def prepare(self, act: Callable[[], object]) -> Future[None]:
        """Do what begins a quick upload (`publication.QUICK`) in the thread that writes its facts."""
        return self._catalog.writer.prepare(act)

    def stage(self) -> Staged:
        """Where an upload's bytes go while they arrive; the caller closes it."""
        return self._store.stage()

    def publish(self, staged: Staged, form: Form, *, filename: str, signature: bytes | None, actor: str) -> Outcome:
        """As `begin`, and wait for the outcome."""
        return self.begin(staged, form, filename=filename, signature=signature, actor=actor).result()

    def begin(
        self, staged: Staged, form: Form, *, filename: str, signature: bytes | None, actor: str
    ) -> Future[Outcome]:
        """Check what was staged and give it its name; durable and listed when the future is done, in any thread.

        "unchanged": the very bytes were published before. Invalid (every fault at once), Conflict (the name has other
        bytes, or had), Denied (others upload to this project), Busy (another upload of the name runs), Unavailable.
        """
        with staged.reader() as reader:
            checked = check_upload(form, filename, reader, staged.digests, signature=signature)
        file = self._file(staged, checked, filename, actor, signed=signature is not None)
        return self._publication(staged, file, checked, signature, user=actor).begin()

    def take(
        self,
        staged: Staged,
        checked: Checked,
        *,
        filename: str,
        actor: str,
        signature: bytes | None = None,
        uploaded: float | None = None,
        yanked: str | None = None,
        owner: str | None = None,
    ) -> Outcome:
        """Give its name to what was staged and found good; `publish` without the checks of an upload.

        `uploaded`: Unix seconds, None for now. `yanked`: the reason with which it is born yanked, "" for none given.
        `owner`: of a claim on the name that the caller has already. Conflict, Busy, Unavailable.
        """
        signed = signature is not None
        file = self._file(staged, checked, filename, actor, signed=signed, uploaded=uploaded, yanked=yanked)
        publication = self._publication(staged, file, checked, signature)
        return publication.begin().result() if owner is None else publication.claimed(owner)

    def _file(
        self,
        staged: Staged,
        checked: Checked,
        filename: str,
        actor: str,
        *,
        signed: bool,
        uploaded: float | None = None,
        yanked: str | None = None,
    ) -> HostedFile:
        """The facts; from now on what is staged has the time of its upload."""
        if uploaded is None:
            uploaded = self._clock()
        staged.stamp(uploaded)  # who looks at the folder sees it, and so does who touches it there (`watch`)
        metadata, digests = _metadata(checked), staged.digests
        return HostedFile(
            tree=self.tree,
            project=checked.project,
            filename=filename,
            version=checked.version,
            sha256=digests["sha256"],
            size=staged.size,
            md5=digests["md5"],
            blake2b_256=digests["blake2b_256"],
            uploaded=uploaded,
            uploader=actor,
            requires_python=checked.requires_python,
            metadata_sha256=hashlib.sha256(metadata).hexdigest() if metadata is not None else None,
            has_sig=signed,
            yanked=yanked,
        )

    def _publication(
        self,
        staged: Staged,
        file: HostedFile,
        checked: Checked,
        signature: bytes | None,
        *,
        user: str | None = None,
    ) -> Publication:
        found = ((".metadata", _metadata(checked)), (".asc", signature))
        sidecars = {ending: data for ending, data in found if data is not None}
        return Publication(
            self._catalog,
            self._store,
            staged,
            file,
            sidecars,
            displaces=self.displaces,
            user=user,
            clock=self._clock,
            sleep=self._sleep,
        )

    # Undo: visible at the next request.

    def select(self, target: str) -> list[HostedFile]:
        """The files that PROJECT, PROJECT==VERSION or FILE means. NotFound if there is none, Invalid for no word."""
        if is_filename(target):
            file = self._catalog.find_file(self.tree, target)
            if file is None:
                raise NotFound(f"no file {target!a} is published here")
            return [file]
        project, separator, version = target.partition("==")
        files = self._catalog.hosted_files(self.tree, normalize(project.strip()))
        if separator:
            wanted = _version(version.strip())
            files = [file for file in files if Version(file.version) == wanted]
        if not files:
            raise NotFound(f"nothing is published here as {target!a}")
        return files

    def yank(self, files: Sequence[HostedFile], reason: str, actor: str) -> None:
        """Mark as yanked (PEP 592): installers take them only where a lock or `==` asks for them."""
        self._catalog.yank(files, reason, actor=actor)

    def unyank(self, files: Sequence[HostedFile], actor: str) -> None:
        """Take the mark off."""
        self._catalog.yank(files, None, actor=actor)

    def grave(self, filename: str) -> Tombstone:
        """What is left of a deleted file. NotFound if none was deleted, Conflict if one is published."""
        grave = self._catalog.tombstone(self.tree, filename)
        if grave is not None:
            return grave
        if self._catalog.find_file(self.tree, filename) is not None:
            raise Conflict(f"{filename} is published: delete it first")
        raise NotFound(f"no file {filename!a} was deleted here")

    def delete(self, files: Sequence[HostedFile], reason: str, actor: str) -> None:
        """Replace by tombstones: the names stay ours, and never serve other bytes."""
        self._catalog.delete(files, reason, actor=actor)


def _metadata(checked: Checked) -> bytes | None:
    """What is served beside the file (PEP 658): of wheels only."""
    return checked.metadata if checked.filetype == "bdist_wheel" else None


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise Invalid(f"{text!a} is no version (PEP 440)") from None
