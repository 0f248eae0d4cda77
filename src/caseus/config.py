"""Flags, environment and TOML become one frozen Config; of every value it is known where it came from.

A flag beats the environment, the environment the file, the file the default. A key is the flag's name with `_`, and
`CASEUS_` with it in capitals. The keys of PER_INDEX belong under `[index.main]`; at the top level they mean the same.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import msgspec

from caseus.binds import Bind, TcpBind
from caseus.errors import CaseusError
from caseus.keys import KEYS
from caseus.upstreams import UpstreamConfig, beside, show_upstreams

FILE_NAME = "caseus.toml"
PASSWORD_FILE = "CASEUS_ADMIN_PASSWORD_FILE"  # noqa: S105  (a variable's name)
EXTRA_NAMES = frozenset({"CASEUS_CONFIG", PASSWORD_FILE})
"""Environment names that are no key."""

PER_INDEX = frozenset(
    {"upstream", "upstream_ttl", "upstream_stale", "union", "keep_removed", "private", "watch", "read", "publish"}
)

PATHS = frozenset({"root", "tls_cert", "tls_key", "passwd", "publish"})
"""Keys whose value, in a file, is relative to that file."""

UPSTREAM_TABLES = "upstreams"
"""In a file, `upstream` as an array of tables."""

_USERINFO = re.compile(r"(?<=://)(?:([^/?#@\s:]*:)[^/?#\s]*|[^/?#\s]*)(?=@)")


class ConfigError(CaseusError):
    """The configuration can't be used; the message names the key and where its value came from."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What one process was told. Sizes in bytes, durations in seconds."""

    root: Path
    host: str
    port: int
    bind: tuple[Bind, ...]
    """In place of `host` and `port`, if any."""
    bind_mode: int
    """Of unix sockets."""
    tls_cert: Path | None
    tls_key: Path | None
    """None: the key is in `tls_cert`."""
    upstreams: tuple[UpstreamConfig, ...]
    """The key `upstream`, in the order in which they are asked."""
    upstream_ttl: float
    upstream_stale: float
    union: tuple[str, ...]
    """Patterns of names whose files are merged from all upstreams."""
    keep_removed: bool
    private: tuple[str, ...]
    watch: bool
    """Whether what people do in the folder of the files is taken over."""
    read: Literal["all", "users"]
    publish: Path | None
    """A folder that is kept current with the index's pages as static files."""
    passwd: Path | None
    """A password file, whose users may log in beside the catalog's."""
    max_file_bytes: int
    cache_bytes: int | None
    """None: the smaller of 20 GiB and half the free disk at start."""
    grace: float
    public_url: str | None
    """Absolute, ends in "/"."""
    trusted_proxies: tuple[str, ...]
    """Addresses or networks."""
    workers: int
    max_clients: int | None
    """None: as many as the limit of open files allows, within reason."""
    http2: bool
    no_fsync: bool
    """What is answered for may be lost in a power cut."""

    @property
    def readers(self) -> int:
        """How many workers listen. Of several the last one does not: it publishes, on connections that others hand
        over. That can't be done in the middle of TLS, nor by the server for HTTP/2."""
        return self.workers - (self.workers > 1 and self.tls_cert is None and not self.http2)

    @property
    def binds(self) -> tuple[Bind, ...]:
        """Where to listen."""
        return self.bind or (TcpBind(self.host, self.port),)


class Setting(NamedTuple):
    """A key: its value as the program uses it and as a person would write it (secrets masked), and who gave it."""

    key: str
    value: object
    shown: str
    source: str


class Loaded(NamedTuple):
    config: Config
    settings: Mapping[str, Setting]
    file: Path | None
    """The configuration file that was read."""


class _Raw(NamedTuple):
    value: object
    source: str


def default_root() -> Path:
    """Where the data is if nobody says: the system's place for root, the user's own otherwise."""
    return Path("/var/lib/caseus") if os.geteuid() == 0 else Path.home() / ".local/share/caseus"


def mask(text: str) -> str:
    """The text without the passwords in its URLs, and without a user who stands alone, for that is a token."""
    return _USERINFO.sub(r"\1***", text)


def load(flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None = None) -> Loaded:
    """The configuration of flags, environment and `file`, which is ROOT/caseus.toml if nobody names another.

    `flags`: key to text or list, None where not given. ConfigError for the first thing that is wrong.
    """
    values, file = _gather(flags, environ, file)
    parsed = {key: _parse(key, raw) for key, raw in values.items()}
    settings = {key: Setting(key, parsed[key], _show(key, raw, parsed[key]), raw.source) for key, raw in values.items()}
    _check_together(settings)
    upstreams = parsed.pop("upstream")
    return Loaded(Config(upstreams=cast(Any, upstreams), **cast(Any, parsed)), settings, file)


def load_root(flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None = None) -> Path:
    """Only the data folder, as `load` finds it; quicker, for what else is configured is not looked at."""
    return cast(Path, _parse("root", _gather(flags, environ, file)[0]["root"]))


def _gather(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None
) -> tuple[dict[str, _Raw], Path | None]:
    """Every key as it was given, by whoever comes first, and the file that was read."""
    given = _from_flags(flags) | _from_environment(environ, besides=flags)
    if file is None and "CASEUS_CONFIG" in environ:
        file = Path(environ["CASEUS_CONFIG"])
    if file is not None:
        given = _from_file(file) | given
    root = given.get("root", _Raw(str(default_root()), "default"))
    if file is None:
        home = cast(Path, _parse("root", root)) / FILE_NAME
        if os.path.exists(home):
            file = home
            given = _without_root(_from_file(home), root) | given
    values = {key: given.get(key, _Raw(spec.default, "default")) for key, spec in KEYS.items()}
    return values | {"root": root}, file


