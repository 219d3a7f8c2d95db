"""Messages find the iteration that they belong to: the one that runs, one that still serves, or one to come."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
import torch
from averaging_peers import Averager, average_all, averagers, until, view_of

from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import GroupAgreed, GroupFinished, UplinkMeasured
from marfl_peer.ids import Round
from marfl_peer.peer import aggregator as aggregator_module
from marfl_peer.protocol.deadlines import MIN_PATIENCE_S, ROUND_OVERHEAD_S
from marfl_peer.protocol.messages import (
    Ballot,
    Behind,
    Fetch,
    Here,
    LineName,
    Member,
    Part,
    Play,
    Propose,
    Seat,
)
from marfl_peer.protocol.speeds import ASSUMED_LINK_BYTES_PER_S, rate_of, speed_of
from marfl_peer.protocol.view import View

LENGTH = 100
SEAT = Seat(cell=0, weight=1, sums=(), maxima=())


def here(iteration: int, digest: str = "", mark: str = "") -> Here:
    name = LineName(iteration=iteration, round=1, line=0, view_mark=mark)
    return Here(name=name, view_digest=digest, seats=(SEAT,), update_s=0.0, promised=None)


def _early_from(peer: Averager, view: View) -> Here:
    """What a peer says first in the only line of that view."""
    name = LineName(iteration=view.iteration, round=1, line=0, view_mark=view.mark)
    seat = Seat(cell=view.cell_of[peer.me], weight=peer.weight, sums=(), maxima=())
    return Here(name=name, view_digest=view.digest, seats=(seat,), update_s=0.0, promised=None)


def test_what_comes_before_an_iteration_begins_is_heard_when_it_does(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            view = view_of(peers, 3)
            early = peers[1:]
            for peer in early:
                peer.begin(view)
            averaging = [asyncio.create_task(peer.average()) for peer in early]
            await until(lambda: len(peers[0].aggregator._early) >= 2)
            peers[0].begin(view)
            results = [await peers[0].average(), *[await task for task in averaging]]
            assert {holding.weight for _, holding in results} == {sum(peer.weight for peer in peers)}

    on_loop(main())


def test_peer_in_a_new_life_is_not_awaited_where_its_old_one_counts(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            view = view_of(peers, 3)
            *present, other = peers
            reborn: set[str] = set()
            for peer in present:
                peer.begin(view)
                peer.aggregator._is_reborn = lambda member, _: member in reborn
            averaging = [asyncio.create_task(peer.average()) for peer in present]
            reborn.add(other.me)
            for peer in present:
                peer.aggregator.back(other.me)  # its new connection, or word of its joining
            for _, holding in await asyncio.gather(*averaging):
                assert holding.weight == sum(peer.weight for peer in present)

    on_loop(main())


def test_members_that_only_dial_are_gone_for_each_other_and_for_nobody_else(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            one, two, other = peers
            view = dataclasses.replace(view_of(peers, 3), dial_only=frozenset({one.me, two.me}))
            assert one.aggregator.gone_in(view, ()) == {two.me}
            assert two.aggregator.gone_in(view, ()) == {one.me}
            assert other.aggregator.gone_in(view, ()) == set()

    on_loop(main())


@pytest.mark.parametrize("goes", ["away", "absent"])
def test_what_somebody_said_early_does_not_hold_when_it_has_gone_since(on_loop, goes: str) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            *present, other = peers
            for peer in present:
                peer.begin(view_of(peers, 3))
                peer.aggregator.heard(other.me, _early_from(other, view_of(peers, 3, 2)), 0)
                if goes == "away":
                    peer.aggregator.gone(other.me)
                else:
                    peer.aggregator.absent(other.me, 2)
                peer.begin(view_of(peers, 3, 2))
            for _, holding in await asyncio.gather(*(peer.average() for peer in present)):
                assert holding.weight == sum(peer.weight for peer in present)

    on_loop(main())


def test_who_was_out_of_reach_before_the_first_iteration_is_awaited_in_it(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH, connect=False) as peers:
            *newcomers, old = peers
            for peer in newcomers:
                peer.aggregator.gone(old.me)  # its last dial was in vain
                peer.begin(view_of(peers, 3))
            averaging = [asyncio.create_task(peer.average()) for peer in newcomers]
            await until(lambda: newcomers[0].links.is_connected(newcomers[1].me))
            await asyncio.sleep(0.2)  # time for a group of two
            old.begin(view_of(peers, 3))
            for _, holding in [await old.average(), *[await task for task in averaging]]:
                assert holding.weight == sum(peer.weight for peer in peers)

    on_loop(main())


def test_who_was_out_of_reach_in_an_iteration_is_not_awaited_in_the_next(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            *others, away = peers
            for peer in others:
                peer.begin(view_of(peers, 3))
                peer.aggregator.gone(away.me)
                peer.begin(view_of(peers, 3, 2))
            for _, holding in await asyncio.gather(*(peer.average() for peer in others)):
                assert holding.weight == sum(peer.weight for peer in others)

    on_loop(main())


def test_messages_of_a_far_iteration_are_not_kept(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            aggregator = peers[0].aggregator
            peers[0].begin(view_of(peers, 3))
            aggregator.heard(peers[1].me, here(1 + aggregator_module.ITERATIONS_AHEAD), 0)
            assert len(aggregator._early) == 1
            aggregator.heard(peers[1].me, here(2 + aggregator_module.ITERATIONS_AHEAD), 0)
            assert len(aggregator._early) == 1

    on_loop(main())


def test_newcomer_keeps_what_comes_before_its_first_iteration_however_late_that_is(on_loop) -> None:
    """The others may be ready before it has the state: nobody says it twice."""

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            view = view_of(peers, 3, 40)
            peers[1].begin(view)
            averaging = asyncio.create_task(peers[1].average())
            await until(lambda: bool(peers[0].aggregator._early) or peers[0].me > peers[1].me)
            peers[0].begin(view)
            (_, holding), _ = await asyncio.gather(peers[0].average(), averaging)
            assert holding.weight == sum(peer.weight for peer in peers)

    on_loop(main())


def test_early_messages_are_bounded_and_the_latest_stay(on_loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregator_module, "MAX_EARLY_MESSAGES", 5)

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            aggregator = peers[0].aggregator
            for number in range(9):
                aggregator.heard(peers[1].me, here(1, f"{number:x}"), 0)
            assert [message.view_digest for _, message, _ in aggregator._early] == ["4", "5", "6", "7", "8"]

    on_loop(main())


def test_who_was_here_early_waits_since_then(on_loop) -> None:
    """A leader that comes late gathers no longer for that: the others' deadlines began when they came."""

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one, other = peers
            before = asyncio.get_running_loop().time()
            view = view_of(peers, 2)
            one.aggregator.heard(other.me, here(1, view.digest, view.mark), 0)
            await asyncio.sleep(0.2)
            rounds = one.begin(view)
            first = rounds.aggregation.timetable._first_arrival
            assert first is not None
            assert before <= first < before + 0.1

    on_loop(main())


