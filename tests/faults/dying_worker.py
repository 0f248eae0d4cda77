"""A process that does one thing and is killed at a given step of it: what `test_kill_each_step` drives.

A step is whatever changes something on disk: a call of `os` that does, or a statement that SQLite is given to write.
The worker has imported everything; each line of JSON on stdin is a job, which runs in a process forked for it:

    {"what": "upload", "root": …, "step": 12, "torn": false, …}  →  {"killed": true, "steps": […], "said": […]}

`torn`: a write gets half of its bytes out before the kill. `said` is what was acknowledged before it.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caseus import durability, publication
from caseus.catalog import Catalog, migration, schema
from caseus.cli import quiet_logs
from caseus.names import normalize
from caseus.publish import Publisher
from caseus.site import MAIN, Site, build
from caseus.upkeep.backup import Backup
from caseus.upkeep.reindex import out_of_use, rebuild
from caseus.upkeep.restore import open_backup
from caseus.upkeep.restore import restore as put_back
from caseus.verify import verify
from support.forms import form_for
from support.packages import make_wheel
from support.web import make_config

CALLS = (
    "write", "pwrite", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir", "open", "fchmod", "ftruncate",
    "posix_fallocate", "chmod", "sendfile",
)  # fmt: skip
WRITES = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "PRAGMA WAL_CHECKPOINT")


class Steps:
    """Counts the steps of this process, tells each to the pipe, and ends the process at the one it is told."""

    def __init__(self, pipe: int, die_at: int, torn: bool) -> None:
        self._pipe, self._die_at, self._torn = pipe, die_at, torn
        self._count = 0
        self._armed = False
        self._guard = threading.Lock()
        self._write = os.write
        self._install()

    def say(self, word: str) -> None:
        self._write(self._pipe, f"said {word}\n".encode())

    def arm(self) -> None:
        """From now on steps count."""
        self._armed = True

    def take(self, name: str, half: Callable[[], object] | None = None) -> None:
        """The step is about to be taken."""
        if not self._armed:
            return
        with self._guard:
            self._write(self._pipe, f"step {name}\n".encode())
            self._count += 1
            if self._count == self._die_at:
                if self._torn and half is not None:
                    half()
                self.end()

    def end(self, *_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _install(self) -> None:
        durability._kernel.sync = lambda descriptors, meanwhile: 0  # type: ignore[method-assign]  # each is a step
        for name in CALLS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        steps, connect = self, sqlite3.connect

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *args: Any) -> Any:
                steps.statement(sql)
                return super().execute(sql, *args)

            def executemany(self, sql: str, *args: Any) -> Any:
                steps.statement(sql)
                return super().executemany(sql, *args)

        class Connection(sqlite3.Connection):
            def cursor(self, factory: Any = None) -> Any:
                return super().cursor(Cursor)

            def execute(self, sql: str, *args: Any) -> Any:
                return self.cursor().execute(sql, *args)

            def executemany(self, sql: str, *args: Any) -> Any:
                return self.cursor().executemany(sql, *args)

            def backup(self, target: sqlite3.Connection, **kwargs: Any) -> None:
                steps.take("copy", lambda: super(Connection, self).backup(target, pages=4, progress=steps.end))
                super().backup(target, **kwargs)

        def connecting(*args: Any, **kwargs: Any) -> Any:
            return connect(*args, **({"factory": Connection} | kwargs))

        sqlite3.connect = connecting

    def statement(self, sql: str) -> None:
        words = " ".join(sql.split()[:2]).upper()
        if words.startswith(WRITES):
            self.take(words)

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return call(*args, **kwargs)
            half = None
            if name in ("write", "pwrite"):
                half = lambda: call(args[0], args[1][: len(args[1]) // 2], *args[2:])  # noqa: E731
            self.take(name, half)
            return call(*args, **kwargs)

        return step


def site_of(job: dict[str, Any]) -> Site:
    return build(make_config(Path(job["root"]), upstreams=job["upstreams"]))


def publish(publisher: Publisher, name: str, version: str, filename: str, data: bytes) -> str:
    staged = publisher.stage()
    try:
        staged.write(data)
        form = form_for(name, version, filename, data)
        return publisher.publish(staged, form, filename=filename, signature=None, actor="worker")
    finally:
        staged.close()


def upload(job: dict[str, Any], steps: Steps) -> None:
    if job.get("claims"):
        publication.SMALL = -1
    site = site_of(job)
    steps.arm()
    data = Path(job["file"]).read_bytes()
    outcome = publish(site.indexes[MAIN].publisher, job["name"], job["version"], Path(job["file"]).name, data)
    steps.say(outcome)
    site.close()


def start(job: dict[str, Any], steps: Steps) -> None:
    """A start that has to clean up after the dead, and to write lists that are behind."""
    steps.arm()
    site = site_of(job)
    steps.say("started")
    site.close()


def fill(job: dict[str, Any], steps: Steps) -> None:
    site = site_of(job)
    steps.arm()
    for ending in ("", ".metadata"):
        with site.indexes[MAIN].index.open(normalize(job["name"]), job["filename"] + ending) as blob:
            while blob.read():
                pass
        steps.say(f"served{ending}")
    site.close()


def migrate(job: dict[str, Any], steps: Steps) -> None:
    """To the newest schema; `next`: to one more, that only tests know."""
    if job.get("next"):
        schema.HEAD = "test"
        migration.__file__ = str(Path(job["next"]) / "migration.py")
    steps.arm()
    catalog = Catalog.open(Path(job["root"]))
    steps.say("opened")
    catalog.close()


def reindex(job: dict[str, Any], steps: Steps) -> None:
    root = Path(job["root"])
    with out_of_use(root):
        steps.arm()
        rebuild(root, actor="worker")
        steps.say("rebuilt")


def backup(job: dict[str, Any], steps: Steps) -> None:
    """`root` is the folder of both, so that each try has a copy of both."""
    folder = Path(job["root"])
    steps.arm()
    report = Backup(folder / "index", folder / "backup").run()
    steps.say("backed up")
    assert not report.damages, report


def restore(job: dict[str, Any], steps: Steps) -> None:
    folder = Path(job["root"])
    manifest = open_backup(folder / "backup")
    steps.arm()
    damages = put_back(folder / "backup", folder / "restored", manifest)
    steps.say("restored")
    assert not damages, damages


def export(job: dict[str, Any], steps: Steps) -> None:
    """Static files of the list beside the tree; three rows make a page of the changelog."""
    from caseus.export import Options, PackageList, changelog, exporting

    setattr(changelog, "PAGE_ENTRIES", 3)  # noqa: B010  (a constant)
    folder = Path(job["root"])
    options = Options(packages_url="../../pool/", timestamp=False, simple_json=True, compress=tuple(job["compress"]))
    steps.arm()
    exporting.export(
        PackageList(folder / job["list"]), folder / "tree", options, atomic=job["atomic"], jobs=1, clock=lambda: 0
    )
    steps.say("exported")


def publish_pages(job: dict[str, Any], steps: Steps) -> None:
    """What a server that is started and stopped writes into the folder of `publish`; `root` has both."""
    folder = Path(job["root"])
    site = build(make_config(folder / "index", publish=folder / "tree", public_url="https://pkgs.example.com/"))
    steps.arm()
    with quiet_logs():  # stdout is for outcomes
        site.publish()
        site.close()
    steps.say("published")


JOBS = {
    "upload": upload,
    "start": start,
    "fill": fill,
    "migrate": migrate,
    "reindex": reindex,
    "backup": backup,
    "restore": restore,
    "export": export,
    "publish": publish_pages,
}


def copy_migrations(folder: Path) -> Path:
    """The migrations, and one more that makes a table, changes one and fills it from another."""
    shutil.copytree(Path(migration.__file__).with_name("migrations"), folder / "migrations")
    (folder / "migrations/versions/test.py").write_text(
        f'''"""One more than there is."""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "test", {schema.HEAD!r}, None, None


def upgrade() -> None:
    op.add_column("files", sa.Column("colour", sa.String, nullable=True))
    op.execute("UPDATE files SET colour = 'blue'")
    op.create_table("extra", sa.Column("filename", sa.String, primary_key=True))
    op.execute("INSERT INTO extra (filename) SELECT filename FROM files")
'''
    )
    return folder


def run(job: dict[str, Any], pipe: int) -> None:
    """In the forked process: never returns."""
    try:
        JOBS[job["what"]](job, Steps(pipe, job["step"], job["torn"]))
    except BaseException as error:
        sys.stderr.write(f"{job['what']} at step {job['step']}: {error!r}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def warm_up() -> None:
    """What takes time is done once, before anything is forked: imports, and compiling statements."""
    for module in ("alembic.command", "caseus.export.live", "caseus.export.exporting"):
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as folder:
        site = build(make_config(Path(folder), upstreams=("http://127.0.0.1:9/simple/",)))
        publish(site.indexes[MAIN].publisher, "acme", "1.0", *make_wheel("acme", "1.0"))
        list(verify(site.catalog, site.store, settle=lambda: None))
        site.close()


def main() -> None:
    warm_up()
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            run(json.loads(line), write)
        os.close(write)
        with os.fdopen(read) as pipe:
            told = [told.rstrip("\n").partition(" ") for told in pipe]
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        outcome = {
            "killed": code == -signal.SIGKILL,
            "code": code,
            "steps": [word for kind, _, word in told if kind == "step"],
            "said": [word for kind, _, word in told if kind == "said"],
        }
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
