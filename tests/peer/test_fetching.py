"""Taking a result from those who hold it: one after the other, and only what its owners sealed."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import torch
from averaging_peers import Averager, average_all, averagers, until, view_of

from marfl_peer.clock import Clock
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import RemoteFault
from marfl_peer.peer import fetching as fetching_module
from marfl_peer.peer.fetching import Fetched, Fetching
from marfl_peer.protocol.messages import Ballot, LineName, ResultOffer, ResultPart
from marfl_peer.protocol.parts import PART_BYTES

LENGTH = 100_000
NOWHERE = LineName(iteration=1, round=1, line=0)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching_module, "RETRY_S", 0.0)


def fetching_of(peer: Averager) -> Fetching:
    return Fetching(
        links=peer.links,
        sealer=peer.tools.transfer.sealer,
        pool=peer.tools.pool,
        clock=Clock(),
        tell=peer.facts.append,
        on_liar=lambda name, ballot, source: peer.others_views.append(source),
    )


def route(peer: Averager, fetching: Fetching) -> None:
    """What comes in about results goes to `fetching`, not to the rounds of this peer."""
    heard, room = peer.aggregator.heard, peer.aggregator.room

    def to_fetching(sender, message, payload_bytes):
        match message:
            case ResultOffer():
                fetching.offered(sender, message)
            case ResultPart():
                fetching.part_arrived(sender, message, payload_bytes)
            case _ if type(message).__name__ == "NoResult":
                fetching.refused(sender, message.name, message.ballot)
            case _:
                heard(sender, message, payload_bytes)

    def room_of(sender, message, length):
        return (
            fetching.room(sender, message, length) if isinstance(message, ResultPart) else room(sender, message, length)
        )

    peer.aggregator.heard, peer.aggregator.room = to_fetching, room_of


async def fetch(fetching: Fetching, ballot: Ballot, *sources: Averager) -> Fetched | None:
    ended: asyncio.Future[Fetched | None] = asyncio.get_running_loop().create_future()
    fetching.fetch(
        name_of(sources[-1]) if sources else NOWHERE, ballot, tuple(source.me for source in sources), ended.set_result
    )
    return await ended


def name_of(peer: Averager) -> LineName:
    """Of the one line, in the peer's view."""
    assert peer.rounds is not None
    view = peer.rounds.aggregation.view
    assert view is not None
    return LineName(iteration=1, round=1, line=0, view_mark=view.mark)


def ballot_of(peer: Averager) -> Ballot:
    assert peer.rounds is not None
    ballot = peer.rounds.aggregation.completed(name_of(peer))
    assert ballot is not None
    return ballot


def test_result_is_taken_from_a_member_with_all_that_belongs_to_it(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            *members, late = peers
            results = await average_all(members, 3)
            fetching = fetching_of(late)
            route(late, fetching)
            fetched = await fetch(fetching, ballot_of(members[0]), members[1])
            assert fetched is not None
            assert fetched.offer is not None
            assert torch.equal(fetched.vector, results[0][0])
            assert fetched.offer.weight == sum(peer.weight for peer in members)
            assert set(fetched.offer.members) == {peer.me for peer in members}
            assert late.faults() == []
            fetching.close()

    on_both_loops(main())


def test_result_of_which_a_member_owns_nothing_is_taken_from_it_and_sealed_by_the_others(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(5, LENGTH) as peers:
            *members, late = peers
            slow = members[1]
            for member in members:
                member.measured(2e6 if member is slow else 20e6)
            results = await average_all(members, 4)
            fetching = fetching_of(late)
            route(late, fetching)
            fetched = await fetch(fetching, ballot_of(slow), slow)
            assert fetched is not None
            assert fetched.offer is not None
            assert len(fetched.offer.chunks) == 3
            assert set(fetched.offer.members) == {peer.me for peer in members}
            assert torch.equal(fetched.vector, results[0][0])
            assert late.faults() == []
            fetching.close()

    on_both_loops(main())


def test_source_that_does_not_have_it_is_passed_over(on_loop) -> None:
    async def main() -> None:
        async with averagers(5, LENGTH) as peers:
            *members, empty, late = peers
            results = await average_all(members, 3)
            empty.begin(view_of(peers, 3, 2))  # past the iteration that it is asked about
            fetching = fetching_of(late)
            route(late, fetching)
            fetched = await fetch(fetching, ballot_of(members[0]), empty, members[0])
            assert fetched is not None
            assert fetched.source == members[0].me
            assert torch.equal(fetched.vector, results[0][0])
            fetching.close()

    on_loop(main())


def test_source_that_is_lost_is_passed_over_at_once(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            *members, late = peers
            await average_all(members, 3)
            ballot = ballot_of(members[0])
            fetching = fetching_of(late)
            route(late, fetching)
            members[0].links._tasks.cancel()
            members[0].aggregator.heard = lambda *_: None  # it hears the question and never answers
            waiting = asyncio.create_task(fetch(fetching, ballot, members[0], members[1]))
            await until(lambda: bool(fetching._running))
            fetching.gone(members[0].me)
            fetched = await waiting
            assert fetched is not None
            assert fetched.source == members[1].me
            fetching.close()

    on_loop(main())


def test_no_source_gives_nothing(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            peers[1].begin(view_of(peers, 3, 2))  # past the iteration that it is asked about
            fetching = fetching_of(peers[0])
            route(peers[0], fetching)
            assert await fetch(fetching, Ballot(attempt=1, leader=peers[1].me), peers[1]) is None
            assert await fetch(fetching, Ballot(attempt=1, leader=peers[1].me)) is None
            fetching.close()

    on_loop(main())


@pytest.mark.parametrize("how", ["changed", "unsealed", "not finite"])
def test_result_that_is_not_what_was_sealed_is_refused_and_counted(on_loop, how: str) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            *members, late = peers
            results = await average_all(members, 3)
            fetching = fetching_of(late)
            route(late, fetching)
            liar = members[0]
            assert liar.rounds is not None
            if how == "unsealed":
                liar.rounds._results._sources[name_of(liar)].digests.popitem()
            else:
                results[0][0][LENGTH // 2] = float("nan") if how == "not finite" else 5.0
            fetched = await fetch(fetching, ballot_of(liar), liar, members[1])
            assert fetched is not None
            assert fetched.source == members[1].me, "an honest one was asked next"
            assert [fact.remote for fact in late.facts if isinstance(fact, RemoteFault)] == [liar.me]
            fetching.close()

    on_loop(main())


def test_part_that_belongs_nowhere_is_refused(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one, other = peers
            fetching = fetching_of(one)
            ballot = Ballot(attempt=1, leader=other.me)
            other.aggregator.heard = lambda *_: None
            fetching.fetch(NOWHERE, ballot, (other.me,), lambda fetched: None)
            await until(lambda: NOWHERE in fetching._running)
            part = ResultPart(name=NOWHERE, ballot=ballot, offset=0)
            for offset, length in ((1, PART_BYTES), (0, 5), (2 * PART_BYTES, 4), (0, 4 * LENGTH)):
                with pytest.raises(RemoteProtocolError):
                    fetching.room(other.me, msgspec.structs.replace(part, offset=offset), length)
            assert fetching.room(one.me, part, PART_BYTES) is None, "of somebody who was not asked"
            room = fetching.room(other.me, part, PART_BYTES)
            assert room is not None
            assert len(room) == PART_BYTES
            fetching.close()

    on_loop(main())
