"""A file that was found good, on its way to its name: bytes first, facts second, and a claim before both.

A crash leaves something that `gc` finds, never a fact without bytes and never a blocked name.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Literal

import structlog

from caseus.catalog import Catalog, Claim, ClaimState, HostedFile, Published
from caseus.errors import Busy, CaseusError, Conflict, Unavailable
from caseus.storage import Staged, Storage, file_key

SMALL = 1 << 20
"""Bytes of a file that is published in one transaction: to wait for so few keeps nobody else waiting for long."""

QUICK = 64 << 10
"""Bytes of an upload with its form that are checked in the writer's own thread: to wake another takes as long."""

Outcome = Literal["published", "unchanged"]
"""Unchanged: the very bytes were published before."""

_Alone = Callable[[Callable[[], None]], None]
_PATIENCE = 5.0  # seconds that an upload waits for another of the same bytes
_RENEW = 10.0  # seconds after which a claim is renewed before the bytes get their name
_log = structlog.get_logger(__name__)


class Publication:
    """What is staged becomes `file`, with `sidecars` by their endings. `displaces`: trees of the upstreams behind it.

    `user`: who must be one that may upload to the project when the name is taken; None for whom all is allowed.
    Conflict, Denied, Busy, Unavailable.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Storage,
        staged: Staged,
        file: HostedFile,
        sidecars: Mapping[str, bytes],
        *,
        displaces: Sequence[str] = (),
        user: str | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._catalog, self._store = catalog, store
        self._staged, self._file, self._displaces, self._user = staged, file, displaces, user
        self._key = file_key(file.tree, file.project, file.filename)
        self._sidecars = {self._key + ending: data for ending, data in sidecars.items()}
        self._clock, self._sleep = clock, sleep

    def begin(self) -> Future[Outcome]:
        """Durable and listed when the future is done, in any thread. What is staged stays open until then."""
        if self._staged.size <= SMALL:
            return self._at_once()
        outcome: Future[Outcome] = Future()
        outcome.set_result(self.claimed(secrets.token_hex(8)))
        return outcome

    def claimed(self, owner: str) -> Outcome:
        """T1, names, waits for the disk, T2: nobody else waits for these bytes."""
        claim = self._claim(owner)
        if claim.state is ClaimState.PUBLISHED:
            return "unchanged"
        try:
            self._publish(owner, beside=claim.beside)
        except BaseException:
            self._catalog.release(self._file.tree, self._file.filename, owner)
            raise
        return "published"

    def _at_once(self) -> Future[Outcome]:
        """Names, waits for the disk and facts in the catalog's writer, which has the waits in common with others."""
        file, store = self._file, self._store
        named: dict[str, Staged] = {}
        outcome: Future[Outcome] = Future()

        def place() -> list[str]:
            for key, sidecar in named.items():
                self._place(sidecar, key, alone=_now, keep_same=True)
            self._place(self._staged, self._key, alone=_now)
            return [self._key, *named]

        def close() -> None:
            for sidecar in named.values():
                sidecar.close()

        def end(published: Future[Published]) -> None:
            """In the writer's thread, which waits neither for another upload nor for what was fetched to be deleted."""
            try:
                close()
                claim, displaced = published.result()
            except BaseException as error:
                outcome.set_exception(error)
                return
            work = partial(self._settle, outcome, claim, displaced)
            if claim.state is not ClaimState.HELD and not displaced:
                work()
                return
            try:
                threading.Thread(target=work, name="caseus-publish", daemon=True).start()
            except RuntimeError:
                outcome.set_exception(Unavailable("no more threads: try again", kind="local", retry_after=1))

        try:
            for key, data in self._sidecars.items():
                named[key] = store.stage()
                named[key].write(data)
            future = self._catalog.publish_at_once(
                file, store=store, place=place, displaces=self._displaces, user=self._user
            )
        except BaseException:
            close()
            raise
        future.add_done_callback(end)
        return outcome

    def _settle(self, outcome: Future[Outcome], claim: Claim, displaced: Sequence[str]) -> None:
        try:
            if claim.state is ClaimState.HELD:
                outcome.set_result(self.claimed(secrets.token_hex(8)))
                return
            self._forget_all(displaced)
            outcome.set_result("published" if claim.state is ClaimState.MINE else "unchanged")
        except BaseException as error:
            outcome.set_exception(error)

    def _claim(self, owner: str) -> Claim:
        """T1, beside the fsync of a large file: mine, or the very bytes are there already. Busy."""
        file = self._file
        deadline = self._clock() + _PATIENCE

        def claim() -> Future[Claim]:
            return self._catalog.claim(
                file.tree, file.project, file.filename, sha256=file.sha256, owner=owner, user=self._user
            )

        future = claim()
        try:
            if self._staged.size > SMALL:
                self._staged.sync()
        except BaseException:
            self._catalog.release(file.tree, file.filename, owner)
            raise
        outcome = future.result()
        while outcome.state is ClaimState.HELD and outcome.same and self._clock() < deadline:
            self._sleep(0.05)
            outcome = claim().result()
        if outcome.state is ClaimState.HELD:
            raise Busy(f"another upload of {file.filename} runs: try again", retry_after=outcome.left)
        return outcome

    def _publish(self, owner: str, *, beside: bool) -> None:
        """Sidecars, then the file get their names; all become durable together; T2."""
        file, began = self._file, self._clock()
        alone = partial(self._catalog.with_claim, file.tree, file.filename, owner)
        for key, data in self._sidecars.items():
            with closing(self._store.stage()) as sidecar:
                sidecar.write(data)
                self._place(sidecar, key, alone=alone, keep_same=True)
        self._place(self._staged, self._key, alone=alone)
        self._store.sync([self._key, *self._sidecars], beside=beside)
        if self._clock() - began > _RENEW:
            self._catalog.with_claim(file.tree, file.filename, owner, lambda: None)
        holds = partial(self._staged.holds, self._key)
        self._forget_all(self._catalog.publish(file, owner, holds=holds, displaces=self._displaces))

    def _place(self, staged: Staged, key: str, *, alone: _Alone, keep_same: bool = False) -> None:
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
        raise Busy(f"another upload of {self._file.filename} runs: try again", retry_after=1)

    def _forget_all(self, trees: Iterable[str]) -> None:
        for tree in trees:
            self._forget(f"{tree}/{self._file.project}/")

    def _forget(self, prefix: str) -> None:
        """Delete what was fetched of a name that is ours now; the catalog forgot it already."""
        try:
            for key in list(self._store.keys(prefix)):
                self._store.delete(key)
        except (CaseusError, OSError) as error:
            _log.warning("publish.fetched_bytes_left", prefix=prefix, error=str(error))


def _now(act: Callable[[], None]) -> None:
    act()
