"""A trial without a simulation: scenes are made by hand, and what a checker says of them is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from marfl_peer.config import Settings
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.lab.simulator.invariants.checker import Charge, Trial
from marfl_peer.lab.simulator.invariants.ledger import Ledger
from marfl_peer.lab.simulator.invariants.peace import Peace
from marfl_peer.lab.simulator.invariants.scene import Agreed, Cast, Held, Life
from marfl_peer.lab.simulator.invariants.sight import Vector
from marfl_peer.lab.simulator.simulation import Player
from marfl_peer.lab.simulator.world import World
from marfl_peer.protocol.messages import Ballot, LineName, Member, Seat
from marfl_peer.protocol.view import Membership, MembershipEvent, View

TIME = 100.0
"""Long after any trouble."""


def peer(number: int) -> PeerId:
    return PeerId(f"{number:040x}")


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


class Court:
    """So many peers that founded a swarm in groups of two; `charges` are what was said against them."""

    def __init__(self, peers: int = 4, group_size: int = 2) -> None:
        self.charges: list[Charge] = []
        self.world = World(1)
        self.cast, self.peace, self.ledger = Cast(), Peace(), Ledger()
        self.peace.attach(self.world)
        self.lives = [self._life(number) for number in range(peers)]
        membership = Membership()
        membership.add(
            MembershipEvent(peer_id=peer(number), incarnation=1, kind="joined", iteration=-1) for number in range(peers)
        )
        self.view: View = membership.view(Iteration(1), group_size)
        self.trial = Trial(
            settings=Settings(iterations=3),
            cast=self.cast,
            peace=self.peace,
            ledger=self.ledger,
            accuse=self.charges.append,
        )

    def _life(self, number: int) -> Life:
        host = self.world.add_host(Path("/nowhere"))
        life = Life(player=Player(number, host), number=0, began_at=0.0, peer_id=peer(number), incarnation=1)
        self.cast.lives[number] = [life]
        return life

    def line(self, round: int = 1, lowest: int = 0, iteration: int = 1) -> LineName:
        return LineName(iteration=iteration, round=round, line=lowest, view_mark=self.view.mark)

    def said(self) -> list[str]:
        return [charge.text for charge in self.charges]


def ballot(attempt: int = 1, leader: int = 0) -> Ballot:
    return Ballot(attempt=attempt, leader=peer(leader))


def member(number: int, weight: int = 1, cell: int | None = None) -> Member:
    seat = Seat(cell=number if cell is None else cell, weight=weight, sums=(), maxima=())
    return Member(peer_id=peer(number), seats=(seat,), update_s=0.1)


def agreed(court: Court, who: int, name: LineName, of: Ballot, members: tuple[Member, ...], own: Vector) -> Agreed:
    weight = next(seat.weight for one in members if one.peer_id == peer(who) for seat in one.seats)
    return Agreed(
        time=TIME,
        life=court.lives[who],
        name=name,
        ballot=of,
        view=court.view,
        members=members,
        own=(weight, own) if name.round == 1 else None,
    )


def held(
    court: Court, who: int, name: LineName, of: Ballot | None, members: tuple[int, ...], weight: int, result: Vector
) -> Held:
    return Held(
        time=TIME,
        life=court.lives[who],
        name=name,
        view=court.view,
        outcome="skipped" if of is None else "complete",
        ballot=of,
        members=tuple(peer(number) for number in members),
        weight=weight,
        vector=None if of is None else result,
        own=None,
    )
