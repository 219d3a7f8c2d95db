"""What a peer holds of its lines, and gives to one that comes late."""

from __future__ import annotations

import asyncio

import torch
from averaging_peers import Averager, average_all, averagers, until

from marfl_peer.ids import PeerId
from marfl_peer.peer.results import Results
from marfl_peer.protocol.messages import Ballot, Fetch, LineName, NoResult, ResultOffer

LENGTH = 1000


def results_of(peer: Averager) -> Results:
    assert peer.rounds is not None
    return peer.rounds._results


def name_of(peer: Averager, line: int = 0) -> LineName:
    """Of a line of the first round, in the peer's view."""
    assert peer.rounds is not None
    view = peer.rounds.aggregation.view
    assert view is not None
    return LineName(iteration=1, round=1, line=line, view_mark=view.mark)


def ballot_of(peer: Averager) -> Ballot:
    assert peer.rounds is not None
    ballot = peer.rounds.aggregation.completed(name_of(peer))
    assert ballot is not None
    return ballot


async def ask(late: Averager, member: Averager, question: Fetch) -> list[object]:
    """The first answer."""
    answers: list[object] = []

    def heard(sender: PeerId, message: object, length: int) -> None:
        answers.append(message)

    late.aggregator.heard = heard
    late.links.send(member.me, question)
    await until(lambda: bool(answers))
    return answers


def test_result_of_a_completed_line_is_offered_with_what_proves_it(on_both_loops) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            *members, late = peers
            await average_all(members, 3)
            answers = await ask(late, members[0], Fetch(name=name_of(members[0]), ballot=ballot_of(members[0])))
            offer = answers[0]
            assert isinstance(offer, ResultOffer)
            assert offer.weight == sum(member.weight for member in members)
            assert set(offer.members) == {member.me for member in members}
            assert len(offer.chunks) == 3

    on_both_loops(main())


def test_result_of_another_ballot_or_line_is_not_given(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            *members, late = peers
            await average_all(members, 3)
            ballot = ballot_of(members[0])
            other = Ballot(attempt=ballot.attempt + 1, leader=ballot.leader)
            assert await ask(late, members[0], Fetch(name=name_of(members[0]), ballot=other)) == [
                NoResult(name=name_of(members[0]), ballot=other)
            ]
            line = name_of(members[0], 1)
            assert await ask(late, members[0], Fetch(name=line, ballot=ballot)) == [NoResult(name=line, ballot=ballot)]

    on_loop(main())


def test_result_is_not_given_any_more_once_nobody_needs_it(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            *members, late = peers
            await average_all(members, 3)
            ballot = ballot_of(members[0])
            results = results_of(members[0])
            assert len(results) == 1
            results.rest()
            assert len(results) == 0
            question = Fetch(name=name_of(peers[0]), ballot=ballot)
            assert await ask(late, members[0], question) == [NoResult(name=name_of(peers[0]), ballot=ballot)]

    on_loop(main())


def test_results_are_awaited_from_the_end_of_a_line_to_its_release(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            await average_all(peers, 2)
            results = results_of(peers[0])
            await until(lambda: not results.are_awaited)  # everybody said that it has it
            results.await_questions(name_of(peers[0]))
            assert results.are_awaited
            results.release(name_of(peers[0]))
            assert not results.are_awaited

    on_loop(main())


def test_result_that_came_too_late_changes_nothing(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            averages = await average_all(peers, 3)
            results, source = results_of(peers[0]), results_of(peers[1])._sources[name_of(peers[0])]
            now = asyncio.get_running_loop().time()
            held = results._sources[name_of(peers[0])]
            assert results.exchanged(source, now=now) == []
            assert results._sources[name_of(peers[0])] is held
            assert peers[0].rounds is not None
            assert torch.equal(peers[0].rounds.vectors[name_of(peers[0])], averages[0][0])

    on_loop(main())
