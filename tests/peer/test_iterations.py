"""The way of the data through an iteration, and the way back for who fell behind; vectors in place of models."""

from __future__ import annotations

import asyncio

import pytest
import torch
from averaging_peers import Averager, Shelf, averagers, relative_error, statements_of, until, weighted_mean
from states_of_peers import catch_up_of, states_of

from marfl_peer.clock import Clock
from marfl_peer.facts import IterationSkipped, IterationStarted, ViewChanged
from marfl_peer.ids import Iteration, PeerId, Round, RunId
from marfl_peer.peer.groups import Groups
from marfl_peer.peer.iterations import Averaged, Iterations
from marfl_peer.peer.placements import GridPlacement
from marfl_peer.peer.roster import Roster
from marfl_peer.peer.states import State
from marfl_peer.protocol import records
from marfl_peer.protocol.bases import NOTICE
from marfl_peer.protocol.view import FOUNDING

LAST = 40
LENGTH = 500
LAST = 50


class Traveller:
    """A peer that goes through iterations with a vector."""

    def __init__(self, peer: Averager, shelf: Shelf) -> None:
        self.peer = peer
        self.roster = Roster(
            me=peer.me,
            run_id=RunId("run"),
            group_size=4,
            links=peer.links,
            clock=Clock(),
            tell=peer.facts.append,
            on_news=lambda events: self.iterations.view_may_have_moved(),
        )
        self.states = states_of(peer)
        self.groups = Groups(
            me=peer.me,
            run_id=RunId("run"),
            identity=peer.identity,
            dht=shelf,  # type: ignore[arg-type]  # a stand-in with the two methods that are used
            links=peer.links,
            clock=Clock(),
            address=lambda: ("127.0.0.1", peer.port),
        )
        self.iterations = Iterations(
            me=peer.me,
            last=LAST,
            roster=self.roster,
            placement=GridPlacement(peer.me, groups=self.groups, aggregator=peer.aggregator),
            aggregator=peer.aggregator,
            states=self.states,
            catching_up=catch_up_of(peer, LENGTH, 1),
            is_all_exact=peer.tools.layout.is_exact,
            clock=Clock(),
            tell=peer.facts.append,
        )
        peer.aggregator._on_behind = self.iterations.behind
        peer.switchboard.roster = self.roster

    async def go(self) -> Averaged | None:
        """One iteration from the peer's own vector."""
        self.iterations.open()
        vector = self.peer.tools.pool.take()
        vector.copy_(self.peer.own)
        holding = self.iterations.brought(vector, self.peer.holding())
        averaged = await self.iterations.average(vector, holding, update_s=0.0)
        if averaged is not None:
            self.iterations.agree(averaged)
        return averaged

    async def close(self) -> None:
        await self.groups.close()
        await self.states.close()

    def told(self, kind: type) -> list:
        return [fact for fact in self.peer.facts if isinstance(fact, kind)]


def travellers(peers: list[Averager]) -> list[Traveller]:
    """Founders of one swarm."""
    shelf = Shelf()
    found = [Traveller(peer, shelf) for peer in peers]
    for traveller in found:
        for peer in peers:
            traveller.roster.state_joined(records.encode(statements_of(peer.identity, peer.port).member()), FOUNDING)
        traveller.roster.started = True
        traveller.states.agree(State(0, torch.zeros(LENGTH), ()))
    return found


async def close(found: list[Traveller]) -> None:
    for traveller in found:
        await traveller.close()


