"""Records of GNU recutils, as far as they hold core metadata."""

from __future__ import annotations

from collections.abc import Mapping

Records = tuple[Mapping[str, str], ...]


def parse_records(data: bytes) -> Records:
    """The records of a file, each with the first value of every field. Never raises.

    Names are in lower case, with hyphens: recutils allows none, core metadata has them.
    """
    records: list[dict[str, str]] = [{}]
    last = ""
    for line in data.decode("utf-8", "replace").splitlines():
        if not line.strip():
            records.append({})
            last = ""
        elif line.startswith("+") and last:  # goes on with the line before
            records[-1][last] += "\n" + line.removeprefix("+").removeprefix(" ")
        elif not line.startswith(("#", "%")):
            name, colon, value = line.partition(":")
            name = name.strip().lower().replace("_", "-")
            last = name if colon and name not in records[-1] else ""
            if last:
                records[-1][last] = value.strip()
    return tuple(record for record in records if record)
