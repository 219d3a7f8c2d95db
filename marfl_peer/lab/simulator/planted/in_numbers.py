"""Planted in what is averaged: weights, the order of sums, which vector, momentum, what is not finite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from marfl_peer.averaging.vector import pack
from marfl_peer.lab.simulator.planted.planting import Patch, Planted, swapped
from marfl_peer.peer import catchup, fetching, iterations, learner, results, resuming, training, transfer
from marfl_peer.peer.attempts import Attempts
from marfl_peer.peer.vectors import Vectors
from marfl_peer.protocol import iteration
from marfl_peer.protocol.exchange import Exchange
from marfl_peer.protocol.iteration import Aggregation
from marfl_peer.protocol.messages import ResultOffer
from marfl_peer.protocol.seats import Holding


def _largest_weight(before: Any) -> Any:
    def combine(seats: Any) -> Holding:
        seats = list(seats)
        whole: Holding = before(seats)
        return Holding(weight=max(seat.weight for seat in seats), sums=whole.sums, maxima=whole.maxima)

    return combine


def _home_vector(before: Any) -> Any:
    def contribution(self: Vectors, name: Any, cells: Any) -> Any:
        return self._by_name[self._aggregation.home_stand().vector]

    return contribution


def _own_part_first(before: Any) -> Any:
    """Each owner begins with its own part, as it is there first."""

    def reduce(self: transfer.Transfer, span: Any) -> None:
        plan = self.plan
        pairs = sorted(zip(plan.contributors, plan.weights, strict=True), key=lambda pair: (pair[0] != self._me, pair))
        plan = replace(
            plan, contributors=tuple(peer for peer, _ in pairs), weights=tuple(weight for _, weight in pairs)
        )
        self.plan, right = plan, self.plan
        before(self, span)
        self.plan = right

    return reduce


def _weighty_nothing(before: Any) -> Any:
    """A stand-in's cell starts with the weight of its player."""

    def arrive(self: Aggregation, holding: Holding, **options: Any) -> Any:
        def weighty(**fields: Any) -> Holding:
            return Holding(**{**fields, "weight": holding.weight})

        with swapped(iteration, "Holding", weighty):
            return before(self, holding, **options)

    return arrive


def _goes_on_from_the_last(before: Any) -> Any:
    """What an attempt summed up before it was aborted is brought to the next."""

    def opened(self: Attempts, attempt: Any, members: Any, contribution: Any, **options: Any) -> None:
        kept = getattr(self, "_kept", {})
        before(self, attempt, members, kept.get(attempt[0], contribution), **options)

    return opened


def _keeps_sums(before: Any) -> Any:
    def abort(self: Attempts, attempt: Any) -> None:
        running = self._transfers.get(attempt)
        if isinstance(running, transfer.Transfer):
            kept = self.__dict__.setdefault("_kept", {})
            kept[attempt[0]] = torch.add(
                torch.from_numpy(running._contribution_values), torch.nan_to_num(running.result, 0.0, 0.0, 0.0)
            )
        before(self, attempt)

    return abort


def _without_momentum(before: Any) -> Any:
    def packed(schema: Any, model: Any, optimizer: Any, out: Any) -> None:
        before(schema, model, optimizer, out)
        out[schema.theta_length :] = 0.0

    return packed


def _momentum_kept(before: Any) -> Any:
    def unpacked(schema: Any, vector: Any, model: Any, optimizer: Any) -> None:
        vector = vector.clone()
        own = torch.empty_like(vector)
        pack(schema, model, optimizer, own)
        vector[schema.theta_length :] = own[schema.theta_length :]
        before(schema, vector, model, optimizer)

    return unpacked


def _nobody_to_blame(before: Any) -> Any:
    def has_culprit(self: transfer.Transfer, parts: Any) -> bool:
        return False

    return has_culprit


def _always_finite(before: Any) -> Any:
    return lambda values: True


def _every_peer_alike(before: Any) -> Any:
    async def aggregate(self: Any, hand: Any, update: Any, *, weight: int, update_s: float) -> Any:
        return await before(self, hand, update, weight=min(weight, 1), update_s=update_s)

    return aggregate


