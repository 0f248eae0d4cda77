"""Another index as an importer reads it: pages, and files that are what their pages say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from packaging.utils import NormalizedName

from caseus.checks.armour import check_signature
from caseus.checks.limits import MAX_SIGNATURE
from caseus.errors import Busy, CaseusError, Invalid, NotFound, Unavailable
from caseus.importers.report import Damaged, TooBig
from caseus.model import File
from caseus.storage import Staged
from caseus.upstream import NotContacted, NotModified, Origin, Page, Response, Unauthorized, Upstream
from caseus.upstream.digests import new_hash

T = TypeVar("T")

_LONGEST_PAUSE = 30.0
_LOGIN = "give credentials that may read there, by --user, in a netrc file or in the URL"


class Stopped(Exception):
    """Somebody wants the import to end."""


def is_ours(error: CaseusError) -> bool:
    """Whether it is our own disk or database that fails, and not the other index."""
    return isinstance(error, Unavailable) and error.kind in ("full", "local")


class Source:
    """Reads one other index; where that fails, again after `pauses` (seconds). `stop` ends it soon. Thread-safe.

    `files_from`: https origins that downloads may be redirected to, besides those that pages link.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        max_file_bytes: int,
        stop: threading.Event,
        pauses: Sequence[float] = (1.0, 4.0),
        files_from: frozenset[Origin] = frozenset(),
    ) -> None:
        self._upstream = upstream
        self._files_from = files_from
        self._max_file_bytes = max_file_bytes
        self._stop = stop
        self._pauses = tuple(pauses)

    @property
    def url(self) -> str:
        """Without user and password."""
        return self._upstream.url

    @property
    def host(self) -> str:
        """With the port, where that is not the scheme's own."""
        return self._upstream.origin.authority

    def projects(self) -> tuple[NormalizedName, ...]:
        """NotFound, Unavailable."""
        if self._stop.is_set():
            raise Stopped
        try:
            return self._upstream.projects()
        except Unauthorized as error:
            raise Unauthorized(f"{error}: {_LOGIN}", kind="upstream") from None

    def page(self, name: NormalizedName, etag: str | None) -> Page | NotModified:
        """NotFound, Unavailable."""
        return self.patiently(lambda: self._upstream.page(name, etag))

    def download(self, file: File, linked: frozenset[Origin], staged: Staged) -> float | None:
        """The file into `staged`, checked by everything that its page tells; its Last-Modified, in Unix seconds.

        Damaged, TooBig, NotFound, Unavailable.
        """
        with self._upstream.fetch(file.url or "", linked | self._files_from) as response:
            expected = self._judge(file, response)
            hashers = {name: new_hash(name) for name in file.hashes if name not in staged.digests}
            for chunk in response.chunks():
                if self._stop.is_set():
                    raise Stopped
                if staged.size + len(chunk) > self._max_file_bytes:
                    raise TooBig(self._max_file_bytes)
                staged.write(chunk)
                for hasher in hashers.values():
                    hasher.update(chunk)
            if expected is not None and staged.size != expected:
                raise Damaged(f"it has {staged.size} bytes instead of {expected}")
            digests = staged.digests | {name: hasher.hexdigest() for name, hasher in hashers.items()}
            wrong = [name for name, digest in file.hashes.items() if digests[name] != digest]
            if wrong:
                raise Damaged(f"it has not the {' and '.join(wrong)} that the page tells")
            return response.modified

    def signature(self, file: File, linked: frozenset[Origin]) -> bytes | None:
        """The detached signature; None if what the index advertises is not there or is none. Unavailable."""
        try:
            with self._upstream.fetch(file.sig_url or "", linked | self._files_from) as response:
                data = response.body(MAX_SIGNATURE)
            check_signature(data)
        except (NotFound, Invalid):
            return None
        return data

    def patiently(self, act: Callable[[], T]) -> T:
        """What the other index fails to give may come with the next try; our own faults stay."""
        for pause in (*self._pauses, None):
            if self._stop.is_set():
                raise Stopped
            try:
                return act()
            except (Unavailable, Busy) as error:
                if pause is None or is_ours(error) or isinstance(error, NotContacted | Unauthorized):
                    raise
                self._stop.wait(min(max(pause, error.retry_after or 0.0), _LONGEST_PAUSE))
        raise AssertionError("unreachable")

    def _judge(self, file: File, response: Response) -> int | None:
        """The head of an answer, before its body is taken; how many bytes there must be."""
        if response.media_type in ("text/html", "application/xhtml+xml"):
            raise Damaged("it is an HTML page (a login or error page?)")
        encoding = response.header("Content-Encoding")
        if encoding and encoding.strip().lower() != "identity" and not file.hashes:
            raise Damaged("it is sent encoded, without a digest to know it by")
        told = response.size
        if told is not None and file.size is not None and told != file.size:
            raise Damaged(f"it has {told} bytes instead of {file.size}")
        expected = file.size if told is None else told
        if expected is None and not file.hashes:
            raise Damaged("it has neither a digest nor a length to know it by")
        if expected is not None and expected > self._max_file_bytes:
            raise TooBig(self._max_file_bytes)
        return expected
