"""What a simulated run came to: the invariants that broke, with their story, and what was seen on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """`invariant` is I1 to I9, or `failure` for an exception that nobody caught; `story` are the last events."""

    seed: int
    invariant: str
    message: str
    story: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Report:
    """`digest` names everything that happened. `coverage` counts what was hit, by name; `befell` the faults of each
    player, by index."""

    seed: int
    peers: int
    violations: list[Violation] = field(default_factory=list)
    coverage: Counter[str] = field(default_factory=Counter)
    befell: dict[int, int] = field(default_factory=dict)
    digest: str = ""
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    started: int = 0
    """Founders and newcomers."""
    finished: int = 0
