"""How a command says that it could not, or would not."""

from __future__ import annotations

import sys

from caseus.errors import CaseusError


class UsageError(CaseusError):
    """The command can't be meant so: exit code 2."""


class Refused(CaseusError):
    """Done, but something was found, or a question was answered by no: exit code 1."""


def fail(message: str, code: int) -> int:
    """Say in one line what went wrong; the exit code again."""
    from caseus.config import mask

    print("caseus: error:", mask(" ".join(message.split())), file=sys.stderr, flush=True)
    return code
