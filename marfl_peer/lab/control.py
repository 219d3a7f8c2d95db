"""How many messages a peer sends for one iteration: counted at the real machines of N peers, played against each other
without network and without failures, and what that comes to for any N.

Exchanges are abstracted: they end when all members were ready. Tensor bytes and the DHT's datagrams are not counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from marfl_peer.ids import Iteration, PeerId, Round, RunId, dht_key
from marfl_peer.protocol.aggregations import AnyAggregation
from marfl_peer.protocol.grid import Grid
from marfl_peer.protocol.hashed import Hashing, buckets_for, rounds_for
from marfl_peer.protocol.hashed_iteration import HashedAggregation
from marfl_peer.protocol.instructions import Instruction, OpenExchange, Send
from marfl_peer.protocol.iteration import Aggregation
from marfl_peer.protocol.messages import Ballot, LineName, Message, Ready
from marfl_peer.protocol.seats import Holding
from marfl_peer.protocol.view import FOUNDING, Membership, MembershipEvent

Attempt = tuple[LineName, Ballot]
_ITERATION = Iteration(1)
_FAST_LINK = 1e9


def count_messages(placement: Literal["grid", "hashed"], peers: int, group_size: int) -> float:
    """Control messages that a peer sends in one iteration, on average; one signed digest a member of an exchange is
    among them."""
    names = [PeerId(dht_key("peer", number).hex()) for number in range(peers)]
    hall = _Hall()
    machines = _on_grid(names, group_size) if placement == "grid" else _by_hash(names, group_size)
    hall.play(machines)
    return hall.sent / peers


def expected_messages(placement: Literal["grid", "hashed"], peers: int, group_size: int) -> float:
    """The same by counting what a group of k peers says: k - 1 announcements to the leader and k - 1 proposals;
    `ready`, digest and `done` from everybody to everybody. With placement `hashed` the announcements, too, go to all,
    and k is drawn: k - 1 are the others in a peer's bucket."""
    if placement == "hashed":
        buckets = buckets_for(peers, group_size)
        others = (peers - 1) / buckets
        filled = buckets * (1.0 - (1.0 - 1.0 / buckets) ** peers)
        # A leader's proposals: of all k - 1 in a group one peer sends them, peers - filled in all.
        return rounds_for(buckets, group_size) * (4 * others + (peers - filled) / peers)
    grid = Grid.for_peers(peers, group_size)
    a_cell = sum(3 * (k - 1) + 2 * (k - 1) / k for k in grid.shape)
    return a_cell * grid.cells / peers


@dataclass(slots=True)
class _Hall:
    """Where the machines' messages go, one after the other."""

    sent: int = 0
    machines: dict[PeerId, AnyAggregation] = field(default_factory=dict)
    queue: deque[tuple[PeerId, PeerId, Message]] = field(default_factory=deque)
    waiting: dict[tuple[PeerId, Attempt], set[str]] = field(default_factory=dict)
    early: dict[tuple[PeerId, Attempt], set[str]] = field(default_factory=dict)

    def play(self, machines: dict[PeerId, AnyAggregation]) -> None:
        """Until all are through. Every machine has what its look-ups found already."""
        self.machines = machines
        for peer, machine in machines.items():
            self.do(peer, machine.arrive(Holding(weight=1, sums=(), maxima=()), update_s=0.0, now=0.0))
        while self.queue:
            sender, to, message = self.queue.popleft()
            if isinstance(message, Ready):
                self.ready(to, (message.name, message.ballot), sender)
            else:
                self.do(to, self.machines[to].heard(sender, message, now=0.0))  # type: ignore[arg-type]  # about lines

    def do(self, peer: PeerId, steps: Sequence[Instruction]) -> None:
        for step in steps:
            match step:
                case Send():
                    self.sent += 1
                    self.queue.append((peer, step.to, step.message))
                case OpenExchange():
                    attempt = (step.name, step.ballot)
                    others = {member.peer_id for member in step.members} - {peer}
                    self.sent += len(others)  # its digest
                    self.waiting[peer, attempt] = others - self.early.pop((peer, attempt), set())
                    self.end(peer, attempt)
                case _:
                    pass

    def ready(self, peer: PeerId, attempt: Attempt, sender: str) -> None:
        if (peer, attempt) in self.waiting:
            self.waiting[peer, attempt].discard(sender)
            self.end(peer, attempt)
        else:
            self.early.setdefault((peer, attempt), set()).add(sender)

    def end(self, peer: PeerId, attempt: Attempt) -> None:
        if not self.waiting[peer, attempt]:
            self.do(peer, self.machines[peer].exchanged(*attempt, now=0.0))


def _on_grid(names: list[PeerId], group_size: int) -> dict[PeerId, AnyAggregation]:
    membership = Membership()
    membership.add(MembershipEvent(peer_id=peer, incarnation=1, kind="joined", iteration=FOUNDING) for peer in names)
    view = membership.view(_ITERATION, group_size)
    return {
        peer: Aggregation(
            me=peer,
            view=view,
            iteration=_ITERATION,
            vector_bytes=0,
            slowest_link_bytes_per_s=_FAST_LINK,
            update_times_s=(),
            gone=(),
        )
        for peer in view.members
    }


def _by_hash(names: list[PeerId], group_size: int) -> dict[PeerId, AnyAggregation]:
    buckets = buckets_for(len(names), group_size)
    hashing = Hashing(run_id=RunId("scale"), buckets=buckets, rounds=rounds_for(buckets, group_size))
    machines: dict[PeerId, AnyAggregation] = {}
    groups: dict[tuple[int, int], list[PeerId]] = {}
    numbers = [Round(round) for round in range(1, hashing.rounds + 1)]
    for peer in names:
        for round in numbers:
            groups.setdefault((round, hashing.bucket(peer, _ITERATION, round)), []).append(peer)
    for peer in names:
        machine = HashedAggregation(
            me=peer,
            hashing=hashing,
            iteration=_ITERATION,
            vector_bytes=0,
            slowest_link_bytes_per_s=_FAST_LINK,
            update_times_s=(),
        )
        for round in numbers:
            mates = groups[round, hashing.bucket(peer, _ITERATION, round)]
            machine.found(round, [mate for mate in mates if mate != peer], now=0.0)
        machines[peer] = machine
    return machines
