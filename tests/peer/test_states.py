"""The agreed state is offered to who asks, kept as long as it is taken, and given in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import torch
from averaging_peers import Averager, averagers, until
from blake3 import blake3
from states_of_peers import states_of

from marfl_peer.ids import Iteration, PeerId
from marfl_peer.peer.states import MAX_KEPT, MAX_PULLS, State, digest_of
from marfl_peer.protocol.messages import NoState, StateOffer, StatePart, StatePull, StateRequest, StateTaken
from marfl_peer.protocol.parts import PART_BYTES

LENGTH = 150_000


class Asker:
    """Notes what a peer is told about states; stands for its `catching_up`."""

    def __init__(self, peer: Averager) -> None:
        self.offers: list[StateOffer] = []
        self.refusals: list[int] = []
        self.parts: list[int] = []
        peer.switchboard.catching_up = self  # type: ignore[assignment]

    def offered(self, sender: PeerId, offer: StateOffer) -> None:
        self.offers.append(offer)

    def refused(self, sender: PeerId, refusal: NoState) -> None:
        self.refusals.append(refusal.iteration)

    def room(self, sender: PeerId, part: StatePart, length: int) -> memoryview | None:
        return None

    def part_arrived(self, sender: PeerId, part: StatePart) -> None:
        self.parts.append(part.offset)

    def gone(self, peer: PeerId) -> None: ...


def test_digest_is_that_of_the_bytes() -> None:
    vector = torch.arange(10.0)
    assert digest_of(vector) == blake3(vector.numpy().tobytes()).hexdigest()


def test_digest_that_was_prepared_is_worked_out_once(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as (one,):
            states, hashed = states_of(one), 0

            async def in_thread(work: Callable[[], str]) -> str:
                nonlocal hashed
                hashed += 1
                return await asyncio.to_thread(work)

            states._in_thread = in_thread
            for iteration in (1, 2):
                states.agree(State(iteration, one.own * iteration, ()))
                states.prepare_digest()
                await until(lambda now=iteration: hashed == now)
                assert await states.digest() == digest_of(one.own * iteration)
                assert hashed == iteration
            await states.close()

    on_loop(main())


def test_state_that_is_there_is_offered_with_its_integers_and_its_group(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, asker = states_of(one), Asker(other)
            group = (one.me, other.me)
            giver.agree(State(5, one.own, (3, 4), group))
            other.links.send(one.me, StateRequest(at_least=4))
            await until(lambda: bool(asker.offers))
            (offer,) = asker.offers
            assert (offer.iteration, offer.maxima, offer.group) == (5, (3, 4), group)
            assert (offer.vector_bytes, offer.digest) == (4 * LENGTH, digest_of(one.own))
            assert one.traffic.sent["tensor"] == 0
            await giver.close()

    on_both_loops(main())


def test_state_that_is_not_there_yet_is_offered_when_it_is(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, asker = states_of(one), Asker(other)
            giver.agree(State(3, other.own, ()))
            other.links.send(one.me, StateRequest(at_least=5))
            await until(lambda: bool(giver._waiting))
            for iteration in (4, 5, 6):
                giver.agree(State(iteration, one.own, ()))
            await until(lambda: bool(asker.offers))
            assert [offer.iteration for offer in asker.offers] == [5]
            await giver.close()

    on_loop(main())


def test_offered_state_is_kept_until_it_is_taken_and_few_are(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, asker = states_of(one), Asker(other)
            giver.agree(State(1, one.own, ()))
            giver.asked(other.me, StateRequest(at_least=1))
            await until(lambda: bool(asker.offers))
            for iteration in range(2, 6):
                giver.agree(State(iteration, other.own, ()))
            assert [shelf.state.iteration for shelf in giver._shelves()] == [1, 5]
            other.links.send(one.me, StatePull(iteration=1, offset=0))
            await until(lambda: bool(asker.parts))
            assert asker.parts == [0]
            giver.taken(other.me)
            assert [shelf.state.iteration for shelf in giver._shelves()] == [5]
            other.links.send(one.me, StatePull(iteration=1, offset=0))
            await until(lambda: bool(asker.refusals))
            assert asker.refusals == [1]
            for iteration in range(6, 12):
                giver.asked(PeerId(f"{iteration:040x}"), StateRequest(at_least=1))
                giver.agree(State(iteration, other.own, ()))
            assert len(giver._shelves()) == MAX_KEPT + 1
            one.links.send = lambda *_: None  # type: ignore[method-assign]  # to those who are not there
            await giver.close()

    on_loop(main())


def test_state_is_needed_until_those_who_were_offered_it_have_it_or_are_gone(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as (one, other, third):
            giver, askers = states_of(one), [Asker(other), Asker(third)]
            giver.agree(State(1, one.own, ()))
            await giver.unneeded()
            for peer in (other, third):
                peer.links.send(one.me, StateRequest(at_least=1))
            await until(lambda: all(asker.offers for asker in askers))
            waiting = asyncio.create_task(giver.unneeded())
            other.links.send(one.me, StateTaken())
            await until(lambda: not giver._shelves()[0].readers >= {other.me})
            assert not waiting.done()
            third.die()
            await waiting
            await giver.close()

    on_loop(main())


def test_part_that_there_is_none_of_is_refused(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver, asker = states_of(one), Asker(other)
            giver.agree(State(1, one.own, ()))
            for offset in (1, 4 * LENGTH, PART_BYTES * 9):
                other.links.send(one.me, StatePull(iteration=1, offset=offset))
            await until(lambda: len(asker.refusals) == 3)
            assert asker.parts == []
            await giver.close()

    on_loop(main())


def test_peers_and_parts_that_wait_are_bounded(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as (one, other):
            giver = states_of(one)
            for number in range(300):
                giver.asked(PeerId(f"{number:040x}"), StateRequest(at_least=1))
            assert len(giver._waiting) == 256
            giver.gone(PeerId(f"{3:040x}"))
            assert len(giver._waiting) == 255
            giver._waiting.clear()
            giver.agree(State(1, one.own, ()))
            for _ in range(10 * MAX_PULLS):
                giver.pulled(other.me, StatePull(iteration=1, offset=0))
            assert len(giver._pulls[other.me]) == MAX_PULLS
            await giver.close()

    on_loop(main())


def test_digest_of_the_agreed_state_is_made_once(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as peers:
            states = states_of(peers[0])
            vector = torch.arange(10.0)
            states.agree(State(Iteration(1), vector, (), ()))
            first = await states.digest()
            assert first == digest_of(vector)
            assert await states.digest() is first
            states.agree(State(Iteration(2), vector + 1, (), ()))
            assert await states.digest() == digest_of(vector + 1)
            await states.close()

    on_loop(main())
