"""The parts of the benchmark, in the order in which they run and are told."""

from __future__ import annotations

from collections.abc import Mapping

from bench import big, busy, cold, export, reads, resolve, seen, starts, uploads
from bench.results import Part

PARTS: Mapping[str, Part] = {
    "reads": reads.PART,
    "busy": busy.PART,
    "cold": cold.PART,
    "uploads": uploads.PART,
    "seen": seen.PART,
    "starts": starts.PART,
    "resolve": resolve.PART,
    "big": big.PART,
    "export": export.PART,
}
