"""The real thing for tests: `caseus` commands, and a server in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

COMMAND = (sys.executable, "-m", "caseus")
READY = "caseus: ready on "
START_LIMIT = 120.0
STOP_LIMIT = 60.0


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would configure caseus, pip or uv."""
    own: dict[str, str] = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CASEUS_", "PIP_", "UV_", "TWINE_", "POETRY_"))
    }
    return own | dict(extra or {})


def run_cli(
    *arguments: str | Path,
    input: str | bytes | None = None,  # as subprocess calls it
    environ: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run one caseus command to its end; its exit code is not judged. Standard input is `input`, never a terminal."""
    data = input.encode() if isinstance(input, str) else input or b""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=data,
        capture_output=True,
        env=clean_environment(environ),
        timeout=timeout,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class CaseusServer:
    """`caseus serve` on a free loopback port; a context manager that stops it and asserts that it ended well.

    `url` ends in "/"; `root` is its data folder, a temporary one unless given; `upstream` is None where a configuration
    file tells it.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        upstream: str | None = "none",
        flags: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="caseus-test-") if root is None else None
        self.root = Path(self._temporary.name) / "data" if self._temporary else Path(root or "")
        told = () if upstream is None else ("--upstream", upstream)
        port = () if "--bind" in flags else ("--port", "0")
        self.command = (*command, "serve", str(self.root), *port, *told, *flags)
        self._environ = clean_environment(environ)
        self.url = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it and wait for its ready line; the same root again after `stop` or `kill`."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environ,
                text=True,
            )
        assert self.process.stdout is not None
        watchdog = threading.Timer(START_LIMIT, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line.startswith(READY):
            self.kill()
            raise AssertionError(f"caseus did not start: {line!r}\n{self.log}")
        self.url = line.removeprefix(READY).strip()
        return self

    @property
    def _log(self) -> Path:
        return self.root.parent / f"{self.root.name}.stderr"

    @property
    def log(self) -> str:
        """All that it and its predecessors on this root wrote to stderr."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def workers(self) -> list[int]:
        """The pids of its worker processes; none where it serves alone."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    @property
    def publisher(self) -> int | None:
        """The pid of the worker that publishes; None where each does, or while it is replaced."""
        own = os.getpriority(os.PRIO_PROCESS, self.pid)
        for pid in self.workers:
            with suppress(ProcessLookupError):
                if os.getpriority(os.PRIO_PROCESS, pid) > own:
                    return pid
        return None

    @property
    def admin(self) -> tuple[str, str]:
        """Name and password of the user that the first start made."""
        return "admin", (self.root / "admin-password").read_text().strip()

    def cli(self, *arguments: str | Path, input: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
        """A caseus command on this server's root."""
        return run_cli(*arguments, "--root", self.root, input=input)

    def add_user(self, name: str, password: str, *, admin: bool = False) -> tuple[str, str]:
        done = self.cli("user", "add", name, "--password-stdin", *(["--admin"] if admin else []), input=password)
        assert done.returncode == 0, done.stderr
        return name, password

    def token(self, user: str, scope: str = "upload") -> str:
        done = self.cli("token", "create", "--user", user, "--scope", scope)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def stop(self) -> str:
        """End it in good order; what it said on stdout after the ready line (nothing)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        rest = self._wait()
        assert self.process.returncode == 0, f"exit code {self.process.returncode}\n{self.log}"
        return rest

    def kill(self) -> None:
        """End it as a power cut would, with its workers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # else it would replace them
        for worker in self.workers if self.process.poll() is None else []:
            os.kill(worker, signal.SIGKILL)
        self.process.kill()
        self._wait()

    def _wait(self) -> str:
        assert self.process is not None
        if self.process.stdout is None or self.process.stdout.closed:
            return ""
        try:
            return self.process.communicate(timeout=STOP_LIMIT)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError(f"caseus did not end within {STOP_LIMIT:.0f} s\n{self.log}") from None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.process is not None:
                if self.process.poll() is not None:
                    self._wait()
                elif kind is None:
                    self.stop()
                else:
                    self.kill()
        finally:
            if self._temporary is not None:
                self._temporary.cleanup()
