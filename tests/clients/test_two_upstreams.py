"""Two upstreams under one URL, as clients see them: accelerated builds beside the public ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import Shell, ask, installed, listed, upload
from support.packages import make_wheel
from support.server import CaseusServer
from support.upstream import FakeUpstream, Fault

each_client = pytest.mark.parametrize("client", ["pip", "uv"])


class Two:
    """A server that merges `torchy*` of both, and else takes the first that knows a name."""

    def __init__(self, server: CaseusServer, accelerated: FakeUpstream, public: FakeUpstream) -> None:
        self.server, self.accelerated, self.public = server, accelerated, public

    @property
    def index(self) -> str:
        return f"{self.server.url}simple/"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    with FakeUpstream() as accelerated, FakeUpstream() as public:
        (folder / "caseus.toml").write_text(
            f"""
            [index.main]
            union = ["torchy*"]
            [[index.main.upstreams]]
            url = "{accelerated.url}"
            projects = ["torchy*", "nvidia-*"]
            [[index.main.upstreams]]
            url = "{public.url}"
            """
        )
        accelerated.projects = {
            "torchy": [make_wheel("torchy", "2.3.0+cu121", requires=["nvidia-thing"])],
            "nvidia-thing": [make_wheel("nvidia-thing", "12.1")],
            "other": [make_wheel("other", "9.0")],
        }
        public.projects = {
            "torchy": [make_wheel("torchy", "2.3.0"), make_wheel("torchy", "2.2.0")],
            "nvidia-thing": [make_wheel("nvidia-thing", "99.0")],
            "other": [make_wheel("other", "1.0", requires=["torchy==2.3.0"])],
        }
        environ = {"CASEUS_CONFIG": str(folder / "caseus.toml")}
        with CaseusServer(folder / "root", upstream=None, environ=environ) as server:
            yield Two(server, accelerated, public)


def test_the_page_has_the_files_of_both(two: Two) -> None:
    assert len(listed(two.server.url, "torchy")) == 3


@each_client
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("torchy", {"torchy": "2.3.0+cu121", "nvidia-thing": "12.1"}),  # a local version is the higher one (PEP 440)
        ("torchy==2.3.0+cu121", {"torchy": "2.3.0+cu121", "nvidia-thing": "12.1"}),
        ("torchy==2.2.0", {"torchy": "2.2.0"}),
        ("other", {"other": "1.0", "torchy": "2.3.0+cu121", "nvidia-thing": "12.1"}),  # and fits ==2.3.0
    ],
)
def test_install(two: Two, shell: Shell, client: str, wanted: str, expected: dict[str, str], tmp_path: Path) -> None:
    shell.install(client, two.index, wanted, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == expected
    assert two.accelerated.count("/simple/other/") == two.public.count("/simple/nvidia-thing/") == 0


@each_client
def test_neither_goes_on_where_one_fails(two: Two, shell: Shell, client: str, tmp_path: Path) -> None:
    """Not with half of the files: then it would install a build that nobody asked for."""
    name = f"torchy-late-{client}"
    two.accelerated.projects[name] = [make_wheel(name, "1.0+cu121")]
    two.public.projects[name] = [make_wheel(name, "1.0")]
    two.accelerated.fail(Fault("status", status=500), f"/simple/{name}/")
    shell.env["PIP_RETRIES"] = shell.env["UV_HTTP_RETRIES"] = "0"
    shell.install(client, two.index, name, into=tmp_path / "site").failed()
    answer = ask(f"{two.index}{name}/")
    assert answer.status == 502
    assert two.accelerated.origin in answer.headers["X-Error-Message"]
    two.accelerated.heal()
    shell.install(client, two.index, name, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {name: "1.0+cu121"}


@each_client
def test_ours_comes_before_both(two: Two, shell: Shell, client: str, tmp_path: Path) -> None:
    name = f"torchy-ours-{client}"
    for upstream in (two.accelerated, two.public):
        upstream.projects[name] = [make_wheel(name, "9.0")]
    assert upload(two.server.url, *make_wheel(name, "1.0"), login=two.server.admin).status == 200
    shell.install(client, two.index, name, into=tmp_path / "site").ok()
    assert installed(tmp_path / "site") == {name: "1.0"}
    assert two.accelerated.count(f"/simple/{name}/") == two.public.count(f"/simple/{name}/") == 0


def test_a_client_can_not_make_us_ask_again(two: Two) -> None:
    """pip sends `Cache-Control: max-age=0` with every page."""
    url = f"{two.index}torchy/"
    assert ask(url).status == 200
    before = two.public.count("/simple/torchy/")
    for control in ("max-age=0", "no-cache", "no-store", "no-cache, max-age=0"):
        assert ask(url, headers={"Cache-Control": control, "Pragma": "no-cache"}).status == 200
    assert two.public.count("/simple/torchy/") == before
