"""The faults of a simulated run, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens when, in the order of time; nothing by default."""
