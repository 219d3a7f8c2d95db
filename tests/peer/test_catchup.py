"""Catching up: what most of a group signed is taken, from all who hold it, whoever falls away or lies."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import msgspec
import pytest
import torch
from averaging_peers import Averager, averagers, until
from states_of_peers import catch_up_of, states_of, wish_of

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import StateFetched, WaitEnded
from marfl_peer.peer import catchup as catchup_module
from marfl_peer.peer import download as download_module
from marfl_peer.peer.states import State, States, digest_of
from marfl_peer.protocol.messages import StatePart
from marfl_peer.protocol.parts import PART_BYTES
from marfl_peer.protocol.survey import Wish

LAST_PART_BYTES = 4000
LENGTH = (12 * PART_BYTES + LAST_PART_BYTES) // 4


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (catchup_module, download_module):
        monkeypatch.setattr(module, "silence_s", lambda lag_s: 0.3)


def later(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def agree(givers: Sequence[Averager], vector: torch.Tensor, iteration: int = 5) -> list[States]:
    """The givers are one group that holds this."""
    group = tuple(giver.me for giver in givers)
    found = []
    for giver in givers:
        states = states_of(giver)
        states.agree(State(iteration, vector, (3, 4), group))
        found.append(states)
    return found


async def close(*states: States) -> None:
    for one in states:
        await one.close()


def fetched(peer: Averager) -> list[StateFetched]:
    return [fact for fact in peer.facts if isinstance(fact, StateFetched)]


def waits(peer: Averager) -> list[str]:
    return [fact.outcome for fact in peer.facts if isinstance(fact, WaitEnded)]


def test_state_comes_from_all_who_hold_it(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as (*givers, taker):
            states = agree(givers, givers[0].own)
            catching_up = catch_up_of(taker, LENGTH, 2)
            state = await catching_up.take(wish_of(givers, 5), held=None, deadline=later())
            assert state is not None
            assert torch.equal(state.vector, givers[0].own)
            assert (state.iteration, state.maxima) == (5, (3, 4))
            assert state.group == tuple(giver.me for giver in givers)
            (fact,) = fetched(taker)
            assert fact.sources >= 2, "the third may answer when all parts are given out"
            assert fact.bytes_received == 4 * LENGTH
            assert waits(taker) == ["arrived"]
            assert sum(giver.traffic.sent["state"] > LAST_PART_BYTES for giver in givers) == fact.sources
            await until(lambda: not any(shelf.readers for one in states for shelf in one._shelves()))
            await close(*states)

    on_both_loops(main())


def test_state_that_is_held_is_not_downloaded(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as (*givers, taker):
            states = agree(givers, givers[0].own)
            held = State(5, givers[0].own.clone(), (3, 4))
            catching_up = catch_up_of(taker, LENGTH, 2)
            assert await catching_up.take(wish_of(givers, 5), held=held, deadline=later()) is held
            assert fetched(taker) == []
            assert sum(giver.traffic.sent["state"] for giver in givers) < 2000
            other = State(5, givers[1].own, (3, 4))
            state = await catching_up.take(wish_of(givers, 5), held=other, deadline=later())
            assert state is not None
            assert torch.equal(state.vector, givers[0].own), "the same iteration of another history"
            await close(*states)

    on_loop(main())


@pytest.mark.parametrize("how", ["dies", "stalls", "forgets"])
def test_source_that_falls_away_in_the_middle_leaves_the_rest_to_others(on_loop, impatient, how: str) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as (*givers, taker):
            states = agree(givers, givers[0].own)
            bad = givers[0]
            pulled, count = states[0].pulled, 0

            def pulled_badly(peer, pull) -> None:
                nonlocal count
                count += 1
                if count <= 2:
                    pulled(peer, pull)
                elif how == "dies":
                    bad.die()
                elif how == "forgets":
                    pulled(peer, msgspec.structs.replace(pull, offset=1))

            states[0].pulled = pulled_badly  # type: ignore[method-assign]
            catching_up = catch_up_of(taker, LENGTH, 2)
            state = await catching_up.take(wish_of(givers, 5), held=None, deadline=later())
            assert state is not None
            assert torch.equal(state.vector, givers[0].own)
            (fact,) = fetched(taker)
            assert fact.bytes_received == 4 * LENGTH, "no part came twice"
            assert taker.faults() == []
            await close(*states)

    on_loop(main())


def lie(giver: Averager, digest: str, group: Sequence[Averager], vector: torch.Tensor) -> States:
    """Signs this digest, and gives this vector."""
    states = states_of(giver)
    states.agree(State(5, vector, (3, 4), tuple(member.me for member in group)))
    assert states._agreed is not None
    states._agreed.offer = asyncio.get_running_loop().create_future()
    states._agreed.offer.set_result(
        states._attester.offer(
            iteration=5,
            vector_bytes=4 * LENGTH,
            digest=digest,
            maxima=(3, 4),
            group=tuple(member.me for member in group),
        )
    )
    return states


@pytest.mark.parametrize("number", [0, 1, 2])
def test_liar_among_the_sources_is_found_and_named(on_loop, number: int) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as (*givers, taker):
            true = givers[0].own
            states = agree(givers, true)
            liar = givers[number]
            states[number] = lie(liar, digest_of(true), givers, true + 1.0)
            catching_up = catch_up_of(taker, LENGTH, 2)
            state = await catching_up.take(wish_of(givers, 5), held=None, deadline=later())
            assert state is not None
            assert torch.equal(state.vector, true)
            assert taker.faults() == [("bad_state", liar.me)]
            await close(*states)

    on_loop(main())


def test_state_of_a_minority_is_not_taken(on_loop) -> None:
    async def main() -> None:
        async with averagers(5, LENGTH) as (*givers, taker):
            true = givers[0].own
            states = agree(givers, true)
            wrong = givers[3].own
            states[0] = lie(givers[0], digest_of(wrong), givers, wrong)
            states[1] = lie(givers[1], digest_of(givers[1].own), givers[1:2], givers[1].own)
            catching_up = catch_up_of(taker, LENGTH, 2)
            counted = givers[1:]  # of the group of four, three count: two are more than half
            wish = wish_counting(givers, counted)
            state = await catching_up.take(wish, held=None, deadline=later())
            assert state is not None
            assert torch.equal(state.vector, true)
            assert fetched(taker)[0].sources == 2
            assert taker.faults() == [], "it took nothing from those who said otherwise"
            await close(*states)

    on_loop(main())


def wish_counting(sources: Sequence[Averager], counted: Sequence[Averager]) -> Wish:
    known = [peer.me for peer in counted]
    return dataclasses.replace(wish_of(sources, 5), counts=lambda peer: peer in known)


def test_where_all_lie_there_is_no_state(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as (*givers, taker):
            true = givers[0].own
            states = [lie(giver, digest_of(true), givers, true + number) for number, giver in enumerate(givers, 1)]
            catching_up = catch_up_of(taker, LENGTH, 2)
            assert await catching_up.take(wish_of(givers, 5), held=None, deadline=later()) is None
            assert sorted(taker.faults()) == sorted(("bad_state", giver.me) for giver in givers)
            assert waits(taker) == ["lost"]
            await close(*states)

    on_loop(main())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_state_that_is_not_finite_is_nobodys(on_loop, bad: float) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (*givers, taker):
            vector = givers[0].own.clone()
            vector[7] = bad
            states = agree(givers, vector)
            catching_up = catch_up_of(taker, LENGTH, 2)
            assert await catching_up.take(wish_of(givers, 5), held=None, deadline=later()) is None
            assert taker.faults() == [("bad_state", givers[0].me)]
            await close(*states)

    on_loop(main())


def test_offered_state_is_given_to_the_end_though_the_swarm_goes_on(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as (*givers, taker):
            states = agree(givers, givers[0].own)
            catching_up = catch_up_of(taker, LENGTH, 2)
            for one in states:
                pulled = one.pulled

                def and_go_on(peer, pull, one=one, pulled=pulled) -> None:
                    one.agree(State(one.agreed.iteration + 1, givers[1].own, (3, 4)))
                    pulled(peer, pull)

                one.pulled = and_go_on  # type: ignore[method-assign]
            state = await catching_up.take(wish_of(givers, 5), held=None, deadline=later())
            assert state is not None
            assert state.iteration == 5
            assert torch.equal(state.vector, givers[0].own)
            assert all(one.agreed.iteration > 6 for one in states)
            await close(*states)

    on_loop(main())


def test_swarm_that_is_in_different_iterations_is_met_in_a_later_one(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as (*givers, taker):
            group = tuple(giver.me for giver in givers)
            states = [states_of(giver) for giver in givers]
            for number, one in enumerate(states):
                one.agree(State(5 + number, givers[number].own, (3, 4), group))
            catching_up = catch_up_of(taker, LENGTH, 2)
            taking = asyncio.create_task(catching_up.take(wish_of(givers, 5), held=None, deadline=later()))
            await until(lambda: all(one._waiting for one in states))
            for one in states:
                one.agree(State(7, givers[0].own, (3, 4), group))
            state = await taking
            assert state is not None
            assert state.iteration == 7
            await close(*states)

    on_loop(main())


def test_nothing_by_the_deadline_is_an_outcome(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (giver, taker):
            states = states_of(giver)
            catching_up = catch_up_of(taker, LENGTH)
            assert await catching_up.take(wish_of([giver], 1), held=None, deadline=later(0.05)) is None
            assert waits(taker) == ["deadline"]
            await until(lambda: not states._waiting)
            await close(states)

    on_loop(main())


def test_nobody_to_ask_and_everybody_lost_end_the_wait(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (giver, taker):
            states = states_of(giver)
            catching_up = catch_up_of(taker, LENGTH)
            assert await catching_up.take(wish_of([], 1), held=None, deadline=later()) is None
            taking = asyncio.create_task(catching_up.take(wish_of([giver], 1), held=None, deadline=later()))
            await until(lambda: bool(states._waiting))
            giver.die()
            assert await taking is None
            assert waits(taker) == ["lost", "lost"]
            await close(states)

    on_loop(main())


def test_who_was_asked_over_a_connection_that_comes_later_learns_that_it_is_not_needed(on_loop) -> None:
    """It would keep what it offers, and stay for it after the last iteration."""

    async def main() -> None:
        async with averagers(3, LENGTH, connect=False) as (giver, other, taker):
            for one, two in ((giver, taker), (taker, giver)):
                one.links.learn(two.me, ("127.0.0.1", two.port))
            states = agree([giver], giver.own)
            late = states_of(other)
            late.agree(State(5, other.own, (3, 4), (other.me,)))
            connect = taker.links.connect
            taker.links.connect = lambda peer: None if peer == other.me else connect(peer)  # type: ignore[assignment]
            catching_up = catch_up_of(taker, LENGTH, 2)
            wish = wish_of([giver, other], 5, digest=digest_of(giver.own))
            assert await catching_up.take(wish, held=None, deadline=later()) is not None
            connect(other.me)
            await until(lambda: taker.links.is_connected(other.me))
            await late.unneeded()
            late._offer(taker.me, late._agreed)
            await late.unneeded()
            await close(*states, late)

    on_loop(main())


def test_offer_that_cannot_be_true_is_refused(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as (giver, other, taker):
            states = [states_of(giver), states_of(other)]
            catching_up = catch_up_of(taker, LENGTH, 2)
            attester = states[0]._attester
            fields = {"iteration": 5, "vector_bytes": 4 * LENGTH, "digest": "aa", "maxima": (3, 4), "group": ()}
            good = attester.offer(**fields)
            catching_up.offered(giver.me, good)  # nobody asked
            taking = asyncio.create_task(catching_up.take(wish_of([giver], 5), held=None, deadline=later()))
            await until(lambda: bool(states[0]._waiting))
            for change in ({"vector_bytes": 8}, {"vector_bytes": 2**50}, {"maxima": (3,)}):
                with pytest.raises(RemoteProtocolError, match="not"):
                    catching_up.offered(giver.me, attester.offer(**{**fields, **change}))
            with pytest.raises(RemoteProtocolError, match="somebody else"):
                catching_up.offered(other.me, good)
            taking.cancel()
            await asyncio.wait([taking])
            assert catching_up.room(giver.me, StatePart(iteration=5, offset=0), PART_BYTES) is None
            await close(*states)

    on_loop(main())
