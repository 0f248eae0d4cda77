"""Detached signatures that another index has beside its files."""

from __future__ import annotations

from caseus.checks.limits import MAX_SIGNATURE

NO_SIGNATURE = "the signature that is advertised there is absent or none: taken without it"

_ARMOUR = b"-----BEGIN PGP SIGNATURE-----"


def is_armoured(data: bytes) -> bool:
    """Whether it is what an upload may bring as `gpg_signature`."""
    return data.startswith(_ARMOUR) and data.isascii() and len(data) <= MAX_SIGNATURE
