"""The form that an upload comes with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec


class Form(msgspec.Struct, frozen=True):
    """The text fields of an upload, each with its values in the order in which they were sent."""

    fields: dict[str, list[str]]

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """From (field, value) pairs, cleaned as Warehouse does: never raises.

        A value of "UNKNOWN" is none (distutils filled required fields with it), and NUL, which no database of text
        takes, becomes the four characters `\\x00`.
        """
        fields: dict[str, list[str]] = {}
        for name, value in pairs:
            if value.strip() != "UNKNOWN":
                fields.setdefault(name, []).append(value.replace("\0", "\\x00"))
        return cls(fields)

    def first(self, name: str) -> str | None:
        """The field's first value without the space around it; None if it is absent or empty."""
        values = self.fields.get(name)
        return (values[0].strip() or None) if values else None
