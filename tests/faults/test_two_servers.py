"""Two servers on one ROOT: each sees at once what the other publishes, and a name has one digest for ever."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from caseus.errors import NotFound
from caseus.site import MAIN, build
from support.clients import Answer, Login, ask, listed, upload
from support.faulty import until
from support.figures import Figures
from support.packages import make_wheel, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream
from support.web import make_config

BUILDS = 4

Servers = tuple[CaseusServer, CaseusServer]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream({"cold": [make_wheel("cold", "1.0", files={"padding": bytes(300_000)}, compress=False)]}) as made:
        yield made


@pytest.fixture
def servers(tmp_path: Path, upstream: FakeUpstream) -> Iterator[Servers]:
    root = tmp_path / "root"
    with CaseusServer(root, upstream=upstream.url) as one, CaseusServer(root, upstream=upstream.url) as two:
        yield one, two


def persist(server: CaseusServer, file: tuple[str, bytes], login: Login) -> Answer:
    """An upload as a client makes it that heeds "another upload runs: try again"."""
    answers: list[Answer] = []

    def settled() -> bool:
        answers.append(upload(server.url, *file, login=login))
        return answers[-1].status != 503

    until(settled)
    return answers[-1]


def test_one_digest_a_name(servers: Servers, rounds: Callable[[int, int], int], figures: Figures) -> None:
    """Four builds of each name race through both: one wins, the others are told so; equal bytes are welcome twice."""
    login = ("__token__", servers[0].token("admin"))
    names = rounds(15, 200)
    outcomes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    tries = [
        (server, make_wheel("acme", f"1.{number}", content=f"# build {build}\n".encode()))
        for number in range(names)
        for build in range(BUILDS)
        for server in servers
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: persist(each[0], each[1], login), tries))
    for (_, (filename, data)), answer in zip(tries, answers, strict=True):
        assert answer.status in (200, 409), f"{answer.status} {answer.reason}"
        assert answer.status == 200 or answer.reason.startswith("File already exists")
        outcomes[filename][sha256(data)].append(answer.status)
    pages = [listed(server.url, "acme") for server in servers]
    assert pages[0] == pages[1] and len(pages[0]) == names
    for filename, entry in pages[0].items():
        winner = entry["hashes"]["sha256"]
        for digest, statuses in outcomes[filename].items():
            assert statuses == ([200, 200] if digest == winner else [409, 409])
        for server in servers:
            assert sha256(ask(f"{server.url}simple/acme/{filename}").body) == winner
    assert servers[0].cli("verify").returncode == 0
    two = sum(list(digests.values()).count([200, 200]) != 1 for digests in outcomes.values())
    figures.add("builds that race for a name", {"names": names, "uploads": len(tries), "names with two digests": two})
    assert two == 0


def test_deleted_while_it_is_uploaded(servers: Servers, rounds: Callable[[int, int], int], figures: Figures) -> None:
    """Whatever comes first, a name is acknowledged for one digest only, and once deleted for none."""
    login = ("__token__", servers[0].token("admin"))
    counts = dict.fromkeys(("names", "uploads acknowledged", "of them deleted", "names with two digests"), 0)
    site = build(make_config(servers[0].root))
    publisher = site.indexes[MAIN].publisher

    def delete(filename: str, uploads: list[Future[Answer]]) -> bool:
        """As soon as it is there; False if it never was while they ran."""
        while not all(each.done() for each in uploads):
            with suppress(NotFound):
                publisher.delete(publisher.select(filename), "a race", "test")
                return True
        return False

    with ThreadPoolExecutor(8) as pool:
        for number in range(rounds(15, 150)):
            builds = [make_wheel("acme", f"1.{number}", content=f"# build {build}\n".encode()) for build in range(2)]
            tries = [(server, file) for file in builds for server in servers]
            answers = [pool.submit(persist, server, file, login) for server, file in tries]
            deletions = [pool.submit(delete, builds[0][0], answers) for _ in range(number % 3)]
            deleted = sum(each.result() for each in deletions) > 0
            acknowledged = {
                sha256(file[1])
                for (_, file), answer in zip(tries, answers, strict=True)
                if answer.result().status == 200
            }
            counts["names"] += 1
            counts["uploads acknowledged"] += len(acknowledged)
            counts["of them deleted"] += deleted
            counts["names with two digests"] += len(acknowledged) > 1
            page = listed(servers[number % 2].url, "acme")
            assert (builds[0][0] in page) == (not deleted)
            for server, file in tries:
                expected = 409 if deleted or sha256(file[1]) not in acknowledged else 200
                assert upload(server.url, *file, login=login).status == expected
    site.close()
    figures.add("uploads and deletions at once", counts)
    assert counts["names with two digests"] == 0
    assert counts["of them deleted"] > 0


def test_a_release_is_seen_by_the_other_at_the_next_request(servers: Servers) -> None:
    one, two = servers
    login = ("__token__", one.token("admin"))
    for number in range(20):
        filename, data = make_wheel("acme", f"1.{number}")
        assert upload(one.url, filename, data, login=login).status == 200
        assert filename in listed(two.url, "acme")
        one, two = two, one


def test_one_dies_and_the_other_goes_on(servers: Servers) -> None:
    """What the dead one acknowledged is there; what it was doing is nobody's burden; its own start finds its place."""
    one, two = servers
    login = ("__token__", one.token("admin"))
    acked: dict[str, str] = {}

    def publish_until_dead() -> None:
        for number in range(10_000):
            filename, data = make_wheel("acme", f"1.{number}")
            try:
                if upload(one.url, filename, data, login=login).status == 200:
                    acked[filename] = sha256(data)
            except OSError:
                return

    with ThreadPoolExecutor(1) as pool:
        dying = pool.submit(publish_until_dead)
        until(lambda: len(acked) >= 20)
        one.kill()
        dying.result()
    page = {name: entry["hashes"]["sha256"] for name, entry in listed(two.url, "acme").items()}
    assert acked.items() <= page.items()
    assert persist(two, make_wheel("acme", "2.0"), login).status == 200
    one.start()
    assert listed(one.url, "acme") == listed(two.url, "acme")
    assert upload(one.url, *make_wheel("acme", "3.0"), login=login).status == 200
    assert len(listed(two.url, "acme")) == len(listed(one.url, "acme")) >= len(acked) + 2
    told = json.loads(two.cli("verify", "--json").stdout)
    assert told["files"] >= len(acked) + 2
    assert {each["kind"] for each in told["damages"]} <= {"extra"}  # bytes of the upload that died


def test_a_cold_file_is_fetched_once_for_both(servers: Servers, upstream: FakeUpstream) -> None:
    ((filename, data),) = ((entry[0], entry[1]) for entry in upstream.projects["cold"])
    with ThreadPoolExecutor(8) as pool:
        bodies = pool.map(lambda server: ask(f"{server.url}simple/cold/{filename}").body, servers * 4)
        assert {sha256(body) for body in bodies} == {sha256(data)}
    assert upstream.count(upstream.file_path("cold", filename)) == 1
