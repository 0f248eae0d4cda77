"""The command line: one small module a command.

Exit codes: 0 done; 1 done, but something was found or refused; 2 could not start, or bad usage. Always one line on
stderr. What is heavy is imported inside the commands.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from caseus.errors import CaseusError, Conflict, Denied, Invalid, NotFound

_REFUSALS = (NotFound, Conflict, Invalid, Denied)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    from cyclopts import CycloptsError

    from caseus.cli.app import app
    from caseus.cli.common import Refused, UsageError, fail

    try:
        with quiet_logs():
            result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
            sys.stdout.flush()
    except (CycloptsError, UsageError) as error:
        return fail(f"{error} (see `caseus --help`)" if isinstance(error, CycloptsError) else str(error), 2)
    except (Refused, *_REFUSALS) as error:
        return fail(str(error), 1)
    except CaseusError as error:
        return fail(str(error), 2)
    except BrokenPipeError:
        sys.stdout = None  # else the interpreter's own flush complains at exit
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return fail(f"{type(error).__name__}: {error}", 2)
    return result if isinstance(result, int) else 0


@contextmanager
def quiet_logs() -> Iterator[None]:
    """A command tells in its own words what the server logs; `serve` sets up its log itself."""
    import structlog

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
