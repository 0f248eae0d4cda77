"""Publishing, and undoing it: bytes first, facts second, and a claim before both.

A crash leaves something that `gc` finds, never a fact without bytes and never a blocked name.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Literal

import structlog
from packaging.version import InvalidVersion, Version

from caseus.catalog import Catalog, Claim, ClaimState, HostedFile, Published, Tombstone
from caseus.checks import Checked, check_upload
from caseus.checks.form import Form
from caseus.errors import Busy, CaseusError, Conflict, Denied, Invalid, NotFound
from caseus.names import is_filename, normalize
from caseus.storage import Staged, Storage, file_key, hosted_tree

_log = structlog.get_logger(__name__)
_PATIENCE = 5.0  # seconds that an upload waits for another of the same bytes

SMALL = 1 << 20
"""Bytes of a file that is published in one transaction: to wait for so few keeps nobody else waiting for long."""

Outcome = Literal["published", "unchanged"]
_Alone = Callable[[Callable[[], None]], None]
_RENEW = 10.0  # seconds after which a claim is renewed before the bytes get their name


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
        self._check_uploader(actor, checked.project)
        file = self._file(staged, checked, filename, actor, signed=signature is not None)
        return self._begin(staged, file, _sidecars(checked, signature))

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
        if owner is not None:
            return self._publish_claimed(staged, file, _sidecars(checked, signature), owner)
        return self._begin(staged, file, _sidecars(checked, signature)).result()

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

    def _check_uploader(self, name: str, project: str) -> None:
        uploaders = self._catalog.uploaders(self.tree, project)
        if not uploaders or name in uploaders:
            return
        user = self._catalog.user(name)
        if user is None or not user.admin:
            raise Denied(f"{name} may not upload to {project}: ask one of its uploaders, or an administrator")

    def _begin(self, staged: Staged, file: HostedFile, sidecars: Mapping[str, bytes]) -> Future[Outcome]:
        if staged.size <= SMALL:
            return self._publish_at_once(staged, file, sidecars)
        outcome: Future[Outcome] = Future()
        outcome.set_result(self._publish_claimed(staged, file, sidecars, secrets.token_hex(8)))
        return outcome

    def _publish_at_once(self, staged: Staged, file: HostedFile, sidecars: Mapping[str, bytes]) -> Future[Outcome]:
        """Names, waits for the disk and facts in the catalog's writer, which has the waits in common with others."""
        key = file_key(self.tree, file.project, file.filename)
        named: dict[str, Staged] = {}
        outcome: Future[Outcome] = Future()

        def place() -> list[str]:
            for beside, sidecar in named.items():
                self._place(sidecar, beside, file.filename, alone=_now, keep_same=True)
            self._place(staged, key, file.filename, alone=_now)
            return [key, *named]

        def rest(claim: Claim, displaced: Sequence[str]) -> Outcome:
            if claim.state is ClaimState.HELD:
                return self._publish_claimed(staged, file, sidecars, secrets.token_hex(8))
            self._forget_all(displaced, file.project)
            return "published" if claim.state is ClaimState.MINE else "unchanged"

        def end(published: Future[Published]) -> None:
            """In the writer's thread, which must not wait for others, nor for a disk to forget what was fetched."""
            for sidecar in named.values():
                sidecar.close()
            try:
                claim, displaced = published.result()
            except BaseException as error:
                outcome.set_exception(error)
                return
            work = partial(_settle, outcome, partial(rest, claim, displaced))
            if claim.state is ClaimState.HELD or displaced:
                threading.Thread(target=work, name="caseus-publish", daemon=True).start()
            else:
                work()

        try:
            for ending, data in sidecars.items():
                named[key + ending] = sidecar = self._store.stage()
                sidecar.write(data)
            future = self._catalog.publish_at_once(file, store=self._store, place=place, displaces=self.displaces)
        except BaseException:
            for sidecar in named.values():
                sidecar.close()
            raise
        future.add_done_callback(end)
        return outcome

    def _publish_claimed(self, staged: Staged, file: HostedFile, sidecars: Mapping[str, bytes], owner: str) -> Outcome:
        """T1, names, waits for the disk, T2: nobody else waits for these bytes."""
        claim = self._claim(staged, file, owner)
        if claim.state is ClaimState.PUBLISHED:
            return "unchanged"
        try:
            self._publish(staged, file, sidecars, owner, beside=claim.beside)
        except BaseException:
            self._catalog.release(self.tree, file.filename, owner)
            raise
        return "published"

    def _claim(self, staged: Staged, file: HostedFile, owner: str) -> Claim:
        """T1, beside the fsync of a large file: mine, or the very bytes are there already. Busy."""
        project, filename, sha256 = file.project, file.filename, file.sha256
        deadline = self._clock() + _PATIENCE

        def claim() -> Claim:
            return self._catalog.claim(self.tree, project, filename, sha256=sha256, owner=owner).result()

        future = self._catalog.claim(self.tree, project, filename, sha256=sha256, owner=owner)
        try:
            if staged.size > SMALL:
                staged.sync()
        except BaseException:
            self._catalog.release(self.tree, filename, owner)
            raise
        outcome = future.result()
        while outcome.state is ClaimState.HELD and outcome.same and self._clock() < deadline:
            self._sleep(0.05)
            outcome = claim()
        if outcome.state is ClaimState.HELD:
            raise Busy(f"another upload of {filename} runs: try again", retry_after=outcome.left)
        return outcome

    def _publish(
        self, staged: Staged, file: HostedFile, sidecars: Mapping[str, bytes], owner: str, *, beside: bool
    ) -> None:
        """Sidecars, then the file get their names; all become durable together; T2. `sidecars`: by their endings."""
        began = self._clock()
        key = file_key(self.tree, file.project, file.filename)
        named = [key]
        alone = partial(self._catalog.with_claim, self.tree, file.filename, owner)
        for ending, data in sidecars.items():
            named.append(key + ending)
            with closing(self._store.stage()) as sidecar:
                sidecar.write(data)
                self._place(sidecar, key + ending, file.filename, alone=alone, keep_same=True)
        self._place(staged, key, file.filename, alone=alone)
        self._store.sync(named, beside=beside)
        if self._clock() - began > _RENEW:
            self._catalog.with_claim(self.tree, file.filename, owner, lambda: None)
        holds = partial(staged.holds, key)
        self._forget_all(self._catalog.publish(file, owner, holds=holds, displaces=self.displaces), file.project)

    def _place(self, staged: Staged, key: str, filename: str, *, alone: _Alone, keep_same: bool = False) -> None:
        """Create-if-absent. What is there already has no row (the claim says so): its upload was never answered.

        Not even if it is the same: nobody knows whether the disk took it, and it does not tell twice that it failed.
        Only a sidecar that says the same there already may stay (`keep_same`). `alone`: calls while nobody else can
        take the name.
        """
        for _ in range(3):
            try:
                staged.link(key)
                return
            except Conflict:
                if keep_same and staged.holds(key):
                    return
                alone(lambda: self._store.set_aside(key, ""))
        raise Busy(f"another upload of {filename} runs: try again", retry_after=1)

    def _forget_all(self, trees: Iterable[str], project: str) -> None:
        for tree in trees:
            self._forget(f"{tree}/{project}/")

    def _forget(self, prefix: str) -> None:
        """Delete what was fetched of a name that is ours now; the catalog forgot it already."""
        try:
            for key in list(self._store.keys(prefix)):
                self._store.delete(key)
        except (CaseusError, OSError) as error:
            _log.warning("publish.fetched_bytes_left", prefix=prefix, error=str(error))

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


def _sidecars(checked: Checked, signature: bytes | None) -> dict[str, bytes]:
    """By their endings."""
    found = ((".metadata", _metadata(checked)), (".asc", signature))
    return {ending: data for ending, data in found if data is not None}


def _settle(outcome: Future[Outcome], work: Callable[[], Outcome]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)


def _now(act: Callable[[], None]) -> None:
    act()


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise Invalid(f"{text!a} is no version (PEP 440)") from None
