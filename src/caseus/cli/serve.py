"""`caseus serve`."""

from __future__ import annotations

import gc
import os
from dataclasses import replace

from caseus.cli.common import DEFAULTS, Settings, UsageError, load_config
from caseus.config import agree_on_root
from caseus.errors import CaseusError
from caseus.upstreams import check_credentials


def serve(root: str | None = None, /, *, settings: Settings = DEFAULTS) -> int:
    """Serve an index until SIGTERM or SIGINT.

    Parameters
    ----------
    root
        The data folder, as --root.
    """
    agreed = agree_on_root(root, settings.root, os.environ)
    loaded = load_config(replace(settings, root=agreed))
    gc.disable()  # a start makes no garbage worth looking for; the server enables it when it is ready
    from caseus.server import process

    try:
        for upstream in loaded.config.upstreams:
            check_credentials(upstream)
        return process.run(loaded.config, loaded)
    except CaseusError as error:  # whatever it is: it did not start
        raise UsageError(str(error)) from error