def test_message_with_another_view_is_reported_and_kept(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            peers[0].begin(view_of(peers, 2))
            peers[0].aggregator.heard(peers[1].me, here(1, "00"), 0)
            assert peers[0].others_views == [peers[1].me]
            assert len(peers[0].aggregator._early) == 1

    on_loop(main())


def test_questions_about_what_is_forgotten_are_answered(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one, other = peers
            one.begin(view_of(peers, 2, 5))
            answers = []
            other.aggregator.heard = lambda sender, message, _: answers.append(message)
            name = LineName(iteration=2, round=1, line=0)
            ballot = Ballot(attempt=1, leader=other.me)
            for question in (here(2), Play(name=name, cell=0), Fetch(name=name, ballot=ballot)):
                one.aggregator.heard(other.me, question, 0)
            await until(lambda: len(answers) == 3)
            assert answers[0] == answers[2] == Behind(name=name, iteration=5)
            assert type(answers[1]).__name__ == "CannotPlay"

    on_loop(main())


def test_peer_that_is_told_that_it_is_behind_passes_it_on(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            peers[0].begin(view_of(peers, 2))
            message = Behind(name=LineName(iteration=1, round=1, line=0), iteration=7)
            peers[0].aggregator.heard(peers[1].me, message, 0)
            assert peers[0].behind == [7]

    on_loop(main())


def test_only_its_own_cell_s_line_tells_a_peer_that_it_is_one_iteration_behind(on_loop) -> None:
    """A cell that it plays for another may be late in a line that is over: its own goes on."""

    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one, other = peers
            view = view_of(peers, 2)
            one.begin(view)
            averaging = asyncio.create_task(one.average())
            await asyncio.sleep(0)
            for mark, behind in ((view.mark, [2]), ("0" * 16, [2])):
                name = LineName(iteration=1, round=1, line=0, view_mark=mark)
                one.aggregator.heard(other.me, Behind(name=name, iteration=2), 0)
                assert one.behind == behind, "only the first is said of a line of its own"
            averaging.cancel()

    on_loop(main())


def test_peer_that_asks_for_a_result_that_was_let_go_is_behind(on_loop) -> None:
    """It came back after the others had gone on without it: nobody can give what it asks for, so it takes the state."""

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            await average_all(peers, 3)
            one, other = peers[:2]
            assert one.rounds is not None
            first = next(fact for fact in one.facts if isinstance(fact, GroupFinished))
            assert first.ballot is not None
            name = LineName(iteration=1, round=1, line=first.line, view_mark=view_of(peers, 3).mark)
            fetch = Fetch(name=name, ballot=Ballot(attempt=first.ballot[0], leader=first.ballot[1]))
            answers = []
            other.aggregator.heard = lambda sender, message, _: answers.append(message)
            one.aggregator.heard(other.me, fetch, 0)
            await until(lambda: len(answers) >= 1)
            assert type(answers.pop(0)).__name__ == "ResultOffer", "it is held until all have it"
            await one.rounds.unneeded()
            one.begin(view_of(peers, 3, 2))
            one.aggregator.heard(other.me, fetch, 0)
            await until(lambda: Behind(name=name, iteration=2) in answers)

    on_loop(main())


@pytest.mark.parametrize(("iteration", "is_behind"), [(3, False), (4, False), (5, True), (9, True)])
def test_peer_that_hears_of_others_far_ahead_is_behind(on_loop, iteration: int, is_behind: bool) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            one = peers[0]
            one.aggregator.other_is_at(peers[1].me, iteration)
            assert one.behind == [], "before its first iteration it is nowhere"
            one.begin(view_of(peers, 2, 3))
            one.aggregator.other_is_at(peers[1].me, iteration)
            assert one.behind == ([iteration] if is_behind else [])

    on_loop(main())


def test_peer_that_broke_the_rules_is_left_out_of_the_iteration_as_often_as_it_comes_back(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            view = view_of(peers, 3)
            *honest, offender = peers
            for peer in peers:
                peer.begin(view)
            for peer in honest:
                peer.aggregator.offended(offender.me)
                peer.aggregator.back(offender.me)
            averages = [asyncio.create_task(peer.average()) for peer in honest]
            offending = asyncio.create_task(offender.average())
            vectors = [(await average)[0] for average in averages]
            assert torch.equal(*vectors)
            groups = [fact.members for fact in honest[0].facts if isinstance(fact, GroupFinished)]
            assert groups
            assert all(offender.me not in members for members in groups)
            for peer in honest:
                peer.begin(view_of(peers, 3, 2))
                assert offender.me not in peer.aggregator._gone, "the next iteration may do better"
            offending.cancel()

    on_loop(main())


@pytest.mark.parametrize("is_exchanging", [False, True])
def test_peer_that_broke_the_rules_towards_one_of_a_group_is_left_out_by_its_leader(
    on_loop, is_exchanging: bool
) -> None:
    """Else the leader would go on inviting both, of whom one does not hear the other."""

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            leader, offended, offender = sorted(peers, key=lambda peer: peer.me)
            for peer in peers:
                peer.begin(view_of(peers, 3))
            if is_exchanging:
                offender.aggregator.heard = lambda *_, **__: None  # it leaves the others waiting
            else:
                offended.aggregator.offended(offender.me)
            averages = [asyncio.create_task(peer.average()) for peer in (leader, offended)]
            offending = asyncio.create_task(offender.average())
            if is_exchanging:
                await until(lambda: any(isinstance(fact, GroupAgreed) for fact in offended.facts))
                offended.aggregator.offended(offender.me)
            async with asyncio.timeout(MIN_PATIENCE_S / 2):
                vectors = [(await average)[0] for average in averages]
            assert torch.equal(*vectors)
            groups = [fact.members for fact in leader.facts if isinstance(fact, GroupFinished)]
            assert groups == [(leader.me, offended.me)]
            offending.cancel()

    on_loop(main())


def test_nobody_waits_for_a_peer_that_says_that_it_does_not_come(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            *here, away = peers
            for peer in here:
                peer.begin(view_of(peers, 3, 4))
            away.aggregator.leave_out(5)
            await until(lambda: all(peer.aggregator._absent == {away.me: 5} for peer in here))
            for iteration in (4, 5):
                vectors = [vector for vector, _ in await asyncio.gather(*(peer.average() for peer in here))]
                assert torch.equal(*vectors)
                for peer in here:
                    peer.begin(view_of(peers, 3, iteration + 1))
            groups = [fact for fact in here[0].facts if isinstance(fact, GroupFinished)]
            assert {fact.iteration for fact in groups} == {4, 5}
            assert all(away.me not in fact.members for fact in groups)
            assert here[0].aggregator._comes_not(away.me, view_of(peers, 3, 5))
            assert not here[0].aggregator._comes_not(away.me, view_of(peers, 3, 6)), "it is back in the next one"

    on_loop(main())


@pytest.mark.parametrize("iteration", [3, 6])
def test_peer_that_is_connected_later_hears_who_does_not_come(on_loop, iteration: int) -> None:
    """It may itself be in one of those that the other is through with, when that one runs the first that it takes part
    in."""

    async def main() -> None:
        async with averagers(2, LENGTH, connect=False) as (here, away):
            away.begin(view_of([here, away], 2, iteration))
            away.aggregator.leave_out(5)
            away.aggregator.leave_out(4)
            here.links.learn(away.me, ("127.0.0.1", away.port))
            here.links.connect(away.me)
            await until(lambda: here.aggregator._absent == {away.me: 5})

    on_loop(main())


def test_one_of_several_others_cannot_send_a_peer_after_a_later_state(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as (one, liar, another, third):
            view = view_of([one, liar, another, third], 2, 3)
            one.begin(view)
            for _ in range(3):
                one.aggregator.other_is_at(liar.me, 2**40)
            one.aggregator.other_is_at(third.me, 4)
            assert one.behind == [], "who is one iteration ahead is no witness"
            one.aggregator.other_is_at(another.me, 5)
            assert one.behind == [5]
            averaging = asyncio.create_task(one.average())
            await asyncio.sleep(0)
            line = view.grid.line_name(view.cell_of[one.me], Round(1))
            name = LineName(iteration=3, round=1, line=line, view_mark=view.mark)
            one.aggregator.heard(liar.me, Behind(name=name, iteration=2**40), 0)
            assert one.behind == [5, 5]
            averaging.cancel()

    on_loop(main())


def test_rounds_go_on_serving_until_the_next_are_over(on_loop) -> None:
    """A peer that is through begins the next iteration while another may still lack the result."""

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            await average_all(peers, 3)
            for peer in peers:
                assert peer.rounds is not None
                await peer.rounds.unneeded()
            peers[0].begin(view_of(peers, 3, 2))
            assert [int(rounds.aggregation.iteration) for rounds in peers[0].aggregator._all()] == [1, 2]
            peers[0].aggregator.drop_current()  # the view moved
            peers[0].begin(view_of(peers, 3, 2))
            assert [int(rounds.aggregation.iteration) for rounds in peers[0].aggregator._all()] == [1, 2]
            assert peers[0].rounds is not None
            peers[0].begin(view_of(peers, 3, 3))
            assert [int(rounds.aggregation.iteration) for rounds in peers[0].aggregator._all()] == [2, 3]

    on_loop(main())


def test_bytes_of_an_iteration_that_does_not_run_have_no_place(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, LENGTH) as peers:
            part = Part(
                name=LineName(iteration=1, round=1, line=0),
                ballot=Ballot(attempt=1, leader=peers[1].me),
                stage="scatter",
                offset=0,
            )
            aggregator = peers[0].aggregator
            assert aggregator.room(peers[1].me, part, 200) is None
            peers[0].begin(view_of(peers, 2))
            assert aggregator.room(peers[1].me, part, 200) is None, "no exchange of that ballot runs"
            aggregator.heard(peers[1].me, part, 200)

    on_loop(main())


def test_iteration_is_the_one_that_runs(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as peers:
            aggregator = peers[0].aggregator
            assert aggregator.iteration == 0
            peers[0].begin(view_of(peers, 2, 3))
            assert aggregator.iteration == 3
            aggregator.drop_current()
            assert aggregator.iteration == 0

    on_loop(main())


def test_member_that_was_started_again_is_awaited_by_nobody_before_it_counts_again(on_loop) -> None:
    """It is connected, and says nothing: it enters no ballot of a view that counts its earlier life."""

    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            *others, again = peers
            began = asyncio.get_running_loop().time()
            for peer in others:
                peer.begin(view_of(peers, 3))
            averaging = [asyncio.create_task(peer.average()) for peer in others]
            for peer in others:
                peer.reborn.append(again.me)
                peer.aggregator.back(again.me)
            for task in averaging:
                _, holding = await task
                assert holding.weight == sum(peer.weight for peer in others)
            for peer in others:
                peer.begin(view_of(peers, 3, 2))
            for _, holding in await asyncio.gather(*(peer.average() for peer in others)):
                assert holding.weight == sum(peer.weight for peer in others)
            assert asyncio.get_running_loop().time() - began < MIN_PATIENCE_S

    on_loop(main())


@pytest.mark.parametrize("iteration", [1, 2])
def test_proposal_of_shares_that_cannot_be_is_its_sender_s_fault_early_or_not(on_loop, iteration: int) -> None:
    async def main() -> None:
        async with averagers(3, LENGTH) as peers:
            peers[0].begin(view_of(peers, 3))
            name = LineName(iteration=iteration, round=1, line=0)
            members = tuple(Member(peer_id=peer.me, seats=(SEAT,), update_s=0.0) for peer in peers)
            ballot = Ballot(attempt=1, leader=peers[1].me)
            proposal = Propose(name=name, ballot=ballot, view_digest="", members=members, shares=(500, 400, 99))
            early = len(peers[0].aggregator._early)
            with pytest.raises(RemoteProtocolError) as caught:
                peers[0].aggregator.heard(peers[1].me, proposal, 0)
            assert caught.value.code == "bad_shares"
            assert len(peers[0].aggregator._early) == early, "it is not kept for later either"

    on_loop(main())


def test_group_goes_on_without_a_leader_that_proposes_shares_that_cannot_be(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, LENGTH) as peers:
            view = view_of(peers, 4)
            liar, *honest = peers
            for peer in peers:
                peer.begin(view)
            averaging = [asyncio.create_task(peer.average()) for peer in honest]
            name = LineName(iteration=1, round=1, line=0, view_mark=view.mark)
            members = tuple(
                Member(peer_id=peer.me, seats=(Seat(cell=cell, weight=peer.weight, sums=(), maxima=()),), update_s=0.0)
                for cell, peer in enumerate(peers)
            )
            proposal = Propose(
                name=name,
                ballot=Ballot(attempt=1, leader=liar.me),
                view_digest=view.digest,
                members=members,
                shares=(1000, 1000, 0, 0),
            )
            for peer in honest:
                liar.links.send(peer.me, proposal)
            for _, holding in await asyncio.gather(*averaging):
                assert holding.weight == sum(peer.weight for peer in honest)
            for peer in honest:
                assert ("bad_shares", liar.me) in peer.faults()

    on_loop(main())


def test_slowest_link_that_anybody_measured_gives_all_the_same_time_in_the_next_iteration(on_loop) -> None:
    async def main() -> None:
        async with averagers(16, LENGTH) as peers:
            for peer in peers:
                peer.measured(2e6 if peer is peers[6] else 20e6)
            assumed = {peer.begin(view_of(peers, 4)).aggregation.timetable._allowance for peer in peers}
            await asyncio.gather(*(peer.average() for peer in peers))
            longer = {peer.begin(view_of(peers, 4, 2)).aggregation.timetable._allowance for peer in peers}
            bits = 4 * 2 * 4 * LENGTH
            assert assumed == {ROUND_OVERHEAD_S + bits / ASSUMED_LINK_BYTES_PER_S}
            assert longer == {ROUND_OVERHEAD_S + bits / rate_of(speed_of(2e6))}

    on_loop(main())


def test_rate_is_told_as_it_was_when_the_iteration_began(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, LENGTH) as peers:
            [peer] = peers
            peer.begin(view_of(peers, 2))
            peer.measured(20e6)
            assert peer.aggregator.speeds.own == 0
            for iteration in (2, 3):
                peer.begin(view_of(peers, 2, iteration))
                assert peer.aggregator.speeds.own == speed_of(20e6)
            told = [fact.bytes_per_s for fact in peer.facts if isinstance(fact, UplinkMeasured)]
            assert told == [20e6], "once"

    on_loop(main())
