"""An upstream through the cache, as an Index; and what it does over time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from caseus.errors import Conflict, NotFound, Unavailable
from caseus.index import Index
from caseus.render.links import best_hash
from caseus.storage import file_key
from caseus.upstream.digests import digest_of
from conformance.index_conformance import (
    ALPHA,
    ALPHA_METADATA,
    ALPHA_SDIST,
    ALPHA_SIGNATURE,
    ALPHA_WHEEL,
    BETA,
    BETA_WHEEL,
    NOBODY,
    YANKED,
    IndexConformance,
    read_all,
)
from support.packages import make_wheel
from support.proxied import Proxied
from support.upstream import FakeUpstream, Fault, Options

PAGE = "/simple/alpha/"
WHEEL_PATH = f"/files/alpha/{ALPHA_WHEEL[0]}"


def content(**wheel: object) -> dict[str, list[tuple[str, bytes, Options]]]:
    return {
        "alpha": [
            (*ALPHA_WHEEL, Options(requires_python=">=3.8", **wheel)),  # type: ignore[arg-type]
            (*ALPHA_SDIST, Options(signature=ALPHA_SIGNATURE, gpg_sig=True)),
        ],
        "beta": [(*BETA_WHEEL, Options(yanked=YANKED))],
    }


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(content()) as server:
        yield server


@pytest.fixture
def proxied(tmp_path: Path, upstream: FakeUpstream) -> Iterator[Proxied]:
    with Proxied(tmp_path / "root", upstream) as made:
        yield made


class TestJsonUpstream(IndexConformance):
    @pytest.fixture
    def index(self, proxied: Proxied) -> Index:
        return proxied.proxy


class TestPlainUpstream(IndexConformance):
    """HTML without a Content-Type, without ETags and ranges, with the metadata beside the wheel."""

    @pytest.fixture
    def index(self, proxied: Proxied, upstream: FakeUpstream) -> Index:
        upstream.projects = dict(content(metadata=ALPHA_METADATA))
        upstream.style, upstream.ranges, upstream.etags, upstream.content_types = "html", False, False, False
        upstream.links = "absolute"
        return proxied.proxy

    def test_project(self, index: Index) -> None:
        """HTML tells no size: it is there once the file was seen."""
        assert {file.size for file in index.project(ALPHA).files} == {None}
        for filename, _ in (ALPHA_WHEEL, ALPHA_SDIST):
            read_all(index.open(ALPHA, filename))
        super().test_project(index)


class TestPages:
    def test_fresh_for_a_while_then_revalidated(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        first = proxied.proxy.project(ALPHA)
        now = proxied.clock.now
        assert first.validity.until == now + 600
        assert (first.validity.fetched, first.hosted) == (now, False)
        proxied.clock.now += 599
        proxied.proxy.project(ALPHA)
        assert upstream.count(PAGE) == 1
        sent = upstream.sent
        proxied.clock.now += 1
        second = proxied.proxy.project(ALPHA)
        assert upstream.count(PAGE) == 2
        assert "if-none-match" in upstream.requests[-1].headers
        assert upstream.sent == sent  # the second answer was a 304
        assert second.validity.serials == first.validity.serials
        assert (second.validity.until, second.validity.fetched) == (now + 1200, now + 600)
        assert second.files == first.files
        proxied.proxy.project(ALPHA)
        assert upstream.count(PAGE) == 2

    def test_changes_move_the_serial(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        first = proxied.proxy.project(ALPHA)
        assert proxied.catalog.is_current(first.validity, proxied.clock.now)
        upstream.projects["alpha"] = [*upstream.projects["alpha"], make_wheel("alpha", "2.0")]
        proxied.clock.now += 600
        assert proxied.proxy.project(ALPHA).versions == ("1.0", "2.0")
        assert not proxied.catalog.is_current(first.validity, proxied.clock.now - 600)

    def test_stale_while_the_upstream_fails_and_not_asked_for_a_while(
        self, proxied: Proxied, upstream: FakeUpstream
    ) -> None:
        fresh = proxied.proxy.project(ALPHA)
        proxied.proxy.project(BETA)
        proxied.clock.now += 600
        upstream.fail(Fault("html"))
        stale = proxied.proxy.project(ALPHA)
        assert stale.validity.stale
        assert stale.files == fresh.files
        assert stale.validity.until == proxied.clock.now + 10
        assert upstream.count(PAGE) == 2
        proxied.clock.now += 9
        assert proxied.proxy.project(ALPHA).validity.stale
        assert upstream.count(PAGE) == 2
        assert proxied.proxy.project(BETA).validity.stale  # one page's fault says nothing of another
        assert upstream.count("/simple/beta/") == 2
        upstream.heal()
        proxied.clock.now += 1
        assert not proxied.proxy.project(ALPHA).validity.stale
        assert upstream.count(PAGE) == 3

    def test_an_unplugged_upstream_is_left_alone_for_all_that_we_have(
        self, proxied: Proxied, upstream: FakeUpstream
    ) -> None:
        proxied.proxy.project(ALPHA)
        proxied.proxy.project(BETA)
        proxied.clock.now += 600
        upstream.down()
        assert proxied.proxy.project(ALPHA).validity.stale
        upstream.up()
        upstream.forget()
        assert proxied.proxy.project(BETA).validity.stale
        assert upstream.requests == []
        with pytest.raises(NotFound):  # what we have not is asked for, and the answer ends the pause
            proxied.proxy.project(NOBODY)
        assert not proxied.proxy.project(BETA).validity.stale

    def test_retry_after_is_kept(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        proxied.proxy.project(ALPHA)
        proxied.clock.now += 600
        upstream.fail(Fault("status", status=503, retry_after=30))
        assert proxied.proxy.project(ALPHA).validity.until == proxied.clock.now + 30

    def test_nothing_older_is_an_error(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.fail(Fault("status", status=500))
        for ask in (proxied.proxy.project, proxied.proxy.knows):
            with pytest.raises(Unavailable):
                ask(ALPHA)
        with pytest.raises(Unavailable):
            proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])

    def test_a_project_that_goes_away(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        first = proxied.proxy.project(ALPHA)
        read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0]))
        del upstream.projects["alpha"]
        proxied.clock.now += 600
        with pytest.raises(NotFound) as caught:
            proxied.proxy.project(ALPHA)
        assert caught.value.validity is not None
        assert caught.value.validity.until == proxied.clock.now + 30
        assert not proxied.catalog.is_current(first.validity, 0)
        with pytest.raises(NotFound):
            proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])
        assert not proxied.proxy.knows(ALPHA)

    def test_one_request_however_many_ask(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        with ThreadPoolExecutor(16) as pool:
            projects = list(pool.map(lambda _: proxied.proxy.project(ALPHA), range(64)))
        # Who reads the page just as it is kept may have an older serial with it, and reads it again.
        assert all(project.files == projects[0].files != () for project in projects)
        assert upstream.count(PAGE) == 1

    def test_a_clock_that_was_set_back(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        proxied.proxy.project(ALPHA)
        proxied.clock.now -= 365 * 86_400
        proxied.proxy.project(ALPHA)
        assert upstream.count(PAGE) == 2

    def test_the_first_listing_fetches_no_file(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        proxied.proxy.project(ALPHA)
        assert [request.path for request in upstream.requests] == [PAGE]

    def test_a_quarantined_project_offers_nothing(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        body = (
            b'{"files":[{"filename":"alpha-1.0.zip","url":"a","hashes":{}}],"project-status":{"status":"quarantined"}}'
        )
        upstream.fail(Fault("raw", body=body), PAGE)
        project = proxied.proxy.project(ALPHA)
        assert (project.status, project.files) == ("quarantined", ())
        with pytest.raises(NotFound):
            proxied.proxy.open(ALPHA, "alpha-1.0.zip")


class TestFacts:
    def test_what_is_seen_is_told(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.style = "html"
        upstream.projects["alpha"] = [(*ALPHA_WHEEL, Options(hashes=False, metadata=None))]
        (before,) = proxied.proxy.project(ALPHA).files
        assert (before.hashes, before.size, before.upload_time, before.core_metadata) == ({}, None, None, True)
        assert (before.url, before.metadata_url, before.sig_url) == (None, None, None)
        assert read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])) == ALPHA_WHEEL[1]
        read_all(proxied.proxy.open(ALPHA, f"{ALPHA_WHEEL[0]}.metadata"))
        (after,) = proxied.proxy.project(ALPHA).files
        assert after.hashes == {"sha256": hashlib.sha256(ALPHA_WHEEL[1]).hexdigest()}
        assert after.size == len(ALPHA_WHEEL[1])
        assert after.upload_time == datetime(2024, 1, 1, tzinfo=UTC)
        assert after.core_metadata == {"sha256": hashlib.sha256(ALPHA_METADATA).hexdigest()}

    def test_the_upstreams_upload_time_wins(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.projects["alpha"] = [(*ALPHA_WHEEL, Options(upload_time="2023-01-02T03:04:05Z"))]
        read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0]))
        (file,) = proxied.proxy.project(ALPHA).files
        assert file.upload_time == datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC)

    def test_the_first_digest_stays(
        self, proxied: Proxied, upstream: FakeUpstream, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = hashlib.sha256(ALPHA_WHEEL[1]).hexdigest()
        read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0]))
        other = make_wheel("alpha", "1.0", content=b"# changed")
        upstream.projects["alpha"] = [other]
        proxied.clock.now += 600
        (file,) = proxied.proxy.project(ALPHA).files
        assert file.hashes == {"sha256": first}
        assert "upstream.digest_changed" in capsys.readouterr().out
        assert read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])) == ALPHA_WHEEL[1]
        proxied.store.delete(file_key(proxied.proxy.tree, "alpha", ALPHA_WHEEL[0]))
        with pytest.raises(Unavailable, match="another sha256"):
            proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])
        assert upstream.count(WHEEL_PATH) == 1


class TestSidecars:
    def test_metadata_by_ranges(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        big = make_wheel("alpha", "1.0", files={"alpha/blob": hashlib.shake_256(b"b").digest(1_000_000)})
        upstream.projects["alpha"] = [big]
        text = read_all(proxied.proxy.open(ALPHA, f"{big[0]}.metadata"))
        assert b"Name: alpha" in text
        assert upstream.sent < 150_000
        assert {request.headers.get("range", "")[:6] for request in upstream.requests[1:]} == {"bytes="}
        upstream.forget()
        assert read_all(proxied.proxy.open(ALPHA, f"{big[0]}.metadata")) == text
        assert upstream.requests == []
        assert proxied.catalog.fetched(proxied.proxy.tree, "alpha", big[0]).stored is False  # type: ignore[union-attr]

    def test_metadata_of_the_whole_wheel_where_ranges_are_refused(
        self, proxied: Proxied, upstream: FakeUpstream
    ) -> None:
        upstream.ranges = False
        assert read_all(proxied.proxy.open(ALPHA, f"{ALPHA_WHEEL[0]}.metadata")) == ALPHA_METADATA
        upstream.forget()
        assert read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])) == ALPHA_WHEEL[1]
        assert upstream.requests == []

    def test_metadata_of_a_cached_wheel_asks_nobody(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.projects = dict(content(metadata=ALPHA_METADATA))
        read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0]))
        upstream.down()
        assert read_all(proxied.proxy.open(ALPHA, f"{ALPHA_WHEEL[0]}.metadata")) == ALPHA_METADATA

    @pytest.mark.parametrize("fault", [Fault("other"), Fault("status", status=404), Fault("status"), Fault("html")])
    def test_a_bad_sidecar_is_made_good_from_the_wheel(
        self, proxied: Proxied, upstream: FakeUpstream, fault: Fault
    ) -> None:
        upstream.projects = dict(content(metadata=ALPHA_METADATA))
        upstream.fail(fault, f"{WHEEL_PATH}.metadata")
        assert read_all(proxied.proxy.open(ALPHA, f"{ALPHA_WHEEL[0]}.metadata")) == ALPHA_METADATA

    @pytest.mark.parametrize("fault", [Fault("other"), Fault("status", status=404), Fault("html"), Fault("hang")])
    def test_metadata_that_can_not_be_had_is_never_not_found(
        self, proxied: Proxied, upstream: FakeUpstream, fault: Fault
    ) -> None:
        proxied.proxy.project(ALPHA)
        upstream.fail(fault)
        with pytest.raises(Unavailable) as caught:
            proxied.proxy.open(ALPHA, f"{ALPHA_WHEEL[0]}.metadata")
        assert caught.value.kind == ("timeout" if fault.kind == "hang" else "upstream")

    def test_advertised_metadata_must_have_its_digest(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        upstream.projects = dict(content(metadata=b"Metadata-Version: 2.1\nName: alpha\nVersion: 6\n"))
        upstream.fail(Fault("other"), f"{WHEEL_PATH}.metadata")
        with pytest.raises(Unavailable, match="wrong sha256"):
            proxied.proxy.open(ALPHA, f"{ALPHA_WHEEL[0]}.metadata")

    def test_signatures_that_are_none(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        proxied.proxy.project(ALPHA)
        upstream.fail(Fault("raw", body=b"hello"), f"/files/alpha/{ALPHA_SDIST[0]}.asc")
        with pytest.raises(Unavailable):
            proxied.proxy.open(ALPHA, f"{ALPHA_SDIST[0]}.asc")


class TestFiles:
    def test_cached_files_are_served_without_page_and_upstream(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        for filename in (ALPHA_WHEEL[0], f"{ALPHA_WHEEL[0]}.metadata"):
            read_all(proxied.proxy.open(ALPHA, filename))
        proxied.catalog.drop_page(proxied.proxy.tree, "alpha")
        upstream.down()
        assert read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])) == ALPHA_WHEEL[1]
        assert read_all(proxied.proxy.open(ALPHA, f"{ALPHA_WHEEL[0]}.metadata")) == ALPHA_METADATA
        with pytest.raises(Unavailable):
            proxied.proxy.open(ALPHA, ALPHA_SDIST[0])

    def test_the_folder_may_be_deleted_at_any_time(self, proxied: Proxied, upstream: FakeUpstream) -> None:
        names = (ALPHA_WHEEL[0], f"{ALPHA_WHEEL[0]}.metadata")
        first = [read_all(proxied.proxy.open(ALPHA, name)) for name in names]
        for key in list(proxied.store.keys("fetched/")):
            proxied.store.delete(key)
        assert [read_all(proxied.proxy.open(ALPHA, name)) for name in names] == first
        assert upstream.count(WHEEL_PATH) == 2

    def test_damage_is_fetched_again(self, proxied: Proxied) -> None:
        read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0]))
        key = file_key(proxied.proxy.tree, "alpha", ALPHA_WHEEL[0])
        proxied.store.replace(key, io.BytesIO(ALPHA_WHEEL[1][:100]))
        assert read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])) == ALPHA_WHEEL[1]


@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("algorithm", ["md5", "sha512", "blake2b_256", "sha1"])
def test_a_file_without_sha256_gets_it_at_its_first_download(
    proxied: Proxied, upstream: FakeUpstream, algorithm: str, style: Literal["json", "html"]
) -> None:
    """Whatever else the upstream tells stays, and the page's serial moves, so that ready pages are made anew."""
    upstream.style = style
    data = ALPHA_WHEEL[1]
    told = {algorithm: digest_of(algorithm, data)}
    upstream.projects["alpha"] = [(*ALPHA_WHEEL, Options(hashes=told))]
    before = proxied.proxy.project(ALPHA)
    assert before.files[0].hashes == told
    read_all(proxied.proxy.open(ALPHA, ALPHA_WHEEL[0]))
    after = proxied.proxy.project(ALPHA)
    assert after.files[0].hashes == told | {"sha256": hashlib.sha256(data).hexdigest()}
    assert best_hash(after.files[0].hashes) == f"sha256={hashlib.sha256(data).hexdigest()}"
    assert not proxied.catalog.is_current(before.validity, proxied.clock())


def test_what_an_import_knew_binds(proxied: Proxied, upstream: FakeUpstream) -> None:
    """Its sha256 is served, and bytes with another one are refused; the size is the upstream's own word."""
    proxied.catalog.save_known(proxied.proxy.tree, "alpha", ALPHA_WHEEL[0], sha256="0" * 64)
    file = next(file for file in proxied.proxy.project(ALPHA).files if file.filename == ALPHA_WHEEL[0])
    assert file.hashes["sha256"] == "0" * 64 and file.size == len(ALPHA_WHEEL[1])
    with pytest.raises(Unavailable, match="another sha256"):
        proxied.proxy.open(ALPHA, ALPHA_WHEEL[0])
    with pytest.raises(Conflict):
        proxied.catalog.save_known(proxied.proxy.tree, "alpha", ALPHA_WHEEL[0], sha256="1" * 64)
