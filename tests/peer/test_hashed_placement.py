"""Groups by hash over real links on loopback, found under keys in one place that stands for the DHT."""

from __future__ import annotations

import asyncio

import torch
from averaging_peers import Averager, Shelf, averagers, until, view_of

from marfl_peer.averaging.disagreement import disagreement
from marfl_peer.clock import Clock
from marfl_peer.facts import GroupFinished
from marfl_peer.ids import Iteration, Round, RunId
from marfl_peer.peer import hashed_placement
from marfl_peer.peer.announcements import Announcements
from marfl_peer.peer.hashed_placement import HashedPlacement
from marfl_peer.protocol.hashed import Hashing, in_units

LENGTH = 300


def place(peer: Averager, shelf: Shelf, *, buckets: int = 2, rounds: int = 2) -> HashedPlacement:
    hashing = Hashing(run_id=RunId("run"), buckets=buckets, rounds=rounds)
    announcements = Announcements(
        hashing,
        identity=peer.identity,
        dht=shelf,  # type: ignore[arg-type]  # a stand-in with the methods that are used
        links=peer.links,
        clock=Clock(),
        address=lambda: ("127.0.0.1", peer.port),
        seeds=lambda: [("127.0.0.1", 7700)],
    )
    return HashedPlacement(
        hashing,
        me=peer.me,
        announcements=announcements,
        links=peer.links,
        aggregator=peer.aggregator,
        vector_bytes=4 * LENGTH,
    )


async def iterate(peers: list[Averager], placements: list[HashedPlacement], iteration: int) -> list[torch.Tensor]:
    """One iteration of all; their vectors after it are their own before the next."""
    view = view_of(peers, 4, iteration)

    async def one(peer: Averager, placement: HashedPlacement) -> torch.Tensor:
        peer.rounds = placement.begin(view, update_times_s=[], gone=[])
        peer.rounds.arrive(peer.own.clone(), placement.brought(peer.holding()), update_s=0.0)
        for round in range(1, peer.rounds.aggregation.rounds + 1):
            placement.meet(view, Round(round))
            await peer.rounds.round(round)
        vector, holding = peer.rounds.result()
        assert abs(placement.told(holding).weight * 2**20 - holding.weight) < 2**20
        peer.own = vector.clone()
        return vector

    return await asyncio.gather(*(one(*pair) for pair in zip(peers, placements, strict=True)))


def spread(peers: list[Averager]) -> float:
    return disagreement([tuple(peer.own.tolist()) for peer in peers])


def test_strangers_find_their_groups_by_key_and_come_together(on_loop) -> None:
    """No connection and no address is known at the start; equal weights: the mean of all stays."""

    async def main() -> None:
        async with averagers(8, LENGTH, connect=False) as peers:
            shelf = Shelf()
            for peer in peers:
                peer.weight = 10
                peer.links._links.clear()
            mean = torch.stack([peer.own for peer in peers]).double().mean(0)
            placements = [place(peer, shelf) for peer in peers]
            spreads = [spread(peers)]
            for iteration in range(1, 6):
                vectors = await iterate(peers, placements, iteration)
                spreads.append(spread(peers))
                assert (torch.stack(vectors).double().mean(0) - mean).norm() <= 1e-5 * mean.norm()
            assert spreads[-1] < 0.05 * spreads[0]
            assert all(peer.faults() == [] for peer in peers)
            for placement in placements:
                await placement.close()

    on_loop(main())


def test_groups_are_those_of_the_hash_once_everybody_announced_itself_ahead(on_loop) -> None:
    async def main() -> None:
        async with averagers(9, LENGTH) as peers:
            shelf = Shelf()
            placements = [place(peer, shelf) for peer in peers]
            hashing = Hashing(run_id=RunId("run"), buckets=2, rounds=2)
            for iteration in (1, 2, 3):
                await iterate(peers, placements, iteration)
            for peer in peers:
                for fact in peer.facts:
                    if isinstance(fact, GroupFinished) and fact.iteration > 1:
                        there = (Iteration(fact.iteration), Round(fact.round))
                        mates = [one.me for one in peers if hashing.bucket(one.me, *there) == fact.line]
                        assert list(fact.members) == mates
                        assert fact.outcome == "complete"
            # announced for this iteration and the next; looked up once a round after the first iteration
            keys = {
                hashing.key(iteration, round, hashing.bucket(peer.me, iteration, round))
                for iteration in map(Iteration, (1, 2, 3, 4))
                for round in map(Round, (1, 2))
                for peer in peers
            }
            await until(lambda: len(shelf.records) >= len(keys))  # what is ahead is announced beside the iterations
            assert set(shelf.records) == keys
            assert set(shelf.purposes) == {"group"}
            steady = [key for key in shelf.lookups if key in {hashing.key(Iteration(3), Round(1), b) for b in (0, 1)}]
            assert len(steady) == len(peers)
            for placement in placements:
                assert placement.lookups >= 6
                await placement.close()

    on_loop(main())


