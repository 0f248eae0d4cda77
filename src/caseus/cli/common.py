"""What the commands share: flags, the configuration, the catalog, questions, tables."""

from __future__ import annotations

import getpass
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from caseus.cli.errors import Refused as Refused
from caseus.cli.errors import UsageError as UsageError
from caseus.config import Loaded, load, load_root

if TYPE_CHECKING:
    from caseus.catalog import Catalog

Texts = Annotated[list[str] | None, Parameter(negative="")]
Switch = Annotated[bool, Parameter(negative="")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print the result as JSON.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Where:
    """Flags of every command.

    Parameters
    ----------
    root
        The data folder (default: ~/.local/share/caseus, as root /var/lib/caseus).
    config
        A configuration file, instead of ROOT/caseus.toml.
    """

    root: str | None = None
    config: str | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings(Where):
    """Every key of the configuration as a flag.

    Parameters
    ----------
    root
        The data folder (default: ~/.local/share/caseus, as root /var/lib/caseus).
    config
        A configuration file, instead of ROOT/caseus.toml.
    host
        Name or address to listen on (default: 127.0.0.1).
    port
        Port to listen on; 0 takes a free one (default: 8080).
    bind
        Where to listen, in place of --host and --port: HOST:PORT, [ADDRESS]:PORT, unix:/PATH, or `systemd` for sockets
        that it opened; may be repeated.
    bind_mode
        Mode of unix sockets, in octal digits (default: 660).
    tls_cert
        A PEM file with the certificate and those above it: speak TLS.
    tls_key
        A PEM file with the certificate's key, if it is not in the same file.
    upstream
        An index that is asked for what is not here: a URL, `pypi` or `none` (default: pypi); may be repeated, the first
        that knows a name answers.
    upstream_ttl
        How long a page of an upstream is fresh, such as 600 or 10m (default: 10m).
    upstream_stale
        For how long after that it is given at once while it is refreshed (default: 1m).
    union
        Pattern of names whose files are merged from all upstreams, such as torch*; may be repeated.
    keep_removed
        Serve cached files that their upstream no longer lists, to those who know their names.
    private
        Pattern of names that are never asked upstream, such as acme-*; may be repeated.
    watch
        Publish files that are copied into the data folder's files/main/PROJECT/, delete what is removed there, and heed
        markers `.private`.
    read
        Who may read: `all` or `users` (default: all).
    publish
        A folder that is kept current with the index's pages as static files.
    passwd
        A file of user:hash lines, whose users may log in beside those of `caseus user`.
    max_file_bytes
        The largest file that is accepted, such as 500MB (default: 1GiB).
    cache_bytes
        How much of the upstream is kept (default: the smaller of 20GiB and half the free disk).
    grace
        How long what runs may take to finish when the server is stopped (default: 30s).
    public_url
        The URL under which clients reach this server, if a proxy stands before it.
    trusted_proxies
        Address or network of a proxy whose X-Forwarded headers are believed, or `unix` for whoever connects by a unix
        socket; may be repeated.
    workers
        Serving processes: a number, or `auto` for one a core and at most 4 (default: 1).
    max_clients
        How many connections there may be at once (default: as many as open files allow, at most 10000).
    http2
        Speak HTTP/2 too, over TLS; experimental, and needs the extra caseus[http2].
    no_fsync
        Wait for no disk: faster imports, and a power cut loses what was published and may damage the catalog.
    """

    host: str | None = None
    port: str | None = None
    bind: Texts = None
    bind_mode: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    upstream: Texts = None
    upstream_ttl: str | None = None
    upstream_stale: str | None = None
    union: Texts = None
    keep_removed: Annotated[bool | None, Parameter(negative="")] = None
    private: Texts = None
    watch: Annotated[bool | None, Parameter(negative="")] = None
    read: str | None = None
    publish: str | None = None
    passwd: str | None = None
    max_file_bytes: str | None = None
    cache_bytes: str | None = None
    grace: str | None = None
    public_url: str | None = None
    trusted_proxies: Texts = None
    workers: str | None = None
    max_clients: str | None = None
    http2: Annotated[bool | None, Parameter(negative="")] = None
    no_fsync: Annotated[bool | None, Parameter(negative="")] = None


HERE = Where()
DEFAULTS = Settings()


def load_config(where: Where) -> Loaded:
    flags = asdict(where)
    file = flags.pop("config")
    return load(flags, os.environ, Path(file) if file is not None else None)


def find_root(where: Where) -> Path:
    """The data folder for commands that need nothing else of the configuration."""
    return load_root({"root": where.root}, os.environ, Path(where.config) if where.config is not None else None)


def actor() -> str:
    """Who the journal says did it."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a uid without a name, as containers have
        return f"cli:{os.getuid()}"


def existing_root(root: Path) -> Path:
    """The data folder if there is one: a mistyped --root must not make an empty index."""
    if not (root / "catalog.sqlite").exists():
        raise UsageError(f"no index in {root}: give its --root, or start one by `caseus serve`")
    return root


def log_to_stderr() -> None:
    """What the core warns of must not get between the lines of a command's own output, which scripts read."""
    import structlog

    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        )


@contextmanager
def open_catalog(where: Where, *, make: bool = False) -> Iterator[Catalog]:
    """The catalog of the data folder, which is made only if `make` says so."""
    root = find_root(where)
    if make:
        from caseus.folder import make_root

        make_root(root)
    else:
        existing_root(root)
    log_to_stderr()
    from caseus.catalog import Catalog

    catalog = Catalog.open(root)
    try:
        yield catalog
    finally:
        catalog.close()


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; UsageError without one, Refused by any other answer than yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this asks before it acts: give --yes where there is no terminal")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("nothing was changed")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: with lines on a terminal, else aligned text."""
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*headers, box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(Text(cell, overflow="fold") for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    for row in (headers, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_time(seconds: float | None, absent: str = "never") -> str:
    """A moment in UTC, to the second."""
    if seconds is None:
        return absent
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
