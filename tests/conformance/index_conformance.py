"""What every Index must do. A subclass provides `index`, which holds CONTENT and nothing else.

CONTENT: the project `alpha` with a wheel (requires Python >=3.8) and a signed source distribution, both 1.0; the
project `beta` with one wheel, 2.0, yanked because of "broken".
"""

from __future__ import annotations

import hashlib
import time

import pytest

from caseus.errors import BadRange, NotFound
from caseus.index import Index
from caseus.model import File
from caseus.names import normalize
from caseus.storage import Blob, State
from support.packages import make_sdist, make_wheel, metadata

ALPHA, BETA, NOBODY = normalize("alpha"), normalize("beta"), normalize("nobody")
ALPHA_METADATA = metadata("alpha", "1.0", requires_python=">=3.8")
ALPHA_WHEEL = make_wheel("alpha", "1.0", metadata_bytes=ALPHA_METADATA)
ALPHA_SDIST = make_sdist("alpha", "1.0", content=hashlib.shake_256(b"alpha").digest(200_000))
ALPHA_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nnone\n-----END PGP SIGNATURE-----\n"
BETA_WHEEL = make_wheel("beta", "2.0")
YANKED = "broken"


def read_all(blob: Blob) -> bytes:
    with blob:
        return b"".join(iter(blob.read, b""))


def poll_all(blob: Blob) -> bytes:
    """As the event loop reads: by `available` only."""
    parts = []
    with blob:
        while True:
            data, state = blob.available(1000)
            parts.append(data)
            if state is State.END:
                assert blob.stop is not None
                assert sum(map(len, parts)) == blob.stop - blob.start
                return b"".join(parts)
            if not data:
                time.sleep(0.001)  # as the poller does between two looks


class IndexConformance:
    def files(self, index: Index, name: str) -> dict[str, File]:
        return {file.filename: file for file in index.project(normalize(name)).files}

    def test_knows(self, index: Index) -> None:
        assert index.knows(ALPHA)
        assert index.knows(BETA)
        assert not index.knows(NOBODY)

    def test_projects_are_sorted_and_told_once(self, index: Index) -> None:
        index.project(BETA)
        index.project(ALPHA)
        index.project(BETA)
        assert list(index.projects()) == [ALPHA, BETA]

    def test_a_project_is_not_found_by_asking(self, index: Index) -> None:
        for _ in range(2):
            with pytest.raises(NotFound):
                index.project(NOBODY)
            assert not index.knows(NOBODY)
        assert NOBODY not in list(index.projects())

    def test_project(self, index: Index) -> None:
        project = index.project(ALPHA)
        assert project.name == ALPHA
        assert project.versions == ("1.0",)
        assert project.status == "active"
        assert not project.validity.stale
        files = self.files(index, "alpha")
        assert set(files) == {ALPHA_WHEEL[0], ALPHA_SDIST[0]}
        for filename, data in (ALPHA_WHEEL, ALPHA_SDIST):
            assert files[filename].hashes["sha256"] == hashlib.sha256(data).hexdigest()
            assert files[filename].size == len(data)
            assert files[filename].yanked is False
        assert files[ALPHA_WHEEL[0]].requires_python == ">=3.8"
        assert files[ALPHA_WHEEL[0]].core_metadata
        assert files[ALPHA_SDIST[0]].gpg_sig is True

    def test_yanked(self, index: Index) -> None:
        assert self.files(index, "beta")[BETA_WHEEL[0]].yanked == YANKED

    @pytest.mark.parametrize("file", [ALPHA_WHEEL, ALPHA_SDIST], ids=["wheel", "sdist"])
    def test_open(self, index: Index, file: tuple[str, bytes]) -> None:
        filename, data = file
        assert read_all(index.open(ALPHA, filename)) == data  # the first time it may have to be fetched
        blob = index.open(ALPHA, filename)
        assert (blob.size, blob.start, blob.stop) == (len(data), 0, len(data))
        assert blob.sha256 == hashlib.sha256(data).hexdigest()
        assert read_all(blob) == data

    def test_polling(self, index: Index) -> None:
        for _ in range(2):
            assert poll_all(index.open(ALPHA, ALPHA_SDIST[0])) == ALPHA_SDIST[1]

    @pytest.mark.parametrize(
        ("start", "stop"), [(0, 10), (5, None), (100_000, 170_000), (-7, None), (-999_999_999, None), (3, 999_999_999)]
    )
    def test_ranges(self, index: Index, start: int, stop: int | None) -> None:
        filename, data = ALPHA_SDIST
        for _ in range(2):
            blob = index.open(ALPHA, filename, start, stop)
            first = max(0, len(data) + start) if start < 0 else start
            assert poll_all(blob) == data[first:stop]
            assert (blob.start, blob.stop) == (first, len(data) if stop is None else min(stop, len(data)))

    def test_a_range_behind_the_end(self, index: Index) -> None:
        filename, data = ALPHA_WHEEL
        for start in (len(data), len(data) + 1):
            with pytest.raises(BadRange) as caught:
                read_all(index.open(ALPHA, filename, start))
            assert caught.value.size == len(data)

    def test_metadata(self, index: Index) -> None:
        filename = f"{ALPHA_WHEEL[0]}.metadata"
        assert read_all(index.open(ALPHA, filename)) == ALPHA_METADATA
        assert read_all(index.open(ALPHA, filename, 9, 20)) == ALPHA_METADATA[9:20]
        told = self.files(index, "alpha")[ALPHA_WHEEL[0]].core_metadata
        assert told == {"sha256": hashlib.sha256(ALPHA_METADATA).hexdigest()}

    def test_signature(self, index: Index) -> None:
        filename = f"{ALPHA_SDIST[0]}.asc"
        for _ in range(2):
            assert read_all(index.open(ALPHA, filename)) == ALPHA_SIGNATURE
        assert read_all(index.open(ALPHA, filename, -5)) == ALPHA_SIGNATURE[-5:]

    @pytest.mark.parametrize(
        ("project", "filename"),
        [
            ("alpha", "alpha-9.0-py3-none-any.whl"),
            ("alpha", "alpha-9.0-py3-none-any.whl.metadata"),
            ("alpha", f"{ALPHA_WHEEL[0]}.asc"),
            ("alpha", f"{ALPHA_SDIST[0]}.metadata"),
            ("alpha", f"{ALPHA_WHEEL[0]}.provenance"),
            ("alpha", f"{ALPHA_WHEEL[0]}.metadata.metadata"),
            ("alpha", BETA_WHEEL[0]),
            ("beta", ALPHA_WHEEL[0]),
            ("nobody", ALPHA_WHEEL[0]),
            ("alpha", "../beta/" + BETA_WHEEL[0]),
            ("alpha", ""),
        ],
    )
    def test_what_a_project_does_not_list_is_not_opened(self, index: Index, project: str, filename: str) -> None:
        """ "`open` obeys the same rule as `project`, else a hidden file is one URL away"."""
        read_all(index.open(ALPHA, ALPHA_WHEEL[0]))
        read_all(index.open(BETA, BETA_WHEEL[0]))
        with pytest.raises(NotFound):
            index.open(normalize(project), filename)
