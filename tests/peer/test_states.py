"""The agreed state goes to who asks for it, whole and checked, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import msgspec
import pytest
import torch
from averaging_peers import Averager, averagers, until

from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import RemoteFault, StateFetched, WaitEnded
from marfl_peer.peer.states import State, States, digest_of
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES
from marfl_peer.protocol.messages import StateOffer, StatePart, StateRequest

LENGTH = 150_000


def states_of(peer: Averager) -> States:
    states = States(
        links=peer.links,
        clock=Clock(),
        tell=peer.facts.append,
        length=LENGTH,
        in_thread=lambda work: asyncio.get_running_loop().run_in_executor(peer.tools.transfer.executor, work),
    )
    peer.switchboard.states = states
    return states


def later(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def waits(peer: Averager) -> list[str]:
    return [fact.outcome for fact in peer.facts if isinstance(fact, WaitEnded)]


def test_digest_is_that_of_the_bytes() -> None:
    vector = torch.arange(10.0)
    assert digest_of(vector) == hashlib.sha256(vector.numpy().tobytes()).hexdigest()


def test_state_is_fetched_with_its_iteration_and_integers(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, taker = states_of(one), states_of(other)
            giver.agree(State(5, one.own, (3, 4)))
            state = await taker.fetch(one.me, at_least=4, deadline=later())
            assert state is not None
            assert (state.iteration, state.maxima) == (5, (3, 4))
            assert torch.equal(state.vector, one.own)
            (fetched,) = [fact for fact in other.facts if isinstance(fact, StateFetched)]
            assert (fetched.iteration, fetched.source, fetched.bytes_received) == (5, one.me, 4 * LENGTH)
            assert waits(other) == ["arrived"]
            assert one.traffic.sent["state"] > 4 * LENGTH
            assert one.traffic.sent["tensor"] == 0
            await giver.close()
            await taker.close()

    on_both_loops(main())


def test_state_that_is_not_there_yet_is_awaited(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, taker = states_of(one), states_of(other)
            giver.agree(State(3, other.own, ()))
            fetching = asyncio.create_task(taker.fetch(one.me, at_least=5, deadline=later()))
            await until(lambda: bool(giver._waiting))
            giver.agree(State(4, other.own, ()))
            assert giver._waiting
            giver.agree(State(5, one.own, ()))
            state = await fetching
            assert state is not None
            assert state.iteration == 5
            assert torch.equal(state.vector, one.own)
            await giver.close()
            await taker.close()

    on_loop(main())


def test_nothing_by_the_deadline_is_an_outcome(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, taker = states_of(one), states_of(other)
            assert await taker.fetch(one.me, at_least=1, deadline=later(0.0)) is None
            assert waits(other) == ["deadline"]
            await giver.close()
            await taker.close()

    on_loop(main())


def test_source_that_is_lost_ends_the_wait(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, taker = states_of(one), states_of(other)
            fetching = asyncio.create_task(taker.fetch(one.me, at_least=1, deadline=later()))
            await until(lambda: bool(giver._waiting))
            one.die()
            assert await fetching is None
            assert waits(other) == ["lost"]
            await giver.close()
            await taker.close()

    on_loop(main())


def spoil_nothing(offer: StateOffer) -> StateOffer:
    return offer


@pytest.mark.parametrize(
    ("bad", "change"),
    [
        (float("nan"), spoil_nothing),
        (float("inf"), spoil_nothing),
        (1.0, lambda offer: msgspec.structs.replace(offer, digest="00" * 32)),
    ],
)
def test_state_that_is_not_what_it_should_be_is_refused_and_counted(
    on_loop, bad: float, change: Callable[[StateOffer], StateOffer]
) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, taker = states_of(one), states_of(other)
            offered = taker.offered
            other.switchboard.states.offered = lambda sender, offer: offered(sender, change(offer))
            vector = one.own.clone()
            vector[7] = bad
            giver.agree(State(1, vector, ()))
            assert await taker.fetch(one.me, at_least=1, deadline=later()) is None
            assert [(fact.code, fact.remote) for fact in other.facts if isinstance(fact, RemoteFault)] == [
                ("bad_state", one.me)
            ]
            await giver.close()
            await taker.close()

    on_loop(main())


def test_what_nobody_asked_for_has_no_place_and_bad_spans_are_refused(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            taker = states_of(other)
            part = StatePart(iteration=1, offset=0)
            assert taker.room(one.me, part, 100) is None
            taker.part_arrived(one.me, part, 100)
            fetching = asyncio.create_task(taker.fetch(one.me, at_least=1, deadline=later()))
            await until(lambda: taker._download is not None)
            with pytest.raises(RemoteProtocolError, match="bytes"):
                taker.offered(one.me, StateOffer(iteration=1, vector_bytes=8, digest="", maxima=()))
            taker.offered(one.me, StateOffer(iteration=1, vector_bytes=4 * LENGTH, digest="", maxima=()))
            for offset, length in ((1, MAX_PAYLOAD_BYTES), (0, 4), (4 * LENGTH, 4), (MAX_PAYLOAD_BYTES * 9, 4)):
                with pytest.raises(RemoteProtocolError):
                    taker.room(one.me, StatePart(iteration=1, offset=offset), length)
            assert taker.room(one.me, StatePart(iteration=2, offset=0), MAX_PAYLOAD_BYTES) is None
            assert taker.room(other.me, part, MAX_PAYLOAD_BYTES) is None
            taker.gone(one.me)
            assert await fetching is None
            await taker.close()

    on_loop(main())


def test_waiting_peers_are_bounded(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as (one,):
            giver = states_of(one)
            for number in range(300):
                giver.asked(f"{number:040x}", StateRequest(at_least=1))
            assert len(giver._waiting) == 256
            giver.gone(f"{3:040x}")
            assert len(giver._waiting) == 255
            await giver.close()

    on_loop(main())
