"""gpg with a key of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

USER = "Test Signer <signer@pkgs.example.com>"


class Gpg:
    """A home with one key; a context manager that ends the agent which gpg starts for it."""

    def __init__(self) -> None:
        program = shutil.which("gpg")
        assert program is not None, "gpg is missing: run `make test-deps`"
        self._program = program
        self._home = tempfile.TemporaryDirectory(prefix="gpg-")  # a short path: the agent's socket lies in it

    def sign(self, file: Path) -> Path:
        """The detached, armoured signature, beside the file."""
        self._run("--armor", "--detach-sign", str(file)).check_returncode()
        return file.with_name(f"{file.name}.asc")

    def verifies(self, signature: Path, file: Path) -> bool:
        """Whether it is this key's signature of these bytes."""
        done = self._run("--status-fd", "1", "--verify", str(signature), str(file))
        good = b"[GNUPG:] GOODSIG" in done.stdout and USER.encode() in done.stdout
        assert good == (done.returncode == 0), done
        return good

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [self._program, "--homedir", self._home.name, "--batch", "--yes", "--passphrase", "", *words]
        return subprocess.run(command, capture_output=True, timeout=120, check=False)

    def __enter__(self) -> Self:
        self._run("--quick-gen-key", USER, "ed25519", "sign", "never").check_returncode()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["gpgconf", "--homedir", self._home.name, "--kill", "all"], check=False, timeout=60)
        self._home.cleanup()
