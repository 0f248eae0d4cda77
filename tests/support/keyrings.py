"""A keyring with one secret in it, as the `keyring` command and as the library's backend."""

from __future__ import annotations

from support.clients import Shell, tool

_BACKEND = '''\
"""Knows one token, whatever is asked for; notes each question."""

import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.credentials import SimpleCredential


class OneToken(KeyringBackend):
    priority = 9

    def get_password(self, service, username):
        with Path(os.environ["KEYRING_ASKED"]).open("a") as asked:
            print(service, username, file=asked)
        return os.environ["KEYRING_TOKEN"] if username == "__token__" else None

    def get_credential(self, service, username):
        password = self.get_password(service, "__token__")
        return SimpleCredential("__token__", password)

    def set_password(self, service, username, password):
        raise NotImplementedError

    def delete_password(self, service, username):
        raise NotImplementedError
'''


class Keyring:
    """What a user of the shell has in it. `asked`: the services that were asked for."""

    def __init__(self, shell: Shell, token: str) -> None:
        folder = shell.home / "keyring"
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "keyring").symlink_to(tool("keyring"))
        (folder / "one_token.py").write_text(_BACKEND)
        self._asked = folder / "asked"
        shell.env |= {
            "PATH": f"{folder / 'bin'}:{shell.env['PATH']}",
            "PYTHONPATH": str(folder),
            "PYTHON_KEYRING_BACKEND": "one_token.OneToken",
            "KEYRING_TOKEN": token,
            "KEYRING_ASKED": str(self._asked),
        }

    @property
    def asked(self) -> set[str]:
        if not self._asked.exists():
            return set()
        return {line.split()[0] for line in self._asked.read_text().splitlines()}
