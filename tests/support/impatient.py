"""`caseus` with other limits of connections and bodies: those of the JSON objects `TEST_LIMITS` and `TEST_PACE`."""

from __future__ import annotations

import json
import os
import sys

from caseus.cli import run
from caseus.server.http import Protocol
from caseus.server.limits import Limits
from caseus.web.request import Body, Pace

if __name__ == "__main__":
    Protocol.limits = Limits(**json.loads(os.environ.get("TEST_LIMITS", "{}")))
    Body.pace = Pace(**json.loads(os.environ.get("TEST_PACE", "{}")))
    sys.exit(run(sys.argv[1:]))
