"""kill -9 at each step of `reindex`, `backup` and `restore`: what was there before is there, or what was to come is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from caseus.catalog import Catalog, HostedFile, Tombstone
from caseus.errors import Invalid, Unavailable
from caseus.site import MAIN, Site, build
from caseus.storage import hosted_tree
from caseus.storage.filesystem import FilesystemStorage
from caseus.upkeep.manifest import NoBackup
from caseus.upkeep.reindex import state_of
from caseus.upkeep.restore import open_backup, restore
from caseus.verify import verify
from faults.dying_worker import publish
from support.dying import Outcome, Worker, each_step
from support.figures import Figures
from support.packages import make_wheel
from support.web import make_config

FIRST, SECOND, THIRD, BAD = (make_wheel("acme", version) for version in ("1.0", "2.0", "3.0", "0.1"))
TREE = hosted_tree(MAIN)

pytestmark = pytest.mark.usefixtures("no_certificates")


@pytest.fixture
def stride(rounds: Callable[[int, int], int]) -> int:
    """Every third step; every one in the long form."""
    return rounds(3, 1)


class Facts(NamedTuple):
    files: list[HostedFile]
    tombstones: list[Tombstone]
    users: list[str]


def facts(catalog: Catalog) -> Facts:
    users = [user.name for user in catalog.users()]
    return Facts(list(catalog.all_hosted()), catalog.tombstones(TREE, "acme"), users)


def names(facts: Facts) -> list[tuple[str, str]]:
    """What binds. The rest of the latest facts is told by no list yet: `reindex` takes such a file by its bytes."""
    hosted = [(file.filename, file.sha256) for file in facts.files]
    return hosted + [(grave.filename, grave.sha256) for grave in facts.tombstones]


def opened(root: Path) -> Facts:
    """What a server would start with; the lists beside the files are made good by its start, as after any kill."""
    site = build(make_config(root))
    try:
        assert damages(site.catalog, root) == []
        return facts(site.catalog)
    finally:
        site.close()


def damages(catalog: Catalog, root: Path) -> list[tuple[str, str]]:
    return [(each.kind, each.key) for each in verify(catalog, FilesystemStorage(root), settle=lambda: None)]


def build_index(root: Path, use: Callable[[Site], None]) -> None:
    site = build(make_config(root))
    use(site)
    site.close()


def first(site: Site) -> None:
    publisher = site.indexes[MAIN].publisher
    site.catalog.add_user("alice", password_hash="x", admin=False, actor="test")
    for version, file in (("0.1", BAD), ("1.0", FIRST)):
        assert publish(publisher, "acme", version, *file) == "published"
    publisher.delete(publisher.select("acme==0.1"), "a mistake", "alice")


def second(site: Site) -> None:
    publisher = site.indexes[MAIN].publisher
    publisher.yank(publisher.select("acme==1.0"), "breaks", "alice")
    assert publish(publisher, "acme", "2.0", *SECOND) == "published"


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
def test_reindex(worker: Worker, memory: Path, figures: Figures, stride: int, damaged: bool) -> None:
    """Of an index whose last server was killed: its latest facts are in SQLite's log only."""
    template = memory / "template"
    build_index(template, first)
    before = kill_after_publishing(worker, memory, template)
    if damaged:
        damage(template)
    kills = 0
    for root, outcome in each_step(
        template, memory, lambda root, step, torn: worker.run("reindex", root, step, torn=torn), stride
    ):
        kills += outcome.killed
        told = f"killed at step {len(outcome.steps)}: {outcome.steps[-3:]}"
        state = state_of(root)
        if state == "whole":
            assert names(opened(root)) == names(before), told
        else:
            with pytest.raises((Unavailable, Invalid), match="caseus reindex"):
                opened(root)
        assert worker.run("reindex", root).said == ["rebuilt"]
        after = opened(root)
        assert names(after) == names(before), told
        assert damaged or after.users == before.users, told
    figures.add("kill -9 at each step", {"in a reindex": kills})
    assert kills > 20 / stride


