"""What failures cost a swarm: the figures of one run from the facts that its peers told, and their difference from the
same run in peace. Pure; knows neither what went wrong nor how a run is made.

Founders that no fault befell are the witnesses: waits, seconds and bytes are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from marfl_peer.averaging.disagreement import disagreement
from marfl_peer.facts import Evaluated, Fact, IterationFinished, StateFetched, WaitEnded
from marfl_peer.lab.tally import BYTE_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A wait for the result of a group. `allowed_s`: until D_g."""

    seconds: float = 0.0
    allowed_s: float = float("inf")

    @property
    def share(self) -> float:
        """Of what was allowed."""
        return self.seconds / self.allowed_s if self.allowed_s else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run. `accuracy` and `loss` are those of the last state on the whole test set, None where nobody tested it;
    `seconds` is when the last witness had finished the last iteration, None where none has; `bytes_sent` the mean
    witness's by kind; `weights` [iterations] the samples whose updates are in the average that the mean witness ended
    each iteration with. `missed`: iterations that a peer was to finish and has not, summed over peers."""

    missed_by_victims: int
    missed_by_others: int
    accuracy: float | None
    loss: float | None
    seconds: float | None
    longest_wait: Wait
    bytes_sent: Mapping[str, float]
    downloads: int
    weights: tuple[float, ...]
    disagreement: float


@dataclass(slots=True)
class _Peer:
    """What one member told, through all its lives; of an iteration its last word counts."""

    finished: dict[int, IterationFinished] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    tests: dict[int, Evaluated] = field(default_factory=dict)
    waits: list[Wait] = field(default_factory=list)
    bytes_sent: dict[str, int] = field(default_factory=dict)
    downloads: int = 0


class Meter:
    """`add` every fact of a run of `iterations` by `founders` peers; indices from there on are newcomers."""

    def __init__(self, *, founders: int, iterations: int) -> None:
        self.founders, self.iterations = founders, iterations
        self._peers: dict[int, _Peer] = {index: _Peer() for index in range(founders)}

    def add(self, index: int, fact: Fact, *, time: float) -> None:
        """A fact that the peer with this index told at this virtual second."""
        peer = self._peers.setdefault(index, _Peer())
        match fact:
            case IterationFinished():
                peer.finished[fact.iteration] = fact
                peer.times[fact.iteration] = time
                for kind, count in fact.bytes_sent.items():
                    peer.bytes_sent[kind] = peer.bytes_sent.get(kind, 0) + count
            case Evaluated() if fact.scope == "full":
                peer.tests[fact.iteration] = fact
            case WaitEnded() if fact.waited_for == "result":
                peer.waits.append(Wait(seconds=fact.seconds, allowed_s=fact.allowed_s))
            case StateFetched():
                peer.downloads += 1

    def figures(self, victims: Sequence[int]) -> Figures:
        """Of the whole run, with these as the peers that a fault befell. Raises: ValueError if no founder is left."""
        witnesses = [peer for index, peer in self._peers.items() if index < self.founders and index not in victims]
        if not witnesses:
            raise ValueError("a fault befell every founder: nobody is left to tell what it cost the others")
        last = self.iterations
        tests = [peer.tests[last] for peer in self._peers.values() if last in peer.tests]
        losses = [test.loss for test in tests if test.loss is not None]
        ends = [peer.times[last] for peer in witnesses if last in peer.times]
        sketches = [peer.finished[last].projection for _, peer in sorted(self._peers.items()) if last in peer.finished]
        return Figures(
            missed_by_victims=sum(self._missed(index) for index in self._peers if index in victims),
            missed_by_others=sum(self._missed(index) for index in self._peers if index not in victims),
            accuracy=fmean(test.correct / test.seen for test in tests) if tests else None,
            loss=fmean(losses) if losses else None,
            seconds=max(ends, default=None),
            longest_wait=max(
                (wait for peer in witnesses for wait in peer.waits), key=lambda wait: wait.seconds, default=Wait()
            ),
            bytes_sent={kind: fmean(peer.bytes_sent.get(kind, 0) for peer in witnesses) for kind in BYTE_KINDS},
            downloads=sum(peer.downloads for peer in self._peers.values()),
            weights=tuple(fmean(_weight(peer, iteration) for peer in witnesses) for iteration in range(1, last + 1)),
            disagreement=disagreement(sketches),
        )

    def _missed(self, index: int) -> int:
        """A founder is to finish all iterations, a newcomer those from its first on."""
        finished = self._peers[index].finished
        first = 1 if index < self.founders else min(finished, default=1)
        return self.iterations - first + 1 - len(finished)


def _weight(peer: _Peer, iteration: int) -> int:
    """0 for an iteration that it has not finished: no update of that number is in what it goes on from."""
    finished = peer.finished.get(iteration)
    return 0 if finished is None else finished.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run has more, or less, than the same in peace. `weight_lost` is in iterations' worth of the whole swarm's
    updates, below 0 where newcomers bring more than was lost; `loss_ratio` is that of the test losses; `longest_wait`
    and `disagreement` are the run's own, for they are next to nothing in peace."""

    missed_by_victims: int
    missed_by_others: int
    accuracy: float | None
    loss_ratio: float | None
    seconds: float | None
    longest_wait: Wait
    bytes_sent: Mapping[str, float]
    downloads: int
    weight_lost: float
    disagreement: float


def cost(run: Figures, peace: Figures) -> Cost:
    """Both of the same swarm, seed and witnesses."""
    return Cost(
        missed_by_victims=run.missed_by_victims,
        missed_by_others=run.missed_by_others,
        accuracy=_less(run.accuracy, peace.accuracy),
        loss_ratio=run.loss / peace.loss if run.loss is not None and peace.loss else None,
        seconds=_less(run.seconds, peace.seconds),
        longest_wait=run.longest_wait,
        bytes_sent={kind: sent - peace.bytes_sent[kind] for kind, sent in run.bytes_sent.items()},
        downloads=run.downloads - peace.downloads,
        weight_lost=sum(1.0 - got / whole for got, whole in zip(run.weights, peace.weights, strict=True) if whole),
        disagreement=run.disagreement,
    )


def _less(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base
