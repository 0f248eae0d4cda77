"""`caseus serve`."""

from __future__ import annotations

import gc
import os
from dataclasses import replace

from caseus.cli.common import DEFAULTS, Refused, Settings, UsageError, load_config
from caseus.config import agree_on_root
from caseus.errors import CaseusError


def serve(root: str | None = None, /, *, settings: Settings = DEFAULTS) -> int:
    """Serve an index until SIGTERM or SIGINT; SIGHUP reads settings, password file and certificate anew.

    Parameters
    ----------
    root
        The data folder, as --root.
    """
    agreed = agree_on_root(root, settings.root, os.environ)
    told = replace(settings, root=agreed)
    loaded = load_config(told)
    gc.disable()  # a start makes no garbage worth looking for; the server enables it when it is ready
    from caseus.server import process
    from caseus.server.supervisor import WorkersDie

    try:
        return process.run(loaded, lambda: load_config(told))
    except WorkersDie as error:
        raise (Refused if error.started else UsageError)(str(error)) from error
    except CaseusError as error:  # whatever it is: it did not start
        raise UsageError(str(error)) from error
