from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from caseus.errors import Conflict, NotFound, Unavailable
from caseus.storage import State
from caseus.storage.filesystem import FilesystemStorage
from caseus.storage.staging import IN_MEMORY
from caseus.storage.testing import put, read_all
from support.syncs import one_by_one

KEY = "files/main/acme-tool/acme_tool-1.0-py3-none-any.whl"


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(tmp_path / "root")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.write_bytes(b"precious")
    return path


@pytest.fixture(autouse=True)
def _every_descriptor_is_closed() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def incoming(store: FilesystemStorage) -> list[Path]:
    return list((store.root / ".incoming").iterdir())


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, times: int = 1) -> None:
    """Lets os.<name> fail with this errno the next few times."""
    real: Callable[..., Any] = getattr(os, name)
    left = [times]

    def fail(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number), "/secret/path")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, fail)


def test_the_root_and_what_it_holds_have_these_modes(tmp_path: Path) -> None:
    store = FilesystemStorage(tmp_path / "new" / "root")
    staged = store.stage()
    staged.write(bytes(IN_MEMORY))
    assert not (store.root / ".incoming").exists()
    staged.write(b"x")
    assert [mode(path) for path in incoming(store)] == [0o600]
    staged.commit(KEY)
    staged.close()
    assert mode(tmp_path / "new") == 0o700
    assert mode(store.root) == 0o700
    assert mode(store.root / ".incoming") == 0o700
    assert mode(store.path(KEY)) == 0o644
    assert mode(store.path(KEY).parent) == 0o755
    store.replace("files/main/acme-tool/packages.jsonl", io.BytesIO(b"{}"))
    assert mode(store.path("files/main/acme-tool/packages.jsonl")) == 0o644


def test_an_existing_root_keeps_its_mode_and_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o750)
    (tmp_path / "root").symlink_to("disk")
    store = FilesystemStorage(tmp_path / "root")
    put(store, KEY, b"x")
    assert read_all(store.open(KEY)) == b"x"
    assert mode(tmp_path / "disk") == 0o750


def test_the_tree_can_be_read_by_a_person(store: FilesystemStorage) -> None:
    put(store, KEY, b"x")
    assert store.path(KEY) == store.root / "files" / "main" / "acme-tool" / "acme_tool-1.0-py3-none-any.whl"
    assert store.path(KEY).read_bytes() == b"x"
    assert store.path(KEY).stat().st_nlink == 1
    assert store.path(".fill/a.part") == store.root / ".fill" / "a.part"


@pytest.mark.parametrize("target", ["outside", "nowhere"])
def test_a_link_planted_under_the_name_is_not_followed(
    store: FilesystemStorage, outside: Path, tmp_path: Path, target: str
) -> None:
    store.path(KEY).parent.mkdir(parents=True)
    store.path(KEY).symlink_to(tmp_path / target)
    with pytest.raises(Conflict):
        put(store, KEY, b"precious")
    with pytest.raises(Unavailable) as refused:
        store.open(KEY)
    assert refused.value.kind == "local" and str(tmp_path) not in str(refused.value)
    assert list(store.keys()) == []
    store.set_aside(KEY, "0" * 64)
    put(store, KEY, b"mine")
    assert not store.path(KEY).is_symlink() and store.path(KEY).read_bytes() == b"mine"
    assert outside.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_replace_and_delete_take_the_link_and_not_its_target(store: FilesystemStorage, outside: Path) -> None:
    store.path(KEY).parent.mkdir(parents=True)
    store.path(KEY).symlink_to(outside)
    store.replace(KEY, io.BytesIO(b"new"))
    assert store.path(KEY).read_bytes() == b"new" and not store.path(KEY).is_symlink()
    store.delete(KEY)
    store.path(KEY).parent.mkdir(parents=True, exist_ok=True)
    store.path(KEY).symlink_to(outside)
    store.delete(KEY)
    assert not store.path(KEY).is_symlink()
    assert outside.read_bytes() == b"precious"


