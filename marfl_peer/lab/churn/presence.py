"""Where every local peer is in the run, as far as its facts tell, and who can be struck. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from marfl_peer.facts import Fact, IterationFinished, IterationSkipped, IterationStarted, PeerStarted, PeerStopped


@dataclass(slots=True)
class Whereabouts:
    """Of one peer in its present life. `begun` and `through` are iterations; 0 before the first."""

    is_running: bool = False
    is_stopped: bool = False
    """By SIGSTOP: it runs, and does nothing."""
    begun: int = 0
    through: int = 0
    away_in: int = 0
    """The iteration in which it was stopped last; it is back once it has begun a later one."""


class Presence:
    """`newest` is the iteration that the first peer has begun. `is_over`: a peer has come to the end of the run."""

    def __init__(self, peers: int) -> None:
        self.peers = [Whereabouts() for _ in range(peers)]
        self.newest = 0
        self.is_over = False

    def exited(self, index: int) -> None:
        self.peers[index] = Whereabouts()

    def heard(self, index: int, fact: Fact) -> None:
        peer = self.peers[index]
        match fact:
            case PeerStarted():
                self.peers[index] = Whereabouts(is_running=True)
            case IterationStarted():
                peer.begun = max(peer.begun, fact.iteration)
                self.newest = max(self.newest, fact.iteration)
            case IterationFinished() | IterationSkipped():
                peer.through = max(peer.through, fact.iteration)
            case PeerStopped():
                # One that was asked to leave says nothing about the others.
                self.is_over = self.is_over or fact.reason in ("finished", "target_reached", "budget_reached")

    def stopped(self, index: int, iteration: int) -> None:
        """By SIGSTOP, in this iteration."""
        self.peers[index].is_stopped, self.peers[index].away_in = True, iteration

    def within(self, iteration: int) -> list[int]:
        """Who runs and is in the swarm, where it has got to this iteration or is about to."""
        return [
            index
            for index, peer in enumerate(self.peers)
            if peer.is_running and not peer.is_stopped and peer.begun >= iteration - 1
        ]

    def are_through(self, iteration: int) -> bool:
        """Whether most of those who run, are in the swarm and not on their way back have the iteration behind them: its
        aggregation has gone by then."""
        counted = [peer for peer in self.peers if peer.is_running and not peer.is_stopped and peer.begun > peer.away_in]
        return 2 * sum(peer.through >= iteration for peer in counted) > len(counted) or not counted
