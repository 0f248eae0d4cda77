"""What a server was told, as far as it can be told anew: settings, the password file, the certificate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from caseus.config import Config
from caseus.errors import CaseusError, Invalid
from caseus.passwords import Entry, Fault, parse
from caseus.server.tls import Certificate, read_certificate
from caseus.upstreams import check_credentials


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Read at one moment; what is read again is another one. Can be pickled."""

    config: Config
    listed: dict[str, Entry]
    """Users of the password file."""
    certificate: Certificate | None


class FaultyPasswd(CaseusError):
    """Lines of the password file give no user."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        self.path, self.faults = path, faults
        first, more = faults[0], len(faults) - 1
        super().__init__(
            f"the password file {path}, line {first.line}: {first.message}"
            + (f" (+{more} more: see them by `caseus passwd-check {path}`)" if more else "")
        )


def read_state(config: Config) -> State:
    """Read what the settings name. CaseusError with what is wrong with it."""
    for upstream in config.upstreams:
        check_credentials(upstream)
    if config.publish is not None:
        from caseus.export.places import check_publishable

        check_publishable(config.publish, config.root)
    return State(
        config=config,
        listed=_read_passwd(config.passwd) if config.passwd is not None else {},
        certificate=read_certificate(config.tls_cert, config.tls_key) if config.tls_cert is not None else None,
    )


def _read_passwd(path: Path) -> dict[str, Entry]:
    """FaultyPasswd, Invalid."""
    try:
        found = parse(path.read_text("utf-8", "replace"))
    except OSError as error:
        raise Invalid(f"can't read the password file {path}: {error.strerror}") from None
    if found.faults:
        raise FaultyPasswd(path, found.faults)
    if not found.users:  # rather one that is being written than one that is meant
        raise Invalid(f"the password file {path} has no user: add one by `caseus passwd-hash`, or take --passwd away")
    return dict(found.users)
