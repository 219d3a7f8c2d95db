"""What a report knows of a run: the summary that `swarm` and `simulate` write, and what follows from it.

Knows the summary's JSON and nothing of who wrote it; what a summary of another version lacks is unknown here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import msgspec

from marfl_peer.errors import ConfigError


class Iteration(msgspec.Struct, frozen=True, kw_only=True):
    """One iteration of all peers, as a summary has it. Epsilons are those of differential privacy: against a member of
    the own group, and against everybody else."""

    iteration: int
    test_accuracy_mean: float | None = None
    train_loss_mean: float | None = None
    disagreement: float | None = None
    seconds: float | None = None
    bytes_sent: Mapping[str, int] = {}
    groups_complete: int = 0
    groups_partial: int = 0
    peers_alive: int = 0
    peers_skipped: int = 0
    mixing_residual: tuple[float, ...] | None = None
    epsilon_mate: float | None = None
    epsilon_outsider: float | None = None

    @property
    def peers_finished(self) -> int:
        return self.peers_alive - self.peers_skipped


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: of the file or folder that it was read from. `heard`: of how many peers the figures are, where that is
    not all. Empty texts, 0 for the group size and no settings stand for what is not known."""

    run_id: str
    task: str
    peers: int
    group_size: int = 0
    grid: tuple[int, ...] = ()
    exchange: str = ""
    codec: str = ""
    settings: Mapping[str, object] = {}
    command: str = ""
    vector_bytes: int | None = None
    iterations: tuple[Iteration, ...]
    bytes_sent_per_peer_per_iteration: Mapping[str, float]
    peers_started: int
    peers_finished: int
    peers_lost: int
    churn: Mapping[str, int] = {}
    churn_plan: str = ""
    wall_seconds: float
    name: str = ""
    heard: int | None = None

    @property
    def aggregation(self) -> str:
        """The scheme; empty where it is not known."""
        return str(self.settings.get("aggregation", ""))

    @property
    def is_simulated(self) -> bool:
        """Whether its seconds are virtual."""
        return self.command.startswith("marfl-peer simulate")

    @property
    def accuracies(self) -> list[tuple[Iteration, float]]:
        """The iterations whose state was tested, with the test accuracy."""
        return [(row, row.test_accuracy_mean) for row in self.iterations if row.test_accuracy_mean is not None]

    @property
    def final_accuracy(self) -> float | None:
        """Of the last state that was tested."""
        return self.accuracies[-1][1] if self.accuracies else None

    @property
    def bytes_until(self) -> dict[int, int]:
        """Bytes that all peers had sent when an iteration was over, by iteration."""
        sums = accumulate(sum(row.bytes_sent.values()) for row in self.iterations)
        return {row.iteration: sent for row, sent in zip(self.iterations, sums, strict=True)}

    @property
    def bytes_of_all(self) -> int:
        return sum(sum(row.bytes_sent.values()) for row in self.iterations)

    @property
    def bytes_of_a_peer(self) -> float:
        """That a peer sent in an iteration, on average."""
        return sum(self.bytes_sent_per_peer_per_iteration.values())

    def reached(self, accuracy: float) -> Iteration | None:
        """The first iteration after which the test accuracy was that or higher."""
        return next((row for row, reached in self.accuracies if reached >= accuracy), None)


def read_run(content: bytes, *, name: str, origin: str) -> Run:
    """The run of a summary's JSON. `origin`: the file, for errors.

    Raises: ConfigError for what is no summary, or one of a run in which nobody finished an iteration.
    """
    try:
        run = msgspec.json.decode(content, type=Run)
    except msgspec.ValidationError as error:
        raise ConfigError(origin, None, f"is not the summary of a run: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(origin, None, f"is not JSON: {error}") from None
    return checked(msgspec.structs.replace(run, name=name), origin=origin)


def checked(run: Run, *, origin: str) -> Run:
    """The run with its iterations in order. Raises: ConfigError where there are none, or one twice."""
    rows = tuple(sorted(run.iterations, key=lambda row: row.iteration))
    if not rows:
        raise ConfigError(origin, None, "no peer finished an iteration: there is nothing to report")
    if len({row.iteration for row in rows}) < len(rows):
        raise ConfigError(origin, None, "is not the summary of a run: an iteration is in it twice")
    return msgspec.structs.replace(run, iterations=rows)
