"""What a test sees of syncs."""

from __future__ import annotations

import pytest

from caseus import durability


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the kernel can't do several at once: each is an `os.fsync`, which a test can count, or let fail."""
    monkeypatch.setattr(durability._kernel, "sync", lambda descriptors, meanwhile: 0)
