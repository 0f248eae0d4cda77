"""`caseus import`: taking over what another index holds."""

from __future__ import annotations

import getpass
import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import App, Parameter

from caseus.cli.common import HERE, AsJson, Refused, Switch, Texts, UsageError, Where, existing_root, load_config
from caseus.cli.import_progress import progress, say, stopped_by_signals
from caseus.cli.import_report import print_report
from caseus.cli.user import read_password
from caseus.errors import CaseusError
from caseus.units import parse_duration

if TYPE_CHECKING:
    from packaging.utils import NormalizedName

    from caseus.importers.index import IndexImport
    from caseus.model import File

app = App(name="import", help="Take over what another index holds.")

_MOST_JOBS = 32


@app.command
def index(
    url: str,
    /,
    *,
    project: Texts = None,
    exclude: Texts = None,
    files_from: Texts = None,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    jobs: int = 4,
    dry_run: Switch = False,
    follow: Switch = False,
    interval: str = "60s",
    follow_deletions: Switch = False,
    user: str | None = None,
    password_stdin: Switch = False,
    as_json: AsJson = False,
    where: Where = HERE,
) -> int:
    """Publish here what another index lists; again, it goes on where it was.

    Parameters
    ----------
    url
        The URL under which the other index has its pages; mostly one that ends in /simple/.
    project
        A name or pattern such as acme-* of what is taken; may be repeated (default: all).
    exclude
        A name or pattern of what is not taken; may be repeated.
    files_from
        An https://HOST besides the index's own to which downloads may be redirected; may be repeated.
    everything
        Take more than 2000 projects without choosing any.
    jobs
        Downloads at a time.
    dry_run
        Only tell what would be taken.
    follow
        Go on until interrupted: take what is new, yank and unyank as the other index does.
    interval
        How long `--follow` rests between two rounds.
    follow_deletions
        With `--follow`: delete here what is no longer listed there.
    user
        User name for the other index; else that of the URL or of a netrc file.
    password_stdin
        Read the password for the other index from standard input.
    """
    rest = _check_flags(jobs, interval, follow=follow, deletions=follow_deletions, dry_run=dry_run)
    login = _login(user, stdin=password_stdin)
    config = load_config(where).config
    existing_root(config.root)
    from caseus import site
    from caseus.importers.credentials import find_credentials, https_origin, source_url
    from caseus.importers.index import IndexImport
    from caseus.importers.selection import Selection
    from caseus.importers.source import Source
    from caseus.upstream import Timeouts, Upstream

    selection = Selection(project or (), exclude or ())
    url = source_url(url)
    allowed = frozenset(map(https_origin, files_from or ()))
    credentials = find_credentials(url, login, os.environ)
    # A list of projects, or a page, may take an old index a while.
    upstream = Upstream(url, credentials=credentials, timeouts=Timeouts(connect=10, read=30, page=300))
    opened = site.build(config)
    stop = threading.Event()
    try:
        with progress(lines=follow) as shown, stopped_by_signals(stop):
            source = Source(upstream, max_file_bytes=config.max_file_bytes, stop=stop, files_from=allowed)
            run = IndexImport(
                source, opened.catalog, opened.indexes[site.MAIN].publisher, selection,
                jobs=jobs, stop=stop, progress=shown, delete=follow_deletions, dry_run=dry_run,
            )  # fmt: skip
            ended = _run(run, everything=everything, dry_run=dry_run, follow=rest if follow else None)
    finally:
        opened.close()
        upstream.close()
    if ended.failure is None or run.report.results:
        print_report(run.report, ended.plan, source.url, as_json=as_json)
    if ended.failure is not None:
        raise ended.failure
    if ended.interrupted and not follow:
        return 130
    if run.report.bad:
        raise Refused(f"{run.report.bad} could not be taken: see the report")
    return 0


class _Ended(NamedTuple):
    """How it ended; `plan` of a dry run: what would be downloaded, by project."""

    plan: dict[NormalizedName, list[File]] | None = None
    interrupted: bool = False
    failure: CaseusError | None = None


def _run(run: IndexImport, *, everything: bool, dry_run: bool, follow: float | None) -> _Ended:
    """One round, or with `follow` (seconds between them) many. What was done before it ended is in the report."""
    from caseus.importers.source import Stopped

    try:
        names = run.names()
        run.check(names, everything=everything)
        for warning in run.report.warnings:
            say(f"warning: {warning}")
        if dry_run:
            return _Ended(plan=run.plan(names))
        run.take(names)
        if follow is not None:
            run.follow(follow, lambda reason: say("this round could not be done", reason))
    except Stopped:
        return _Ended(interrupted=True)
    except CaseusError as error:
        return _Ended(failure=error)
    return _Ended()


def _check_flags(jobs: int, interval: str, *, follow: bool, deletions: bool, dry_run: bool) -> float:
    """The interval in seconds. UsageError."""
    if not 1 <= jobs <= _MOST_JOBS:
        raise UsageError(f"--jobs: give 1 to {_MOST_JOBS}")
    if deletions and not follow:
        raise UsageError("--follow-deletions goes with --follow: a file must be missing there in two rounds")
    if follow and dry_run:
        raise UsageError("--dry-run tells what one round would take: leave --follow out")
    try:
        rest = parse_duration(interval)
    except ValueError as error:
        raise UsageError(f"--interval: {error}") from None
    if rest < 1:
        raise UsageError("--interval: give a second or more")
    return rest


def _login(user: str | None, *, stdin: bool) -> tuple[str, str] | None:
    """User and password for the other index; asked for on a terminal."""
    if user is None:
        if stdin:
            raise UsageError("--password-stdin goes with --user")
        return None
    if stdin or not sys.stdin.isatty():
        return user, read_password(stdin=stdin)
    return user, getpass.getpass("Password: ")