def test_announcements_of_iterations_that_are_over_may_expire(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as peers:
            shelf = Shelf()
            (placement,) = placements = [place(peers[0], shelf, buckets=1, rounds=1)]
            for iteration in (1, 2, 3):
                await iterate(peers, placements, iteration)
            hashing = Hashing(run_id=RunId("run"), buckets=1, rounds=1)
            assert shelf.let_go == [hashing.key(Iteration(iteration), Round(1), 0) for iteration in (1, 2)]
            await placement.close()

    on_loop(main())


def test_dht_that_is_down_leaves_everybody_alone_but_going(on_loop, monkeypatch) -> None:
    monkeypatch.setattr(hashed_placement, "LONELY_PAUSES_S", (0.0, 0.0))

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            shelf = Shelf()
            shelf.is_down = True
            placements = [place(peer, shelf, buckets=1, rounds=1) for peer in peers]
            before = [peer.own.clone() for peer in peers]
            vectors = await iterate(peers, placements, 1)
            for own, vector in zip(before, vectors, strict=True):
                assert torch.equal(own, vector)
            for placement in placements:
                await placement.close()

    on_loop(main())


def test_peer_that_fell_out_of_the_dht_enters_it_anew_and_does_not_run_away(on_loop, monkeypatch) -> None:
    """It is connected with the other, whose announcement it finds only in its second look."""
    monkeypatch.setattr(hashed_placement, "LONELY_PAUSES_S", (0.0, 0.0))

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            shelf, elsewhere = Shelf(), Shelf()
            one, _ = placements = [
                place(peers[0], shelf, rounds=1, buckets=1),
                place(peers[1], shelf, rounds=1, buckets=1),
            ]
            one._announcements._dht = elsewhere  # type: ignore[assignment]
            looked_up = elsewhere.bootstrap

            async def bootstrap(addresses: list[tuple[str, int]]) -> int:
                if elsewhere.lookups:
                    elsewhere.records = shelf.records
                return await looked_up(addresses)

            elsewhere.bootstrap = bootstrap  # type: ignore[method-assign, assignment]
            await iterate(peers, placements, 1)
            assert elsewhere.entered_by[-1] == [("127.0.0.1", 7700)]
            assert torch.equal(peers[0].own, peers[1].own)
            for placement in placements:
                await placement.close()

    on_loop(main())


def test_connections_that_are_not_used_are_closed_when_there_are_too_many(on_loop, monkeypatch) -> None:
    async def main() -> None:
        async with averagers(6, LENGTH) as peers:
            monkeypatch.setattr(hashed_placement, "KEPT_LINKS", 2)
            monkeypatch.setattr(hashed_placement, "LONELY_PAUSES_S", ())
            shelf = Shelf()
            one = peers[0]
            (placement,) = placements = [place(one, shelf, buckets=1, rounds=1)]
            await iterate([one], placements, 1)
            await iterate([one], placements, 2)
            assert len(one.links.connected()) == 2
            await until(lambda: sum(one.me in peer.links.connected() for peer in peers[1:]) == 2)
            assert all(peer.faults() == [] for peer in peers)
            await placement.close()

    on_loop(main())


def test_placement_has_no_grid_and_no_exact_mean(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as (peer,):
            placement = place(peer, Shelf())
            assert placement.shape(view_of([peer], 4)) == ()
            assert not placement.is_exact
            assert not placement.follows_views
            assert placement.brought(peer.holding()) == in_units(peer.holding())
            assert placement.told(in_units(peer.holding())) == peer.holding()
            await placement.close()

    on_loop(main())
