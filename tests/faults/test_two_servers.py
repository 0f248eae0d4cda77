"""Two servers on one ROOT: each sees at once what the other publishes, and a name has one digest for ever."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.clients import Answer, Login, ask, listed, upload
from support.faulty import until
from support.packages import make_wheel, sha256
from support.server import CaseusServer
from support.upstream import FakeUpstream

NAMES = 15
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


def test_one_digest_a_name(servers: Servers) -> None:
    """Four builds of each name race through both: one wins, the others are told so; equal bytes are welcome twice."""
    login = ("__token__", servers[0].token("admin"))
    outcomes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    tries = [
        (server, make_wheel("acme", f"1.{number}", content=f"# build {build}\n".encode()))
        for number in range(NAMES)
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
    assert pages[0] == pages[1] and len(pages[0]) == NAMES
    for filename, entry in pages[0].items():
        winner = entry["hashes"]["sha256"]
        for digest, statuses in outcomes[filename].items():
            assert statuses == ([200, 200] if digest == winner else [409, 409])
        for server in servers:
            assert sha256(ask(f"{server.url}simple/acme/{filename}").body) == winner
    assert servers[0].cli("verify").returncode == 0


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
