"""Groups by lot over real links on loopback: who meets whom, what weight is, and how fast peers come together."""

from __future__ import annotations

import asyncio

import pytest
import torch
from averaging_peers import Averager, averagers, view_of

from marfl_peer.config import Settings
from marfl_peer.facts import GroupFinished
from marfl_peer.ids import Round
from marfl_peer.lab.baselines.by_lot import ByLot, LotPlacement
from marfl_peer.peer.flows import GroupFlow

LENGTH = 300


def place(peer: Averager, scheme: ByLot, settings: Settings) -> LotPlacement:
    return LotPlacement(
        peer.me,
        draw=lambda view: scheme.draw(settings, view),
        links=peer.links,
        aggregator=peer.aggregator,
        vector_bytes=4 * LENGTH,
    )


async def iterate(peers: list[Averager], placements: list[LotPlacement], iteration: int) -> list[torch.Tensor]:
    """One iteration of all, from the vectors that are their own."""
    view = view_of(peers, 4, iteration)

    async def one(peer: Averager, placement: LotPlacement) -> torch.Tensor:
        peer.rounds = placement.begin(view, update_times_s=[], gone=[])
        peer.rounds.arrive(peer.own.clone(), placement.brought(peer.holding()), update_s=0.0)
        for round in range(1, peer.rounds.aggregation.rounds + 1):
            placement.meet(view, Round(round))
            await peer.rounds.round(round)
        vector, holding = peer.rounds.result()
        assert abs(placement.told(holding).weight * 2**20 - holding.weight) < 2**20
        return vector.clone()

    return await asyncio.gather(*(one(*pair) for pair in zip(peers, placements, strict=True)))


@pytest.mark.parametrize(("scheme", "size"), [(ByLot("random"), 4), (ByLot("gossip", is_in_pairs=True), 2)])
def test_groups_are_those_that_were_drawn_and_the_mean_stays(on_loop, scheme: ByLot, size: int) -> None:
    async def main() -> None:
        settings = Settings(aggregation=scheme.name, seed=5, rounds=3)
        async with averagers(9, LENGTH, connect=False) as peers:
            for peer in peers:
                peer.weight = 10
            mean = torch.stack([peer.own for peer in peers]).double().mean(0)
            placements = [place(peer, scheme, settings) for peer in peers]
            vectors = await iterate(peers, placements, 1)
            drawing = scheme.draw(settings, view_of(peers, 4, 1))
            assert max(len(group) for group in drawing.groups(Round(1))) <= size
            for peer in peers:
                met = {fact.round: fact.members for fact in peer.facts if isinstance(fact, GroupFinished)}
                assert met == {round: drawing.mates(peer.me, Round(round)) for round in (1, 2, 3)}
                assert peer.faults() == []
            if size == 2:  # pairs are equal in size but for the one that is alone, which keeps what it has
                assert (torch.stack(vectors).double().mean(0) - mean).norm() <= 1e-5 * mean.norm()
            assert all(placement.shape(view_of(peers, 4)) == () for placement in placements)
            assert all(placement.lookups == 0 for placement in placements)
            for placement in placements:
                await placement.close()

    on_loop(main())


def test_real_groups_leave_their_share_of_the_variance_on_average(on_loop) -> None:
    """(r - 1) / (N - 1) of it, in one round of two groups of four: within three standard errors of 50 rounds."""

    async def main() -> None:
        scheme, settings = ByLot("random"), Settings(aggregation="random", rounds=1)
        async with averagers(8, LENGTH) as peers:
            for peer in peers:
                peer.weight = 10
            placements = [place(peer, scheme, settings) for peer in peers]
            before = torch.stack([peer.own for peer in peers]).double().var(0, unbiased=False).sum()
            left = []
            for iteration in range(1, 51):
                vectors = await iterate(peers, placements, iteration)
                left.append(float(torch.stack(vectors).double().var(0, unbiased=False).sum() / before))
            error = torch.tensor(left).std() / len(left) ** 0.5
            assert error < 0.15 / 7
            assert abs(sum(left) / len(left) - 1 / 7) <= 3 * error

    on_loop(main())


@pytest.mark.parametrize(
    ("scheme", "asked", "rounds"),
    [
        (ByLot("random"), 0, 2),
        (ByLot("random"), 5, 5),
        (ByLot("gossip", is_in_pairs=True), 0, 1),
        (ByLot("gossip", is_in_pairs=True), 4, 4),
    ],
)
def test_rounds_are_those_of_a_grid_or_what_the_settings_say(on_loop, scheme: ByLot, asked: int, rounds: int) -> None:
    async def main() -> None:
        async with averagers(9, 10, connect=False) as peers:
            settings = Settings(aggregation=scheme.name, rounds=asked)
            assert scheme.draw(settings, view_of(peers, 4)).rounds == rounds
            assert scheme.draw(settings, view_of(peers[:1], 4)).rounds == (asked or 1)
            assert scheme.flow(settings) == GroupFlow("butterfly", "measured")
            assert scheme.group_size(settings) == settings.group_size

    on_loop(main())
