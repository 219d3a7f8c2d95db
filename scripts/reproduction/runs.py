"""A run: one command of marfl-peer, and what is kept of it. Pure; it knows no folder, no clock and no process.

The command is the identity of a run: figures of another command are never taken for its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

DATA = "DIR"
"""Stands for the folder of the data in a command that is quoted."""
OF_SWARM = ("peers", "churn")
"""What `swarm` takes besides settings."""


class Kind(Enum):
    """Of the command; the value is what follows `marfl-peer`."""

    SWARM = "swarm"
    SCALING = "bench scaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`flags` are by name, as settings are: `group_size`. `counts_parameters`: how many the model has is kept, too;
    `keeps_model`: the trained model itself, which should be small. Numbers of peers go into `flags`."""

    name: str
    kind: Kind = Kind.SWARM
    flags: Mapping[str, str]
    needs_data: bool = False
    counts_parameters: bool = False
    keeps_model: bool = False

    @property
    def seed(self) -> int | None:
        """None where nothing is drawn."""
        return int(self.flags["seed"]) if "seed" in self.flags else None

    @property
    def command(self) -> str:
        """As a person would type it."""
        return shlex.join(("marfl-peer", *self.arguments(DATA)))

    def arguments(self, data_dir: str) -> Sequence[str]:
        """What follows `marfl-peer`; `data_dir` counts where the run needs data."""
        flags = dict(self.flags) | ({"data_dir": data_dir} if self.needs_data else {})
        pairs = ((f"--{name.replace('_', '-')}", value) for name, value in flags.items())
        return (*self.kind.value.split(), *(word for pair in pairs for word in pair))


def swarm(
    name: str,
    *settings: Mapping[str, object],
    needs_data: bool = False,
    counts_parameters: bool = False,
    keeps_model: bool = False,
) -> Run:
    """A run of a swarm; of equal names in `settings` the last counts."""
    return Run(
        name=name,
        flags=_texts(*settings),
        needs_data=needs_data,
        counts_parameters=counts_parameters,
        keeps_model=keeps_model,
    )


def scaling(name: str, *settings: Mapping[str, object]) -> Run:
    """A run of `bench scaling`: bytes without training."""
    return Run(name=name, kind=Kind.SCALING, flags=_texts(*settings))


def _texts(*settings: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for one in settings for name, value in one.items()}


def grouped(runs: Sequence[Run]) -> list[tuple[str, list[int]]]:
    """Commands that differ in nothing but the seed as one, with SEED in its place, and their seeds."""
    found: dict[str, list[int]] = {}
    for run in runs:
        seeds = found.setdefault(_without_seed(run), [])
        if run.seed is not None and run.seed not in seeds:
            seeds.append(run.seed)
    return list(found.items())


def _without_seed(run: Run) -> str:
    if run.seed is None:
        return run.command
    flags = {name: "SEED" if name == "seed" else value for name, value in run.flags.items()}
    return Run(name=run.name, kind=run.kind, flags=flags, needs_data=run.needs_data).command
