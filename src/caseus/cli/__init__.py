"""The command line: one small module a command.

Exit codes: 0 done; 1 done, but something was found or refused; 2 could not start, or bad usage. Always one line on
stderr. What is heavy is imported inside the commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from gc import disable as disable_gc  # `gc` here is a command
from typing import NoReturn

from caseus.errors import CaseusError, Conflict, Denied, Invalid, NotFound

_REFUSALS = (NotFound, Conflict, Invalid, Denied)


def main() -> None:
    """The console script."""
    arguments = sys.argv[1:]
    code = run(arguments)
    if _is_short(arguments):
        leave(code)
    sys.exit(code)


def dumb_pypi() -> None:
    """The console script `dumb-pypi`: `caseus export` that is silent where all is well."""
    leave(run_guarded(lambda: _export(sys.argv[1:], program="dumb-pypi", quiet=True)))


def leave(code: int) -> NoReturn:
    """Ends the process at once, once all is told: what is in memory need not be taken apart."""
    with suppress(OSError, AttributeError):  # nobody reads it, or it is closed
        sys.stdout.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    return run_guarded(lambda: _dispatch(arguments))


def run_guarded(command: Callable[[], object]) -> int:
    """The exit code of a command; what it raises is told in one line."""
    from caseus.cli.errors import Refused, UsageError, fail

    try:
        result = command()
        sys.stdout.flush()
    except UsageError as error:
        return fail(str(error), 2)
    except (Refused, *_REFUSALS) as error:
        return fail(str(error), 1)
    except CaseusError as error:
        return fail(str(error), 2)
    except BrokenPipeError:
        sys.stdout = None  # else the interpreter's own flush complains at exit
        return 2
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:  # of a parser that has shown its help
        return error.code if isinstance(error.code, int) else 0
    except Exception as error:
        return fail(f"{type(error).__name__}: {error}", 2)
    return result if isinstance(result, int) else 0


def _dispatch(arguments: Sequence[str]) -> object:
    if _is_short(arguments):
        return _export(arguments[1:])
    from cyclopts import CycloptsError

    from caseus.cli.app import app
    from caseus.cli.errors import UsageError

    try:
        with quiet_logs():
            return app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise UsageError(f"{error} (see `caseus --help`)") from None


def _export(arguments: Sequence[str], *, program: str = "caseus export", quiet: bool = False) -> int:
    """A list of ten thousand files is written in the time that the other commands take to load."""
    hurry()
    from caseus.cli.export import main as export

    return export(arguments, program=program, quiet=quiet)


def _is_short(arguments: Sequence[str]) -> bool:
    """Whether this may be over soon."""
    return arguments[:1] == ["export"]


def hurry() -> None:
    """For a process that has little to do, before anything of size is imported."""
    disable_gc()  # there are no cycles in what grows
    if "msgspec" not in sys.modules and "typing_extensions" not in sys.modules:
        # Where there is no such module, msgspec takes the same from `typing`; it takes as long to load as msgspec.
        sys.modules["typing_extensions"] = None  # type: ignore[assignment]
        try:
            import msgspec  # noqa: F401
        finally:
            del sys.modules["typing_extensions"]


@contextmanager
def quiet_logs() -> Iterator[None]:
    """A command tells in its own words what the server logs, but for what is critical; `serve` sets up its own log."""
    import logging

    import structlog

    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)