def _another_weight(before: Any) -> Any:
    def serve(self: results.Results, sender: Any, message: Any) -> None:
        def offer(**fields: Any) -> ResultOffer:
            return ResultOffer(**{**fields, "weight": fields["weight"] + 1})

        with swapped(results, "ResultOffer", offer):
            before(self, sender, message)

    return serve


def _own_update_served(before: Any) -> Any:
    def serve(self: fetching.Fetching, peer: Any, offer: Any, vector: Any) -> None:
        before(self, peer, offer, vector * 1.5)

    return serve


def _last_float_missed(before: Any) -> Any:
    def unfinished(self: Exchange) -> Any:
        self._missing_digests.clear()
        is_all_else_there = not self._missing_parts and len(self._ready) == len(self._others) > 1
        if is_all_else_there and self._missing_results == 1:
            self._missing_results = 0
        return before(self)

    return unfinished


NUMBERS = (
    Planted(
        name="weight not summed",
        description="a line's cells go on with the largest of its weights, not with their sum",
        breaks=("I2", "I6"),
        patches=(Patch(owner=iteration, name="combine", make=_largest_weight),),
    ),
    Planted(
        name="wrong cell's vector",
        description="whatever cell it plays, a peer brings what its own cell holds",
        breaks=("I2",),
        patches=(Patch(owner=Vectors, name="contribution", make=_home_vector),),
    ),
    Planted(
        name="sum in order of arrival",
        description="an owner sums what is there first, not in the order of the cells",
        breaks=("I6",),
        patches=(Patch(owner=transfer.Transfer, name="_reduce", make=_own_part_first),),
    ),
    Planted(
        name="stand-in with weight",
        description="an empty cell starts with the weight of whoever stands in for it",
        breaks=("I2", "I6"),
        patches=(Patch(owner=Aggregation, name="arrive", make=_weighty_nothing),),
    ),
    Planted(
        name="partial sum counted twice",
        description="what an aborted attempt had summed up is brought to the next one",
        breaks=("I2",),
        patches=(
            Patch(owner=Attempts, name="open", make=_goes_on_from_the_last),
            Patch(owner=Attempts, name="abort", make=_keeps_sums),
        ),
    ),
    Planted(
        name="momentum not sent",
        description="the vector is sent without the momentum",
        breaks=("I6",),
        patches=(Patch(owner=learner, name="pack", make=_without_momentum),),
    ),
    Planted(
        name="momentum not taken",
        description="a peer keeps its own momentum instead of the average",
        breaks=("I6",),
        patches=(Patch(owner=learner, name="unpack_", make=_momentum_kept),),
    ),
    Planted(
        name="NaN not checked",
        description="values that are not finite are averaged",
        breaks=("I8",),
        patches=(
            *(
                Patch(owner=owner, name="is_finite", make=_always_finite)
                for owner in (transfer, fetching, catchup, resuming, iterations)
            ),
            Patch(owner=transfer.Transfer, name="_has_culprit", make=_nobody_to_blame),
        ),
    ),
    Planted(
        name="every peer alike",
        description="a peer weighs 1, however many samples it owns",
        breaks=("I6",),
        patches=(Patch(owner=training.Training, name="_aggregate", make=_every_peer_alike),),
    ),
    Planted(
        name="fetched with another weight",
        description="a result is offered to late peers with a weight that it does not have",
        breaks=("I1", "I2"),
        patches=(Patch(owner=results.Results, name="_serve", make=_another_weight),),
    ),
    Planted(
        name="result taken without seals",
        description="a late peer takes whatever it is given, and is given something else",
        breaks=("I1", "I2"),
        patches=(
            Patch(owner=fetching.Fetching, name="serve", make=_own_update_served),
            Patch(owner=fetching.Fetching, name="_is_sealed", make=lambda before: lambda self, fetched: True),
        ),
    ),
    Planted(
        name="complete before all is there",
        description="a member ends its exchange without the last owner's result",
        breaks=("I1", "I2", "I8"),
        patches=(Patch(owner=Exchange, name="_finish_if_whole", make=_last_float_missed),),
    ),
)
