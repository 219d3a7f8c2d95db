"""What a swarm costs and how near it comes to the mean as it grows: grid against placement by hash, in one table.

Puts `mixing` and `control` side by side, and draws; works nothing out itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from rich import box
from rich.table import Table

from marfl_peer.lab.control import count_messages, expected_messages
from marfl_peer.lab.mixing import Mixed, Rule, average, mix

ABSENT = 0.2
COUNTED_UP_TO = 256
"""Peers whose machines are played in a second or so; for more the messages are worked out."""
EXACT = 1e-20
"""A residual below this is rounding."""
PLACEMENTS: tuple[Literal["grid", "hashed"], ...] = ("grid", "hashed")
HEADER = ("peers", "placement", "rounds", "residual", "theory", "20% absent", "messages", "look-ups")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleRow:
    """One iteration of `peers` peers. Residuals are relative variances after the last round: measured, as theory has
    it, and measured with a fifth of the peers absent. `messages` a peer sends, counted at the real machines or, where
    `is_counted` is False, worked out; `lookups` a peer makes in the DHT while nobody comes or goes."""

    peers: int
    placement: Literal["grid", "hashed"]
    rounds: int
    residual: float
    expected: float | None
    residual_absent: float
    messages: float
    is_counted: bool
    lookups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """What a rule for the weights of members comes to, with unequal weights and groups by hash."""

    rule: Rule
    residual: float
    shift: float


def scale_rows(
    sizes: Iterable[int], *, group_size: int = 4, seed: int = 0, trials: int = 8, counted_up_to: int = COUNTED_UP_TO
) -> list[ScaleRow]:
    """Two rows for each number of peers, from 2 on."""
    rng = np.random.default_rng(seed)
    rows = []
    for peers in sizes:
        for placement in PLACEMENTS:
            whole = average([mix(placement, peers, group_size, rng) for _ in range(trials)])
            partial = average([mix(placement, peers, group_size, rng, absent=ABSENT) for _ in range(trials)])
            is_counted = peers <= counted_up_to
            messages = (count_messages if is_counted else expected_messages)(placement, peers, group_size)
            row = ScaleRow(
                peers=peers,
                placement=placement,
                rounds=whole.rounds,
                residual=whole.residual,
                expected=whole.expected,
                residual_absent=partial.residual,
                messages=messages,
                is_counted=is_counted,
                lookups=whole.rounds if placement == "hashed" else 0,
            )
            rows.append(row)
    return rows


def rule_rows(peers: int, *, group_size: int = 4, seed: int = 0, trials: int = 100) -> list[RuleRow]:
    """One row for each rule."""
    rng = np.random.default_rng(seed)
    mixed: list[tuple[Rule, Mixed]] = [
        (rule, average([mix("hashed", peers, group_size, rng, rule=rule, weights="unequal") for _ in range(trials)]))
        for rule in get_args(Rule)
    ]
    return [RuleRow(rule=rule, residual=one.residual, shift=one.shift) for rule, one in mixed]


def scale_table(rows: Sequence[ScaleRow]) -> Table:
    """For a terminal."""
    table = Table(box=box.ROUNDED)
    for title in HEADER:
        table.add_column(title, justify="left" if title == "placement" else "right")
    for row in rows:
        table.add_row(*_cells(row), end_section=row.placement == PLACEMENTS[-1])
    return table


def scale_markdown(rows: Sequence[ScaleRow]) -> str:
    """For a page."""
    return _markdown(HEADER, [_cells(row) for row in rows])


def rule_markdown(rows: Sequence[RuleRow]) -> str:
    cells = [(row.rule, _variance(row.residual), _variance(row.shift)) for row in rows]
    return _markdown(("rule", "residual", "shift of the mean"), cells)


def _cells(row: ScaleRow) -> tuple[str, ...]:
    expected = "-" if row.expected is None else _variance(row.expected)
    messages = f"{row.messages:.1f}" if row.is_counted else f"({row.messages:.1f})"
    measured = (_variance(row.residual), expected, _variance(row.residual_absent))
    return (f"{row.peers:,}", row.placement, str(row.rounds), *measured, messages, str(row.lookups))


def _variance(value: float) -> str:
    return "0" if value < EXACT else f"{value:.1e}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
