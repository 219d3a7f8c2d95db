from __future__ import annotations

import asyncio

from averaging_peers import Shelf, averagers, relative_error, view_of, weighted_mean

from marfl_peer.clock import Clock
from marfl_peer.ids import Round, RunId
from marfl_peer.peer.groups import Groups
from marfl_peer.peer.placements import GridPlacement
from marfl_peer.protocol.seats import Holding


def test_grid_finds_its_groups_once_a_view_and_averages_over_them(on_loop) -> None:
    async def main() -> None:
        async with averagers(5, 100) as peers:
            shelf = Shelf()
            placements = [
                GridPlacement(
                    peer.me,
                    groups=Groups(
                        me=peer.me,
                        run_id=RunId("run"),
                        identity=peer.identity,
                        dht=shelf,  # type: ignore[arg-type]  # a stand-in with the methods that are used
                        links=peer.links,
                        clock=Clock(),
                        address=lambda peer=peer: ("127.0.0.1", peer.port),
                    ),
                    aggregator=peer.aggregator,
                )
                for peer in peers
            ]
            made = []
            for iteration in (1, 2):
                view = view_of(peers, 4, iteration)
                for peer, placement in zip(peers, placements, strict=True):
                    assert placement.shape(view) == (3, 2)
                    peer.rounds = placement.begin(view, update_times_s=[], gone=[])
                    for round in (1, 2):
                        placement.meet(view, Round(round))
                results = await asyncio.gather(*(peer.average() for peer in peers))
                for vector, _ in results:
                    assert relative_error(vector, weighted_mean(peers)) <= 1e-6
                made.append([placement.lookups for placement in placements])
            assert made[0] == made[1], "no look-up while the view stays"
            assert min(made[0]) >= 2
            for placement in placements:
                await placement.close()

    on_loop(main())


def test_weight_on_the_grid_is_in_samples(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            groups = Groups(
                me=peer.me,
                run_id=RunId("run"),
                identity=peer.identity,
                dht=Shelf(),  # type: ignore[arg-type]
                links=peer.links,
                clock=Clock(),
                address=lambda: ("127.0.0.1", peer.port),
            )
            placement = GridPlacement(peer.me, groups=groups, aggregator=peer.aggregator)
            holding = Holding(weight=3, sums=(1.0,), maxima=())
            assert placement.brought(holding) == placement.told(holding) == holding
            assert placement.is_exact
            assert placement.follows_views
            await placement.close()

    on_loop(main())
