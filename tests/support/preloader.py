"""The process that PreloadedServer forks servers from: it has imported everything, and done nothing."""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    """A line of arguments on stdin is one server; it is reaped before the next line is read."""
    from caseus.cli import run

    for module in ("caseus.cli.app", "caseus.server.process"):
        importlib.import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            print("pid", os.getpid(), flush=True)
            os._exit(run(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