def agree_on_root(positional: str | None, flag: str | None, environ: Mapping[str, str]) -> str | None:
    """The one root of `serve [ROOT] [--root ROOT]` and CASEUS_ROOT; ConfigError if they name different folders."""
    other, source = (flag, "--root") if flag is not None else (environ.get("CASEUS_ROOT"), "CASEUS_ROOT")
    if positional is None or other is None:
        return flag if positional is None else positional
    if _parse("root", _Raw(positional, "ROOT")) != _parse("root", _Raw(other, source)):
        raise ConfigError(f"root: {positional!r} was given, but {source} says {other!r}: give one of them")
    return positional


def _from_flags(flags: Mapping[str, object]) -> dict[str, _Raw]:
    return {key: _Raw(value, flag_name(key)) for key, value in flags.items() if value is not None}


def flag_name(key: str) -> str:
    return "--" + key.replace("_", "-")


def _from_environment(environ: Mapping[str, str], besides: Mapping[str, object]) -> dict[str, _Raw]:
    found = {}
    for name in sorted(environ):
        if not name.startswith("CASEUS_") or name in EXTRA_NAMES:
            continue
        key = name.removeprefix("CASEUS_").lower()
        if key not in KEYS or name != name.upper():
            raise ConfigError(
                f"unknown environment variable {name}: unset it, or see `caseus config show` for the names"
            )
        if besides.get(key) is None:
            text = environ[name]
            found[key] = _Raw(text.split() if KEYS[key].many else text, name)
    return found


def _from_file(file: Path) -> dict[str, _Raw]:
    try:
        table = tomllib.loads(file.read_bytes().decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"can't read the configuration file {file}: {reason}") from None
    main = _main_table(table, file)
    for given in (table, main):
        _take_upstream_tables(given, file)
    for key in (*table, *main):
        if key not in KEYS:
            raise ConfigError(f"unknown key {key!r} in {file}: see `caseus config show` for the keys")
    for key in main:
        if key not in PER_INDEX:
            raise ConfigError(f"{key}: belongs to no index: move it out of [index.main], to the top of {file}")
        if key in table:
            raise ConfigError(f"{key}: given twice, at the top and under [index.main], in {file}")
    values = table | main
    for key in PATHS & values.keys():
        path = values[key]
        if isinstance(path, str) and path and not path.startswith("~"):  # beside the file, wherever caseus was started
            values[key] = str(file.parent / path)
    return {key: _Raw(value, str(file)) for key, value in values.items()}


def _take_upstream_tables(table: dict[str, Any], file: Path) -> None:
    """Makes `upstreams` the value of `upstream`."""
    if UPSTREAM_TABLES in table:
        if "upstream" in table:
            raise ConfigError(f"upstream: given twice, by `upstream` and by `{UPSTREAM_TABLES}`, in {file}")
        table["upstream"] = beside(table.pop(UPSTREAM_TABLES), file.parent)


def _main_table(table: dict[str, Any], file: Path) -> dict[str, Any]:
    """What stands under [index.main]; taken out of the table."""
    indexes = table.pop("index", {})
    if not isinstance(indexes, dict):
        raise ConfigError(f"index: must be a table, such as [index.main], in {file}")
    for name, content in indexes.items():
        if name != "main":
            raise ConfigError(
                f"[index.{name}]: more indexes come with a later version: only [index.main] is known, in {file}"
            )
        if not isinstance(content, dict):
            raise ConfigError(f"index.main: must be a table, in {file}")
    return dict(indexes.get("main", {}))


def _without_root(given: dict[str, _Raw], root: _Raw) -> dict[str, _Raw]:
    """What ROOT/caseus.toml gives: it was found by the root, so it can't name another."""
    found = given.pop("root", root)
    if _parse("root", found) != _parse("root", root):
        raise ConfigError(f"root: the file in a data folder can't name another one (from {found.source})")
    return given


def _parse(key: str, raw: _Raw) -> object:
    if raw.value is None:
        return None
    try:
        return KEYS[key].parse(raw.value)
    except (ValueError, CaseusError) as error:
        raise ConfigError(mask(f"{key}: {error} (from {raw.source})")) from None


def _check_together(settings: Mapping[str, Setting]) -> None:
    """What can't go together."""
    bind = settings["bind"]
    for other in (settings["host"], settings["port"]):
        if bind.value and _kind(other.source) == _kind(bind.source):
            raise ConfigError(f"{other.key}: {bind.key} takes its place: give one of them (from {other.source})")
    if settings["http2"].value:
        source = settings["http2"].source
        if settings["tls_cert"].value is None:
            raise ConfigError(f"http2: clients speak it over TLS only: give tls_cert too (from {source})")
        others = [each for each in cast(tuple[Bind, ...], bind.value) if not isinstance(each, TcpBind)]
        if others:
            raise ConfigError(f"http2: it is spoken on ports only: take {others[0]} from bind (from {source})")
    key, cert = settings["tls_key"], settings["tls_cert"]
    if key.value is not None and cert.value is None:
        raise ConfigError(f"tls_key: a key without a certificate: give tls_cert too (from {key.source})")


def _kind(source: str) -> str:
    """flag, environment, file or default: where a setting came from."""
    if source == "default":
        return source
    return "flag" if source.startswith("--") else "environment" if source.startswith("CASEUS_") else "file"


def _show(key: str, raw: _Raw, value: object) -> str:
    if key == "upstream":
        return mask(show_upstreams(raw.value))
    return "" if value is None else KEYS[key].show(value)