def test_iteration_after_iteration_gives_the_mean_and_the_agreed_state(on_loop) -> None:
    async def main() -> None:
        async with averagers(5, LENGTH) as peers:
            found = travellers(peers)
            for iteration in (1, 2, 3):
                results = await asyncio.gather(*(traveller.go() for traveller in found))
                exact = weighted_mean(peers)
                for traveller, averaged in zip(found, results, strict=True):
                    assert averaged is not None
                    assert relative_error(averaged.vector, exact) <= 1e-6
                    assert (averaged.peers, averaged.groups_partial) == (5, 0)
                    assert traveller.iterations.iteration == iteration
                    assert traveller.states.agreed is not None
                    assert traveller.states.agreed.iteration == iteration
                    assert torch.equal(traveller.states.agreed.vector, results[0].vector)
                for peer in peers:
                    peer.own = peer.own + 1.0
                if iteration == 1:
                    lookups = [traveller.groups.lookups for traveller in found]
            for traveller in found:
                assert [fact.iteration for fact in traveller.told(IterationStarted)] == [1, 2, 3]
                assert len(traveller.told(ViewChanged)) == 1, "told once: nothing changed"
            assert [traveller.groups.lookups for traveller in found] == lookups, "no DHT in the steady state"
            await close(found)

    on_loop(main())


