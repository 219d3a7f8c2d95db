"""How fast values come together, with the exchange abstracted: one number a peer, groups by grid, by chance or by hash.

Numbers only: who talks to whom, and what that costs, is not its business. Residual: the mean squared distance of the
peers' values from the weighted mean of all who started, relative to what it was before the first round. Shift: the
same of the weighted mean of the values itself; 0 where a scheme keeps the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.hashed import buckets_for, expected_residual, rounds_for

Placement = Literal["grid", "equal", "hashed"]
"""equal: groups of equal size, drawn by chance in every round. hashed: every peer draws its own."""
Rule = Literal["share", "sum", "ignored"]
"""The weight that a member leaves a group with: share: the group's weight / members; sum: the group's weight, as on a
grid; ignored: plain means, all weights 1."""
Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """`residuals` after each round; `expected` after the last, None where no theory is known."""

    rounds: int
    residuals: tuple[float, ...]
    expected: float | None
    shift: float

    @property
    def residual(self) -> float:
        return self.residuals[-1] if self.residuals else 0.0


def mix(
    placement: Placement,
    peers: int,
    group_size: int,
    rng: np.random.Generator,
    *,
    absent: float = 0.0,
    rule: Rule = "share",
    weights: Literal["equal", "unequal"] = "equal",
) -> Mixed:
    """One iteration from independent values. `absent`: the share of the peers that are away from the start."""
    values = rng.normal(size=peers)
    counts = np.ones(peers) if weights == "equal" else np.ceil(rng.lognormal(4.0, 1.0, size=peers))
    present = np.ones(peers, dtype=np.bool_)
    present[rng.permutation(peers)[: round(absent * peers)]] = False
    if placement == "grid":
        return mix_on_grid(values, counts, present, group_size)
    return _mix_by_chance(placement, values[present], counts[present], peers, group_size, rule, rng)


def average(mixed: list[Mixed]) -> Mixed:
    """The mean of several trials of one kind."""
    expected = [one.expected for one in mixed if one.expected is not None]
    return Mixed(
        rounds=mixed[0].rounds,
        residuals=tuple(float(np.mean(column)) for column in zip(*(one.residuals for one in mixed), strict=True)),
        expected=float(np.mean(expected)) if expected else None,
        shift=float(np.mean([one.shift for one in mixed])),
    )


def mix_on_grid(values: Values, counts: Values, present: Flags, group_size: int) -> Mixed:
    """One iteration from `values` [peers] with weights `counts`, a cell each in this order, of those `present`.

    With stand-ins and take-over: a line that somebody is on plays on for all of its cells.
    """
    grid = Grid.for_peers(len(values), group_size)
    stand_ins = grid.cells - len(values)
    first = np.where(present, counts, 0.0)
    weight: Values = np.append(first, np.zeros(stand_ins)).reshape(grid.shape)
    mass: Values = np.append(first * values, np.zeros(stand_ins)).reshape(grid.shape)
    # A stand-in is somebody else's second cell: of somebody that is there.
    held: Flags = np.append(present, np.ones(stand_ins, dtype=np.bool_)).reshape(grid.shape)
    cells = np.flatnonzero(present)
    gauge = _Gauge(values[present], counts[present])
    for axis in range(grid.rounds):
        here = held.any(axis=axis, keepdims=True)
        weight = np.broadcast_to(np.where(held, weight, 0.0).sum(axis=axis, keepdims=True), grid.shape)
        mass = np.broadcast_to(np.where(held, mass, 0.0).sum(axis=axis, keepdims=True), grid.shape)
        held = np.broadcast_to(here, grid.shape)
        lines = weight.reshape(-1)[cells]
        gauge.note(mass.reshape(-1)[cells] / np.maximum(lines, 1e-300), lines)
    return gauge.mixed(expected=0.0 if present.all() else None)


def _mix_by_chance(
    placement: Placement,
    values: Values,
    counts: Values,
    peers: int,
    group_size: int,
    rule: Rule,
    rng: np.random.Generator,
) -> Mixed:
    buckets = buckets_for(peers, group_size)
    draw, weigh = _DRAWS[placement], _RULES[rule]
    weight = np.ones_like(counts) if rule == "ignored" else counts
    gauge = _Gauge(values, counts)
    for _ in range(rounds_for(buckets, group_size)):
        group = draw(len(values), buckets, rng)
        total = np.bincount(group, weights=weight, minlength=buckets).astype(np.float64)
        mass = np.bincount(group, weights=weight * values, minlength=buckets)
        members = np.bincount(group, minlength=buckets).astype(np.int64)
        values = (mass / np.maximum(total, 1e-300))[group]
        weight = weigh(total, members)[group]
        gauge.note(values, weight)
    left = (buckets - 1) / (len(values) - 1) if placement == "equal" else expected_residual(len(values), buckets)
    return gauge.mixed(expected=left ** len(gauge.residuals) if rule == "share" else None)


class _Gauge:
    """Measures against the weighted mean of the values that it is made with."""

    def __init__(self, values: Values, weights: Values) -> None:
        self.residuals: list[float] = []
        self._mean = float(np.average(values, weights=weights))
        self._before = float(np.mean((values - self._mean) ** 2))
        self._shift = 0.0

    def note(self, values: Values, weights: Values) -> None:
        self.residuals.append(float(np.mean((values - self._mean) ** 2)) / self._before)
        self._shift = (float(np.average(values, weights=weights)) - self._mean) ** 2 / self._before

    def mixed(self, *, expected: float | None) -> Mixed:
        return Mixed(rounds=len(self.residuals), residuals=tuple(self.residuals), expected=expected, shift=self._shift)


def _equal_groups(peers: int, groups: int, rng: np.random.Generator) -> Numbers:
    return rng.permutation(np.arange(peers) % groups)


def _drawn_groups(peers: int, groups: int, rng: np.random.Generator) -> Numbers:
    return rng.integers(0, groups, size=peers)


def _shares(total: Values, members: Numbers) -> Values:
    return total / np.maximum(members, 1)


def _sums(total: Values, members: Numbers) -> Values:
    return total


def _ones(total: Values, members: Numbers) -> Values:
    return np.ones_like(total)


_DRAWS: Mapping[str, Callable[[int, int, np.random.Generator], Numbers]] = MappingProxyType(
    {"equal": _equal_groups, "hashed": _drawn_groups}
)
_RULES: Mapping[Rule, Callable[[Values, Numbers], Values]] = MappingProxyType(
    {"share": _shares, "sum": _sums, "ignored": _ones}
)
