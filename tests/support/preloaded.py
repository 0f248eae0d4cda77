"""`caseus serve` that starts in a tenth of a second, for tests that start it often.

Each server is a process forked from one that has imported everything and done nothing; what it runs is the command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from support.server import READY, CaseusServer, clean_environment

PARENT = str(Path(__file__).with_name("preloader.py"))


class PreloadedServer(CaseusServer):
    """As CaseusServer; leaving the context kills what still runs, and ends the process that it was forked from."""

    def __init__(
        self,
        root: Path,
        *,
        upstream: str = "none",
        flags: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(root, upstream=upstream, flags=flags, environ=environ)
        self._arguments = ["serve", str(root), "--port", "0", "--upstream", upstream, *flags]
        self._child: int | None = None
        with self._log.open("a") as log:
            self._parent = subprocess.Popen(
                [sys.executable, "-P", PARENT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=clean_environment(environ),
                text=True,
            )

    def start(self) -> Self:
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(self._arguments) + "\n")
        self._parent.stdin.flush()
        self._child = int(self._line("pid "))
        self.url = self._line(READY)
        return self

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child

    def stop(self) -> str:
        os.kill(self.pid, signal.SIGTERM)
        self._child = None
        code = self._line("ended ")
        assert code == "0", f"exit code {code}\n{self.log}"
        return ""

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._child = None
        self._line("ended ")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)
        self._parent.communicate()

    def _line(self, start: str) -> str:
        """What follows `start` in the next line."""
        assert self._parent.stdout is not None
        line = self._parent.stdout.readline()
        assert line.startswith(start), f"{line!r} instead of {start!r}\n{self.log}"
        return line.removeprefix(start).strip()