def kill_after_publishing(worker: Worker, memory: Path, root: Path) -> Facts:
    """One more release, by a process that is killed when it is durable. The facts that an index has from then on."""
    wheel = memory / THIRD[0]
    wheel.write_bytes(THIRD[1])
    probe = memory / "probe"
    shutil.copytree(root, probe)
    job: dict[str, Any] = {"upstreams": [], "file": wheel, "name": "acme", "version": "3.0"}
    steps = worker.run("upload", probe, **job).steps
    shutil.rmtree(probe)
    durable = max(number for number, step in enumerate(steps, 1) if step == "COMMIT" and "write" in steps[number:])
    assert worker.run("upload", root, durable + 1, **job).killed
    assert (root / "catalog.sqlite-wal").stat().st_size > 0
    shutil.copytree(root, probe)
    found = opened(probe)
    shutil.rmtree(probe)
    assert [file.filename for file in found.files] == [FIRST[0], THIRD[0]]
    return found


def damage(root: Path) -> None:
    """The schema is gone: SQLite says "malformed", whatever is asked."""
    with open(root / "catalog.sqlite", "r+b") as file:
        file.seek(100)
        file.write(bytes(4000))
    for ending in ("-wal", "-shm"):
        (root / f"catalog.sqlite{ending}").unlink()


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "second"])
def test_backup(worker: Worker, memory: Path, figures: Figures, stride: int, earlier: bool) -> None:
    """Whatever is killed, there is the earlier backup or the new one, and each can be restored as a whole."""
    template = memory / "template"
    index = template / "index"
    build_index(index, first)
    wanted = [opened(index)]
    if earlier:
        assert worker.run("backup", template).said == ["backed up"]
    build_index(index, second)
    wanted.append(opened(index))

    def back_up(root: Path, step: int = 0, torn: bool = False) -> Outcome:
        return worker.run("backup", root, step, torn=torn)

    kills = 0
    for root, outcome in each_step(template, memory, back_up, stride):
        kills += outcome.killed
        told = f"killed at step {len(outcome.steps)}: {outcome.steps[-3:]}"
        try:
            assert restored(root) in wanted, told
        except NoBackup:
            assert not earlier, told
        assert opened(root / "index") == wanted[1], told
        assert back_up(root).said == ["backed up"], told
        assert restored(root) == wanted[1], told
    figures.add("kill -9 at each step", {"in a backup": kills})
    assert kills > 20 / stride


def restored(folder: Path) -> Facts:
    target = folder / "restored"
    try:
        assert restore(folder / "backup", target, open_backup(folder / "backup")) == []
        return opened(target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def test_restore(worker: Worker, memory: Path, figures: Figures, stride: int) -> None:
    """A folder that was not wholly restored has no catalog, and with files but without a catalog nothing is served."""
    template = memory / "template"
    build_index(template / "index", first)
    build_index(template / "index", second)
    wanted = opened(template / "index")
    assert worker.run("backup", template).said == ["backed up"]
    kills = 0
    for root, outcome in each_step(
        template, memory, lambda root, step, torn: worker.run("restore", root, step, torn=torn), stride
    ):
        kills += outcome.killed
        told = f"killed at step {len(outcome.steps)}: {outcome.steps[-3:]}"
        folder = root / "restored"
        if (folder / "catalog.sqlite").exists():
            assert opened(folder) == wanted, told
        elif list(folder.glob("files/*/*/*")):
            with pytest.raises(Unavailable, match="is gone"):
                opened(folder)
        shutil.rmtree(folder, ignore_errors=True)
        assert worker.run("restore", root).said == ["restored"]
        assert opened(folder) == wanted, told
    figures.add("kill -9 at each step", {"in a restore": kills})
    assert kills > 20 / stride