@pytest.mark.parametrize("folder", ["files", "files/main", "files/main/acme-tool", ".incoming"])
def test_a_linked_folder_inside_the_root_is_refused(store: FilesystemStorage, tmp_path: Path, folder: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (store.root / folder).parent.mkdir(parents=True, exist_ok=True)
    (store.root / folder).symlink_to(elsewhere)
    writes: list[Callable[[], object]] = [
        lambda: put(store, KEY, b"x"),
        lambda: store.replace(KEY, io.BytesIO(b"x")),
    ]
    for act in writes:
        with pytest.raises(Unavailable) as refused:
            act()
        assert refused.value.kind == "local" and str(tmp_path) not in str(refused.value)
    if folder != ".incoming":
        others: list[Callable[[], object]] = [
            lambda: store.open(KEY),
            lambda: store.delete(KEY),
            lambda: store.set_aside(KEY, "0" * 64),
            lambda: list(store.keys(KEY)),
        ]
        for act in others:
            with pytest.raises(Unavailable):
                act()
    assert list(elsewhere.iterdir()) == []


def test_a_planted_pipe_holds_nobody_and_is_no_file(store: FilesystemStorage) -> None:
    store.path(KEY).parent.mkdir(parents=True)
    os.mkfifo(store.path(KEY))
    with pytest.raises(Unavailable):
        store.open(KEY)
    with pytest.raises(Conflict):
        put(store, KEY, b"x")
    assert list(store.keys()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync", "link", "mkdir"])
def test_a_full_disk_is_full_and_leaves_nothing(
    store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    put(store, "other/file", b"x")  # .incoming is there
    failing(monkeypatch, call, number)
    with pytest.raises(Unavailable) as refused:
        put(store, KEY, b"x")
    assert refused.value.kind == "full" and "/secret" not in str(refused.value)
    assert incoming(store) == []
    assert list(store.keys()) == ["other/file"]
    put(store, KEY, b"x")
    assert read_all(store.open(KEY)) == b"x"


@pytest.mark.parametrize("call", ["open", "write", "fchmod", "fsync", "link", "mkdir"])
def test_other_trouble_of_the_disk_is_local(
    store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    failing(monkeypatch, call, errno.EIO)
    with pytest.raises(Unavailable) as refused:
        put(store, KEY, b"x")
    assert refused.value.kind == "local"
    assert "Input/output error" in str(refused.value) and "/" not in str(refused.value).replace("Input/output", "")


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_after_a_failed_write_or_fsync_the_bytes_are_not_committed(
    store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A second fsync succeeds on Linux although the pages are lost."""
    staged = store.stage()
    staged.write(b"first")
    staged.write(bytes(IN_MEMORY))
    failing(monkeypatch, call, errno.EIO)
    with pytest.raises(Unavailable):
        staged.write(b"second") if call == "write" else staged.sync()
    for act in (staged.sync, lambda: staged.write(b"more"), lambda: staged.commit(KEY)):
        with pytest.raises(Unavailable, match="send the file again"):
            act()
    staged.close()
    assert list(store.keys()) == [] and incoming(store) == []


def test_short_writes_are_continued(store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    put(store, KEY, b"0123456789")
    assert store.path(KEY).read_bytes() == b"0123456789"


class Calls:
    """Records what is synced, linked, renamed and unlinked, in order, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.made: list[str] = []
        self.root = root
        one_by_one(monkeypatch)
        for name in ("fsync", "link", "rename", "unlink"):
            monkeypatch.setattr(os, name, self._recorder(name, getattr(os, name)))

    def _recorder(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "fsync":
                path = Path(os.readlink(f"/proc/self/fd/{args[0]}"))
                folder = path.relative_to(self.root).as_posix()
                self.made.append(f"fsync {'file' if path.is_file() else folder}")
            else:
                self.made.append(name)
            return real(*args, **kwargs)

        return call


def test_commit_syncs_the_file_then_names_it_then_syncs_the_folders(
    store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, store.root)
    put(store, "files/main/a.whl", b"x")
    folders = ["fsync files/main", "fsync files", "fsync ."]
    assert calls.made == ["fsync file", "link", *folders, "unlink"]
    calls.made.clear()
    put(store, "files/main/a.whl", b"x")
    assert calls.made == ["fsync file", "link", *folders, "unlink"], "also for what another one linked"


def test_what_was_linked_is_synced_with_everything_above_it(
    store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, store.root)
    keys = ["files/main/p/a.whl.metadata", "files/main/p/a.whl"]
    for key in keys:
        staged = store.stage()
        staged.write(key.encode())
        staged.link(key)
        staged.close()
    assert calls.made == ["link", "unlink"] * 2
    calls.made.clear()
    store.sync(keys)  # at once, in any order
    above = ["fsync files/main/p", "fsync files/main", "fsync files", "fsync ."]
    assert sorted(calls.made) == sorted(["fsync file"] * 2 + above)
    calls.made.clear()
    store.sync(keys, beside=True)
    assert sorted(calls.made) == sorted(["fsync file"] * 2 + above[:1])
    calls.made.clear()
    store.sync([*keys, "files/main/q/absent.whl"])
    assert sorted(calls.made) == sorted(["fsync file"] * 2 + above)


def test_a_sync_before_commit_is_not_repeated(store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, store.root)
    staged = store.stage()
    staged.write(b"x")
    staged.sync()
    staged.commit("a.whl")
    assert calls.made == ["fsync file", "link", "fsync .", "unlink"]
    staged.close()
    again = store.stage()
    again.sync()
    again.write(b"x")
    calls.made.clear()
    again.commit("b.whl")
    assert calls.made[0] == "fsync file", "what was written since needs another"
    again.close()


def test_replace_and_set_aside_and_delete_sync_too(store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, store.root)
    store.replace("p/list", io.BytesIO(b"x"))
    assert calls.made == ["fsync file", "rename", "fsync p", "fsync ."]
    calls.made.clear()
    store.set_aside("p/list", "0" * 64)
    assert calls.made == ["rename", "fsync .orphans", "fsync .", "fsync p", "fsync ."]
    store.replace("p/list", io.BytesIO(b"x"))
    calls.made.clear()
    store.delete("p/list")
    assert calls.made == ["unlink", "fsync p"]


def test_a_failed_replace_keeps_the_old(store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    store.replace("p/list", io.BytesIO(b"old"))
    failing(monkeypatch, "rename", errno.EIO)
    with pytest.raises(Unavailable):
        store.replace("p/list", io.BytesIO(b"new"))
    assert read_all(store.open("p/list")) == b"old"
    assert incoming(store) == []


def test_set_aside_keeps_the_bytes(store: FilesystemStorage) -> None:
    long = f"files/{'x' * 100}/{'y' * 100}/{'z' * 244}"
    for key, data in ((KEY, b"first"), (KEY, b"second"), (long, b"third")):
        put(store, key, data)
        store.set_aside(key, "0" * 64)
    orphans = sorted((store.root / ".orphans").iterdir(), key=lambda path: path.read_bytes())
    assert [path.read_bytes() for path in orphans] == [b"first", b"second", b"third"]
    assert orphans[0].name.startswith(KEY.replace("/", "%") + ".")
    assert mode(store.root / ".orphans") == 0o700


def test_keep_aside_leaves_the_key_as_it_is(store: FilesystemStorage) -> None:
    put(store, KEY, b"first")
    store.keep_aside(KEY)
    store.replace(KEY, io.BytesIO(b"second"))
    assert [path.read_bytes() for path in (store.root / ".orphans").iterdir()] == [b"first"]
    assert read_all(store.open(KEY)) == b"second"
    store.keep_aside("p/nothing")


def test_adopt_names_a_file_of_this_disk(store: FilesystemStorage) -> None:
    part = store.root / ".fill" / "a.part"
    part.parent.mkdir()
    part.write_bytes(b"fetched")
    part.chmod(0o600)
    store.adopt(part, KEY)
    assert part.samefile(store.path(KEY)) and mode(store.path(KEY)) == 0o644
    store.adopt(part, KEY)
    twin = part.with_name("b.part")
    twin.write_bytes(b"fetched")
    store.adopt(twin, KEY)
    assert part.samefile(store.path(KEY))
    twin.write_bytes(b"FETCHED")
    with pytest.raises(Conflict):
        store.adopt(twin, KEY)
    assert read_all(store.open(KEY)) == b"fetched"
    assert part.exists() and twin.exists()


def test_adopt_takes_no_link_and_nothing_absent(store: FilesystemStorage, outside: Path) -> None:
    link = store.root / "link"
    link.symlink_to(outside)
    for path in (link, store.root / "absent"):
        with pytest.raises(Unavailable) as refused:
            store.adopt(path, KEY)
        assert str(store.root) not in str(refused.value)
    assert list(store.keys()) == []


def test_adopt_syncs_the_folders(store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.root / "part").write_bytes(b"x")
    calls = Calls(monkeypatch, store.root)
    store.adopt(store.root / "part", "p/a.whl")
    assert calls.made == ["link", "fsync p", "fsync ."]


def test_a_disk_without_hard_links_says_so(store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "link", errno.EPERM)
    with pytest.raises(Unavailable, match="Operation not permitted"):
        put(store, KEY, b"x")
    assert incoming(store) == []


def test_clean_empties_incoming_only(store: FilesystemStorage) -> None:
    store.clean()
    put(store, KEY, b"x")
    (store.root / ".incoming" / "left-by-a-crash").write_bytes(b"half")
    store.clean()
    assert incoming(store) == []
    assert list(store.keys()) == [KEY]


def test_delete_removes_empty_folders_but_not_the_root(store: FilesystemStorage) -> None:
    put(store, KEY, b"x")
    put(store, "files/main/other/a.whl", b"x")
    store.delete(KEY)
    assert not store.path(KEY).parent.exists() and store.path("files/main/other/a.whl").exists()
    store.delete("files/main/other/a.whl")
    assert [path.name for path in store.root.iterdir()] == [".incoming"]


def test_keys_walks_lazily(store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        put(store, f"files/main/p{number:02}/a.whl", b"")
    opened: list[str] = []
    real = os.scandir

    def scandir(fd: int) -> Any:
        opened.append(os.readlink(f"/proc/self/fd/{fd}"))
        return real(fd)

    monkeypatch.setattr(os, "scandir", scandir)
    keys = store.keys()
    assert opened == []
    assert next(keys) == "files/main/p00/a.whl"
    assert len(opened) == 4
    opened.clear()
    assert list(store.keys("files/main/p07/")) == ["files/main/p07/a.whl"]
    assert [Path(path).name for path in opened] == ["p07"]


def test_keys_passes_over_what_is_no_key(store: FilesystemStorage) -> None:
    put(store, KEY, b"x")
    (store.path(KEY).parent / "notes (copy).txt").write_bytes(b"")
    (store.root / ".DS_Store").write_bytes(b"")
    assert list(store.keys()) == [KEY]


def test_a_root_that_is_gone_is_unavailable_and_not_empty(store: FilesystemStorage) -> None:
    store.root.rename(store.root.with_name("moved"))
    acts: list[Callable[[], object]] = [
        lambda: store.open(KEY),
        lambda: list(store.keys()),
        lambda: store.delete(KEY),
        lambda: put(store, KEY, b"x"),
    ]
    for act in acts:
        with pytest.raises(Unavailable, match="mounted"):
            act()
    assert not store.root.exists()


def test_a_folder_is_not_found_and_can_not_be_a_file(store: FilesystemStorage) -> None:
    put(store, KEY, b"x")
    with pytest.raises(NotFound):
        store.open("files/main")
    with pytest.raises(Conflict):
        put(store, "files/main", b"x")
    with pytest.raises(Unavailable):
        put(store, KEY + "/below", b"x")
    with pytest.raises(Unavailable):
        store.replace("files/main", io.BytesIO(b"x"))


def test_a_blob_tells_its_digest_and_descriptor(store: FilesystemStorage) -> None:
    put(store, KEY, b"0123456789")
    with store.open(KEY, 5) as blob:
        assert blob.sha256 is None
        assert blob.with_sha256("ab" * 32) is blob
        assert blob.sha256 == "ab" * 32
        assert os.pread(blob.fileno(), 4, 0) == b"0123"
        assert blob.read() == b"56789"


def test_a_file_cut_short_while_it_is_read_is_unavailable(store: FilesystemStorage) -> None:
    put(store, KEY, b"0123456789")
    with store.open(KEY) as blob:
        assert blob.available(4) == (b"0123", State.MORE)
        os.truncate(store.path(KEY), 4)
        with pytest.raises(Unavailable):
            blob.read()
        with pytest.raises(Unavailable):
            blob.available()


def test_commit_makes_the_folder_again_if_a_delete_took_it(
    store: FilesystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link
    raced = threading.Event()

    def link(*args: Any, **kwargs: Any) -> None:
        if not raced.is_set():
            raced.set()
            store.path(KEY).parent.rmdir()
        real(*args, **kwargs)

    monkeypatch.setattr(os, "link", link)
    put(store, KEY, b"x")
    assert raced.is_set() and read_all(store.open(KEY)) == b"x"