def test_own_update_that_is_not_finite_counts_nothing(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            found = travellers(peers)
            peers[1].own = torch.full((LENGTH,), float("nan"))
            results = await asyncio.gather(*(traveller.go() for traveller in found))
            exact = weighted_mean([peers[0], peers[2]])
            for averaged in results:
                assert averaged is not None
                assert relative_error(averaged.vector, exact) <= 1e-6
            assert all(peer.faults() == [] for peer in peers)
            await close(found)

    on_loop(main())


def test_where_no_update_counts_all_keep_the_agreed_state(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            found = travellers(peers)
            agreed = torch.linspace(0.0, 1.0, LENGTH)
            for traveller, peer in zip(found, peers, strict=True):
                traveller.states.agree(State(0, agreed, ()))
                peer.weight = 0
            for averaged in await asyncio.gather(*(traveller.go() for traveller in found)):
                assert averaged is not None
                assert torch.equal(averaged.vector, agreed)
            await close(found)

    on_loop(main())


def test_peer_that_hears_that_it_is_behind_takes_the_state(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one, other = travellers(peers)
            one.states.agree(State(7, peers[0].own, (1,)))
            going = asyncio.create_task(other.go())
            await until(lambda: other.iterations.rounds is not None and bool(other.iterations.rounds.vectors))
            other.iterations.behind(8)
            assert await going is None
            assert not other.iterations.is_current()
            state = await other.iterations.catch_up()
            assert state is not None
            other.iterations.took(state)
            assert other.iterations.iteration == 7
            assert other.iterations.is_current()
            assert [fact.iteration for fact in other.told(IterationSkipped)] == [1, 2, 3, 4, 5, 6, 7]
            assert torch.equal(state.vector, peers[0].own)
            # its equals have something left over from rounding, and it has not: all are to begin anew
            assert 7 + NOTICE in other.peer.aggregator._full
            await close([one, other])

    on_loop(main())


def test_newcomer_that_takes_the_state_calls_for_no_full_values(on_loop) -> None:
    """It counts in a new view, in which nobody has anything left over."""

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one, other = travellers(peers)
            other.iterations.took(State(Iteration(7), peers[0].own, (1,)))
            assert 7 + NOTICE not in other.peer.aggregator._full
            await close([one, other])

    on_loop(main())


def test_last_state_of_the_run_is_the_latest_that_anybody_has_to_hold(on_loop) -> None:
    """Who joins in the last iteration counts from one on that never comes."""

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one, other = travellers(peers)
            one.states.agree(State(LAST, peers[0].own, (1,)))
            other.iterations.must_hold(LAST + 2)
            state = await other.iterations.catch_up()
            assert state is not None
            other.iterations.took(state)
            assert other.iterations.iteration == LAST
            await close([one, other])

    on_loop(main())


def test_agreed_state_names_the_group_of_the_last_round(on_loop) -> None:
    async def main() -> None:
        async with averagers(6, LENGTH) as peers:
            found = travellers(peers)
            await asyncio.gather(*(traveller.go() for traveller in found))
            for traveller in found:
                state = traveller.states.agreed
                assert state is not None
                view = traveller.roster.view(Iteration(1))
                cells = view.grid.line(view.cell_of[traveller.peer.me], Round(view.grid.rounds))
                assert traveller.peer.me in state.group
                assert set(state.group) >= {view.peer_at[cell] for cell in cells} - {None}
            await close(found)

    on_loop(main())


def test_word_of_the_very_next_iteration_is_not_being_behind(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as peers:
            (one,) = travellers(peers)
            one.iterations.open()
            one.iterations.behind(1)
            assert one.iterations.is_current()
            one.iterations.behind(2)
            assert not one.iterations.is_current()
            await close([one])

    on_loop(main())


def test_iteration_that_nobody_can_give_passes(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as peers:
            (one,) = travellers(peers)
            one.iterations.must_hold(4)
            assert not one.iterations.is_current()
            assert await one.iterations.catch_up() is None
            one.iterations.skip()
            assert one.iterations.iteration == 1
            assert one.iterations.is_current()
            assert [fact.iteration for fact in one.told(IterationSkipped)] == [1]
            await close([one])

    on_loop(main())


def test_joiner_that_nobody_gives_a_state_begins_no_earlier_than_it_joined(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one, other = travellers(peers)
            peers[0].identity.raise_incarnation()
            record = records.encode(statements_of(peers[0].identity, peers[0].port).member())
            one.roster.state_joined(record, 7)
            one.iterations.skip()
            assert one.iterations.iteration == 8
            one.iterations.iteration = Iteration(0)
            one.iterations.last = 5
            one.iterations.must_hold(8)
            one.iterations.skip()
            assert one.iterations.iteration == 5
            assert one.iterations.is_current(), "there is nothing left to wait for"
            await close([one, other])

    on_loop(main())


@pytest.mark.parametrize("is_stale", [False, True])
def test_numbers_left_out_for_a_merge_keep_the_state_but_no_stale_one(on_loop, is_stale: bool) -> None:
    """A stale state that called itself the one before the merge would be given to those who are behind."""

    async def main() -> None:
        async with averagers(1, LENGTH) as peers:
            (one,) = travellers(peers)
            one.roster.state_merge(PeerId("f" * 40), 20)
            one.iterations.iteration = one.roster.iteration = Iteration(1)
            if not is_stale:
                one.states.agree(State(1, torch.ones(LENGTH), ()))
            one.iterations.leap()
            assert one.iterations.iteration == 21
            assert [fact.iteration for fact in one.told(IterationSkipped)] == list(range(2, 22))
            assert one.states.agreed is not None
            assert one.states.agreed.iteration == (0 if is_stale else 21)
            await close([one])

    on_loop(main())


def test_loss_before_anything_was_exchanged_begins_the_rounds_again(on_loop) -> None:
    """With an event that takes effect at once: the new view's rounds replace those that wait."""

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            one, other, third = found = travellers(peers)
            going = [asyncio.create_task(traveller.go()) for traveller in (one, other)]
            await until(
                lambda: all(
                    traveller.iterations.rounds is not None and traveller.iterations.rounds.vectors
                    for traveller in (one, other)
                )
            )
            one.roster.iteration = other.roster.iteration = Iteration(0)
            for traveller in (one, other):
                event = traveller.roster.membership.status(third.peer.me)
                assert event is not None
                gone = type(event)(
                    peer_id=event.peer_id, incarnation=event.incarnation, kind="left", iteration=FOUNDING
                )
                traveller.roster._take([gone], source=None, reason="left before it began")
            results = await asyncio.gather(*going)
            exact = weighted_mean(peers[:2])
            for averaged in results:
                assert averaged is not None
                assert averaged.peers == 2
                assert relative_error(averaged.vector, exact) <= 1e-6
            await close(found)

    on_loop(main())
