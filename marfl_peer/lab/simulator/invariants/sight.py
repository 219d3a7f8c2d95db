"""What can be seen of a running peer from outside. The one place that reads private parts of the product; it only
reads, and gives copies away. What ought to be there, the checkers know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marfl_peer.averaging.codecs.residuals import Residuals
from marfl_peer.averaging.vector import MOMENTUM_KEY
from marfl_peer.ids import Cell, Round
from marfl_peer.peer.learner import Aside, ModelAtHand
from marfl_peer.peer.peer import Peer
from marfl_peer.peer.rounds import Rounds
from marfl_peer.peer.transfer import Transfer
from marfl_peer.protocol.iteration import Aggregation
from marfl_peer.protocol.messages import Ballot, LineName, Member
from marfl_peer.protocol.view import MembershipEvent, View

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Result:
    """What a peer holds of a line: of which ballot, the weight and the vector [n]."""

    ballot: Ballot
    weight: int
    vector: Vector


class Place(NamedTuple):
    """A place in a shard of the data."""

    shard: int | None
    epoch: int
    offset: int


def rounds_of(peer: Peer, iteration: int) -> Rounds | None:
    """The rounds of an iteration, as long as the peer serves them; those that began again, where they did."""
    newest_first = reversed(peer._parts.aggregator._all())
    return next((one for one in newest_first if one.aggregation.iteration == iteration), None)


def _on_grid(rounds: Rounds) -> Aggregation:
    """Checkers watch swarms on a grid."""
    assert isinstance(rounds.aggregation, Aggregation)
    return rounds.aggregation


def members_of(rounds: Rounds, name: LineName) -> tuple[Member, ...]:
    """The members, with their seats, of the ballot that the peer accepted last on a line."""
    return _on_grid(rounds)._lines[name].members


def own_update(rounds: Rounds) -> tuple[int, Vector] | None:
    """The weight and the vector [n] that the peer brings to round 1 for its own cell; None before it is there."""
    aggregation = _on_grid(rounds)
    walk = aggregation._walks.get(aggregation.home)
    stand = None if walk is None else walk.stand_at(1)
    return None if stand is None else (stand.holding.weight, _copy(rounds.vectors[None]))


def result_of(rounds: Rounds, name: LineName) -> Result | None:
    """What the peer holds of a line that it is through with."""
    ballot, stand = rounds.aggregation.completed(name), rounds.aggregation.result_of(name)
    if ballot is None or stand is None:
        return None
    return Result(ballot=ballot, weight=stand.holding.weight, vector=_copy(rounds.vectors[name]))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rounding:
    """What encoding left over in one exchange of a peer, by the first float of each segment: `before` it, and `after`.
    `place`: its lowest cell, but for what is averaged away by then.
    `carried` [n]: what that added to the weighted mean of the members, here alone."""

    place: int
    before: dict[int, Vector]
    after: dict[int, Vector]
    carried: Vector


def rounding_of(rounds: Rounds, name: LineName, ballot: Ballot) -> Rounding | None:
    """Of the exchange of a ballot that completed; None where values were sent in full, or the result was fetched."""
    transfer = rounds._attempts._transfers.get((name, ballot))
    if not isinstance(transfer, Transfer) or transfer._coder is None:
        return None
    before, after = _segments(transfer._coder._residuals), _segments(transfer.left_over())
    view, round = rounds.aggregation.view, Round(name.round)
    assert view is not None
    cells = [
        seat.cell for member in members_of(rounds, name) if member.peer_id == transfer._me for seat in member.seats
    ]
    place = min(view.grid.same_state(Cell(cell), round)[0] for cell in cells)
    plan, me, mine = transfer.plan, transfer._me, transfer.plan.chunks[transfer._me]
    shares = {peer: weight / plan.total_weight for peer, weight in zip(plan.contributors, plan.weights, strict=True)}
    carried = np.zeros(transfer.result.numel(), dtype=np.float32)
    for start, left in after.items():
        is_result = plan.streams_back and mine.start <= start < mine.stop
        share = 1.0 if is_result else shares.get(me, 0.0)
        carried[start : start + len(left)] = share * (before.get(start, 0.0) - left)
    return Rounding(place=place, before=before, after=after, carried=carried)


def _segments(residuals: Residuals) -> dict[int, Vector]:
    found = {start: residuals.at(start) for start in residuals}
    return {start: _copy(left) for start, left in found.items() if left is not None}


def current_view(peer: Peer) -> View | None:
    """The view of the iteration that is open."""
    rounds = peer._parts.iterations.rounds
    return None if rounds is None else rounds.aggregation.view


def membership_events(peer: Peer, iteration: int) -> tuple[MembershipEvent, ...]:
    """Those that count in an iteration: before a merge, what this part of the swarm knows of itself."""
    return peer._roster._counting(iteration).events()


def agreed_vector(peer: Peer) -> Vector | None:
    """The state that the peer gives to those who are behind."""
    state = peer._parts.states.agreed
    return None if state is None else _copy(state.vector)


def model_vector(peer: Peer) -> Vector:
    """Parameters, then their momentum, of the model that is trained: put together without the product's packing.

    Only for models whose buffers are all sent nowhere, as the simulated task's.
    """
    return _vector_of(peer, peer._parts.learner.own())


def agreed_model(peer: Peer) -> Vector:
    """The same of the model that holds the agreed state: another one where an update runs beside the exchange."""
    return _vector_of(peer, peer._parts.training._overlap.holder(peer._parts.learner.own()))


def trains_beside(peer: Peer) -> bool:
    """Whether the update that is under way, or just over, was begun before the iteration that is open."""
    return peer._parts.training._overlap.is_running


def _vector_of(peer: Peer, hand: ModelAtHand) -> Vector:
    parameters = list(hand.model.parameters())
    pieces = [parameter.detach().flatten() for parameter in parameters]
    if peer._parts.learner.schema.has_momentum:
        assert hand.optimizer is not None
        state = hand.optimizer.state
        pieces += [
            state[parameter][MOMENTUM_KEY].flatten() if parameter in state else torch.zeros(parameter.numel())
            for parameter in parameters
        ]
    return _copy(torch.cat(pieces))


def place_in_data(peer: Peer) -> Place:
    """Where in its data the first mini-batch after the agreed state starts."""
    trainer = peer._parts.learner.trainer
    assert trainer is not None
    holder = peer._parts.training._overlap.holder(peer._parts.learner.own())
    position = holder.position if isinstance(holder, Aside) else trainer.position
    return Place(shard=trainer.shard.index, epoch=position.epoch, offset=position.offset)


def samples_of(peer: Peer) -> int:
    return peer._parts.learner.samples


def allowance_s(peer: Peer, iteration: int) -> float:
    """What a round may take besides patience."""
    rounds = rounds_of(peer, iteration)
    return 2.0 if rounds is None else _on_grid(rounds).timetable._allowance


def delay_s(peer: Peer, iteration: int) -> float:
    """What members may be held up by before the rounds, besides their updates: where there is no grid, nothing is."""
    rounds = rounds_of(peer, iteration)
    aggregation = None if rounds is None else rounds.aggregation
    return aggregation.timetable._delay_s if isinstance(aggregation, Aggregation) else 0.0


def _copy(tensor: torch.Tensor) -> Vector:
    copied: Vector = tensor.detach().numpy().copy()
    return copied
