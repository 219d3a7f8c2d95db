"""Founding together, or joining what runs; over real links, with one shelf in place of the DHT."""

from __future__ import annotations

import asyncio

import pytest
from averaging_peers import Averager, Shelf, averagers, statements_of, until

from marfl_peer.clock import Clock, Deadline
from marfl_peer.config import Settings
from marfl_peer.errors import DhtError, RemoteProtocolError
from marfl_peer.ids import Iteration, PeerId, RunId
from marfl_peer.network.identity import Identity
from marfl_peer.peer import entrance as entrance_module
from marfl_peer.peer import relaying as relaying_module
from marfl_peer.peer.entrance import Entrance, Entry
from marfl_peer.peer.roster import Roster
from marfl_peer.protocol import records
from marfl_peer.protocol.messages import AnyMessage, Events, JoinRequest, Relayed, Start, StartAnswer, StartProposal
from marfl_peer.protocol.restart import Held
from marfl_peer.protocol.view import FOUNDING


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance_module, "POLL_S", 0.02)
    monkeypatch.setattr(entrance_module, "MAX_POLL_S", 0.1)


class Visitor:
    """A peer at the entrance."""

    def __init__(self, peer: Averager, shelf: Shelf, *, seeds: tuple[Averager, ...] = (), **settings: object) -> None:
        self.peer = peer
        self.roster = Roster(
            me=peer.me,
            run_id=RunId("run"),
            group_size=4,
            links=peer.links,
            clock=Clock(),
            tell=peer.facts.append,
            on_news=lambda events: None,
        )
        statements = statements_of(peer.identity, peer.port)
        addresses = [("127.0.0.1", seed.port) for seed in seeds]
        self.looked_up: list[Deadline] = []
        given = {"run_id": "run", "bootstrap": tuple(f"{host}:{port}" for host, port in addresses), **settings}
        self.entrance = Entrance(
            me=peer.me,
            settings=Settings().adopt(given),
            roster=self.roster,
            links=peer.links,
            dht=shelf,  # type: ignore[arg-type]  # a stand-in with the methods that are used
            clock=Clock(),
            tell=peer.facts.append,
            seeds=lambda: addresses if self.looked_up else [],
            look_up=self._look_up,
            member_record=statements.member,
            held=Held(0, "ab"),
        )
        peer.switchboard.roster, peer.switchboard.entrance = self.roster, self.entrance
        peer.switchboard._status = lambda: (
            b'{"run_id": "run", "peer_id": "%s", "started": %s, "iteration": %d}'
            % (peer.me.encode(), b"true" if self.roster.started else b"false", self.roster.iteration)
        )

    async def _look_up(self, deadline: Deadline) -> None:
        """Only then the seeds are known."""
        self.looked_up.append(deadline)


async def running(peer: Averager, iteration: int, shelf: Shelf) -> Visitor:
    """A peer that founded a swarm alone, which is in that iteration."""
    founder = Visitor(peer, shelf)
    await founder.entrance.enter()
    founder.roster.iteration = Iteration(iteration)
    return founder


def test_peer_alone_founds_alone(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            visitor = Visitor(peer, Shelf())
            assert await visitor.entrance.enter() == Entry(Iteration(1))
            assert visitor.roster.started
            assert visitor.roster.view(Iteration(1)).members == (peer.me,)

    on_loop(main())


@pytest.mark.parametrize("count", [2, 5])
def test_founders_enter_with_one_view(on_loop, count: int) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(count, 10, connect=False) as peers:
            visitors = [Visitor(peer, shelf, wait_for=count) for peer in peers]
            entries = await asyncio.gather(*(visitor.entrance.enter() for visitor in visitors))
            assert entries == [Entry(Iteration(1))] * count
            digests = {visitor.roster.view(Iteration(1)).digest for visitor in visitors}
            assert len(digests) == 1
            assert len(visitors[0].roster.view(Iteration(1)).members) == count

    on_loop(main())


@pytest.mark.parametrize("is_relay_dumb", [False, True])
def test_founders_of_a_large_swarm_have_its_events_over_relays_or_else_from_the_founder(
    on_loop, monkeypatch: pytest.MonkeyPatch, is_relay_dumb: bool
) -> None:
    monkeypatch.setattr(relaying_module, "RELAY_WIDTH", 2)
    monkeypatch.setattr(relaying_module, "RELAY_PATIENCE_S", 0.1)

    async def main() -> None:
        shelf = Shelf()
        async with averagers(9, 10) as peers:
            givers: dict[PeerId, set[PeerId]] = {peer.me: set() for peer in peers}
            visitors = [Visitor(peer, shelf, wait_for=9) for peer in peers]
            for visitor in visitors:
                visitor.roster._on_news = lambda events, visitor=visitor: visitor.entrance.view_may_be_whole()
                note_givers(visitor, givers)
            if is_relay_dumb:
                visitors[1].entrance._relaying.pass_on = lambda members: None  # type: ignore[method-assign]
            async with asyncio.timeout(entrance_module.ANSWER_S / 2):
                entries = await asyncio.gather(*(visitor.entrance.enter() for visitor in visitors))
            assert entries == [Entry(Iteration(1))] * 9
            assert len({visitor.roster.view(Iteration(1)).digest for visitor in visitors}) == 1
            for parent, taker in ((0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6), (3, 7), (3, 8)):
                heard_from = givers[peers[taker].me]
                if not is_relay_dumb:
                    assert heard_from == {peers[parent].me}
                elif parent == 1:
                    assert heard_from == {peers[0].me}
                else:
                    assert heard_from <= {peers[parent].me, peers[0].me}, "a relay may be late for one that is dumb"

    on_loop(main())


def note_givers(visitor: Visitor, givers: dict[PeerId, set[PeerId]]) -> None:
    """Notes who gives that peer events before it is in."""
    heard = visitor.roster.heard

    def noting(sender: PeerId, message: Events, payload: memoryview) -> None:
        if not visitor.roster.started:
            givers[visitor.peer.me].add(sender)
        heard(sender, message, payload)

    visitor.roster.heard = noting  # type: ignore[method-assign]


def test_peer_whose_events_are_under_way_over_a_relay_accepts_no_other_proposer(on_loop) -> None:
    """The view that was started counts it. One that nobody started does not."""

    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            visitor = Visitor(peer, Shelf())
            answers: list[bool] = []
            peer.links.send = lambda to, message, payload=b"": (
                answers.append(message.accepted) if isinstance(message, StartAnswer) else None
            )
            relay, founder, low = (PeerId(digit * 40) for digit in "851")
            visitor.entrance.relayed(founder, Relayed(peer_id=relay))
            assert not visitor.entrance._relaying.is_under_way(), "nothing was promised"
            visitor.entrance.proposed(founder, StartProposal())
            visitor.entrance.relayed(low, Relayed(peer_id=relay))
            assert not visitor.entrance._relaying.is_under_way(), "that was promised to another one"
            visitor.entrance.relayed(founder, Relayed(peer_id=relay))
            visitor.entrance.begun(founder, Start(view_digest="ab", iteration=0, state_digest="cd", holders=()))
            visitor.entrance.proposed(low, StartProposal())
            visitor.entrance.gone(founder)
            visitor.entrance.proposed(low, StartProposal())
            assert answers == [True, False, True]
            visitor.entrance._relaying.close()

    on_loop(main())


def test_founder_with_another_initial_state_takes_that_of_most(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(3, 10) as peers:
            one, other, third = [Visitor(peer, shelf, wait_for=3) for peer in peers]
            one.entrance._held = Held(0, "cd")
            entries = await asyncio.gather(*(visitor.entrance.enter() for visitor in (one, other, third)))
            assert entries[0] == Entry(Iteration(1), (other.peer.me, third.peer.me), "ab")
            assert entries[1:] == [Entry(Iteration(1))] * 2

    on_loop(main())


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_founders_go_on_after_the_latest_state_that_one_of_them_holds(on_loop, ahead: int) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(3, 10) as peers:
            visitors = [Visitor(peer, shelf, wait_for=3) for peer in peers]
            for index, visitor in enumerate(visitors):
                visitor.entrance._held = Held(9, "99") if index == ahead else Held(8, "88")
            entries = await asyncio.gather(*(visitor.entrance.enter() for visitor in visitors))
            for index, (visitor, entry) in enumerate(zip(visitors, entries, strict=True)):
                behind = Entry(Iteration(10), (peers[ahead].me,), "99")
                assert entry == (Entry(Iteration(10)) if index == ahead else behind)
                assert visitor.roster.iteration == 10, "what it states from now on is of that iteration"
            assert len({visitor.roster.view(Iteration(10)).digest for visitor in visitors}) == 1
            assert len(visitors[0].roster.view(Iteration(10)).members) == 3

    on_loop(main())


def test_late_peer_joins_what_runs_two_iterations_on(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(3, 10) as peers:
            founders = [Visitor(peer, shelf, wait_for=2) for peer in peers[:2]]
            await asyncio.gather(*(founder.entrance.enter() for founder in founders))
            for founder in founders:
                founder.roster.iteration = Iteration(6)
            late = Visitor(peers[2], shelf, seeds=(peers[0],))
            entry = await late.entrance.enter()
            assert entry == Entry(Iteration(8), (peers[0].me,))
            await until(lambda: len(founders[1].roster.view(Iteration(8)).members) == 3)
            views = [visitor.roster.view(Iteration(8)).digest for visitor in (*founders, late)]
            assert len(set(views)) == 1
            assert late.roster.is_member(Iteration(8))
            assert not late.roster.is_member(Iteration(7))

    on_loop(main())


def test_peer_whose_given_addresses_are_dead_gets_in_by_one_that_it_remembers(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(3, 10, connect=False) as (member, late, gone):
            await gone.links.close()
            await running(member, 6, shelf)
            visitor = Visitor(late, Shelf(), seeds=(gone, member))
            assert await visitor.entrance.enter() == Entry(Iteration(8), (member.me,))

    on_loop(main())


def test_peer_that_knows_nobody_gets_in_by_a_member_that_takes_it_for_its_earlier_life(on_loop) -> None:
    """The first of a swarm was given no address; started again on an empty disk, it only has those who dial it."""

    async def main() -> None:
        async with averagers(2, 10) as (member, late):
            await running(member, 6, Shelf())
            visitor = Visitor(late, Shelf(), wait_for=2)
            entering = asyncio.create_task(visitor.entrance.enter())
            await asyncio.sleep(0.05)
            assert not entering.done()
            visitor.entrance.overheard(member.me, 6)
            assert await entering == Entry(Iteration(8), (member.me,))

    on_loop(main())


def test_joiner_asks_again_when_its_joining_is_stated_and_the_answer_does_not_come(on_loop) -> None:
    """The answer went out over a connection of its earlier life, which nobody reads any more."""

    async def main() -> None:
        async with averagers(2, 10) as (member, late):
            founder = await running(member, 6, Shelf())
            visitor = Visitor(late, Shelf(), seeds=(member,))
            visitor.roster._on_news = lambda events: visitor.entrance.view_may_be_whole()
            asked, answer = [], founder.entrance.asked_to_join

            def lose_the_first_answer(sender: PeerId, payload: memoryview) -> None:
                asked.append(sender)
                if len(asked) > 1:
                    answer(sender, payload)
                    return
                founder.roster.state_joined(bytes(payload), 6)
                founder.roster.send_all(sender)

            founder.entrance.asked_to_join = lose_the_first_answer  # type: ignore[method-assign]
            async with asyncio.timeout(entrance_module.ANSWER_S / 2):
                assert await visitor.entrance.enter() == Entry(Iteration(8), (member.me,))
            assert asked == [late.me, late.me]

    on_loop(main())


def test_joiner_does_not_wait_for_an_answer_of_one_that_is_lost(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as (member, late):
            Visitor(member, Shelf())
            visitor = Visitor(late, Shelf())
            joining = asyncio.create_task(visitor.entrance.join(member.me))
            await asyncio.sleep(0.05)
            visitor.entrance.gone(member.me)
            async with asyncio.timeout(1.0):
                assert await joining is None

    on_loop(main())


def test_accepted_proposer_that_runs_already_is_joined_although_its_word_was_lost(on_loop) -> None:
    """A founder whose start was lost with a connection is waited for; it need not keep its promise to the end."""

    async def main() -> None:
        async with averagers(2, 10) as (member, late):
            await running(member, 2, Shelf())
            visitor = Visitor(late, Shelf(), wait_for=2)
            visitor.entrance.proposed(member.me, StartProposal())
            visitor.entrance.overheard(member.me, 2)
            async with asyncio.timeout(entrance_module.ANSWER_S):
                assert await visitor.entrance.enter() == Entry(Iteration(4), (member.me,))

    on_loop(main())


def test_founder_that_was_started_again_joins_the_swarm_that_it_had_founded(on_loop) -> None:
    """Its start had reached one peer when its power was cut; all others would found another swarm with it."""

    async def main() -> None:
        async with averagers(3, 10) as peers:
            lowest, started, waiting = sorted(peers, key=lambda peer: peer.me)
            shelf = Shelf()
            swarm = await running(started, 1, shelf)
            founder, other = (Visitor(peer, shelf, wait_for=2) for peer in (lowest, waiting))
            async with asyncio.timeout(entrance_module.ANSWER_S):
                entries = await asyncio.gather(founder.entrance.enter(), other.entrance.enter())
            assert entries[0] == Entry(Iteration(3), (started.me,))
            assert swarm.roster.is_there(lowest.me)
            digests = {each.roster.view(Iteration(1)).digest for each in (swarm, founder, other)}
            assert len(digests) == 1, "one swarm"

    on_loop(main())


@pytest.mark.parametrize("is_overheard", [False, True])
def test_member_that_is_behind_the_state_of_a_peer_is_not_joined_by_where_another_is_there(
    on_loop, is_overheard: bool
) -> None:
    """It had got two iterations ahead of that member in its earlier life: the swarm left it behind."""

    async def main() -> None:
        async with averagers(3, 10) as (left, member, late):
            founders = [await running(left, 6, Shelf()), await running(member, 9, Shelf())]
            visitor = Visitor(late, Shelf(), seeds=(member,) if is_overheard else (left, member))
            visitor.entrance._held = Held(7, "77")
            if is_overheard:
                visitor.entrance.overheard(left.me, 6)
            assert await visitor.entrance.enter() == Entry(Iteration(11), (member.me,))
            assert founders[0].roster.membership.status(late.me) is None

    on_loop(main())


@pytest.mark.parametrize(("held", "has_sources"), [(6, True), (7, False), (9, False)])
def test_peer_keeps_a_state_that_the_members_it_finds_are_behind(on_loop, held: int, has_sources: bool) -> None:
    async def main() -> None:
        async with averagers(3, 10) as (slow, member, late):
            for peer, iteration in ((slow, 5), (member, 6)):
                await running(peer, iteration, Shelf())
            visitor = Visitor(late, Shelf(), seeds=(slow, member))
            visitor.entrance._held = Held(held, "77")
            sources = (member.me,) if has_sources else ()
            assert await visitor.entrance.enter() == Entry(Iteration(8), sources), "by the one that is furthest"

    on_loop(main())


def test_on_its_way_in_a_peer_hears_him_alone_who_lets_it_in(on_loop) -> None:
    """What it heard of a swarm that is no more would count in none of the views of the next one but its own."""

    async def main() -> None:
        shelf, ghosts = Shelf(), [statements_of(Identity.ephemeral(), 7).member() for _ in range(2)]
        async with averagers(3, 10) as (member, late, other):
            founder = await running(member, 6, shelf)
            elsewhere, visitor = Visitor(other, Shelf()), Visitor(late, Shelf(), seeds=(member,))
            elsewhere.roster.state_joined(records.encode(ghosts[0]), FOUNDING)
            visitor.roster.enter_by(other.me)
            elsewhere.roster.send_all(late.me)
            await until(lambda: len(visitor.roster.membership.events()) == 1)
            elsewhere.roster.state_joined(records.encode(ghosts[1]), FOUNDING)
            visitor.roster.enter_by(member.me)
            elsewhere.roster.send_all(late.me)
            assert await visitor.entrance.enter() == Entry(Iteration(8), (member.me,))
            views = [each.roster.view(Iteration(8)) for each in (founder, visitor)]
            assert views[0].digest == views[1].digest
            assert len(views[0].members) == 2

    on_loop(main())


def test_given_address_where_nobody_answers_is_an_error_in_the_end(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10, connect=False) as (peer, gone):
            await gone.links.close()
            visitor = Visitor(peer, Shelf(), seeds=(gone,), wait_for=2, wait_timeout_s=0.0)
            with pytest.raises(DhtError, match="nobody answers"):
                await visitor.entrance.enter()

    on_loop(main())


def test_too_few_by_the_time_out_found_with_those_that_are_there(on_loop) -> None:
    async def main() -> None:
        shelf = Shelf()
        async with averagers(2, 10) as peers:
            visitors = [Visitor(peer, shelf, wait_for=5, wait_timeout_s=0.3) for peer in peers]
            await asyncio.gather(*(visitor.entrance.enter() for visitor in visitors))
            assert {len(visitor.roster.view(Iteration(1)).members) for visitor in visitors} == {2}

    on_loop(main())


def test_promise_is_given_up_only_for_a_lower_proposer(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            visitor = Visitor(peer, Shelf())
            sent: list[tuple[PeerId, bool]] = []
            peer.links.send = lambda to, message, payload=b"": sent.append((to, message.accepted))
            middle, high, low = (PeerId(digit * 40) for digit in "5a1")
            for proposer in (middle, high, low, middle):
                visitor.entrance.proposed(proposer, StartProposal())
            assert sent == [(middle, True), (high, False), (low, True), (middle, False)]
            visitor.roster.started = True
            visitor.entrance.proposed(low, StartProposal())
            assert sent[-1] == (low, False)

    on_loop(main())


def test_first_of_two_accepted_proposers_that_starts_has_the_peer_and_the_other_hears_of_it(on_loop) -> None:
    """It promised itself to a lower one, which found too few, while the view of the higher one counted it already."""

    async def main() -> None:
        shelf = Shelf()
        async with averagers(3, 10) as peers:
            low, middle, high = sorted(peers, key=lambda peer: peer.me)
            proposer, starter, visitor = (Visitor(peer, shelf) for peer in (low, middle, high))
            for peer in (middle, high):
                record = statements_of(peer.identity, peer.port).member()
                starter.roster.state_joined(records.encode(record), FOUNDING)
            starter.roster.started, starter.roster.iteration = True, Iteration(1)
            start = Start(
                view_digest=starter.roster.view(Iteration(1)).digest, iteration=0, state_digest="ab", holders=()
            )
            visitor.entrance.begun(middle.me, start)
            assert visitor.entrance._start_message is None, "nothing was promised"
            for peer in (middle, low):
                visitor.entrance.proposed(peer.me, StartProposal())
            visitor.entrance.begun(middle.me, start)
            visitor.roster._on_news = lambda events: visitor.entrance.view_may_be_whole()
            async with asyncio.timeout(5):
                assert await visitor.entrance.enter() == Entry(Iteration(1))
            assert visitor.roster.view(Iteration(1)).members == (middle.me, high.me)
            await until(lambda: proposer.entrance._answers.get(high.me, Held(0, "")) is None)

    on_loop(main())


def test_proposer_that_is_in_another_swarm_lets_those_go_that_accepted_it(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as peers:
            low, high, member = sorted(peers, key=lambda peer: peer.me)
            await running(member, 1, Shelf())
            proposer, visitor = Visitor(low, Shelf(), wait_for=3), Visitor(high, Shelf())
            await proposer.entrance._propose([high.me], late=False)
            assert visitor.entrance._is_promised()
            assert await proposer.entrance.join(member.me) == Entry(Iteration(3), (member.me,))
            await until(lambda: not visitor.entrance._is_promised())

    on_loop(main())


def test_refusal_of_an_own_proposal_is_no_proposer_that_lets_go(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            low, high = sorted(peers, key=lambda peer: peer.me)
            visitor = Visitor(high, Shelf())
            visitor.entrance._unanswered.add(low.me)
            visitor.entrance.proposed(low.me, StartProposal())
            refusal = StartAnswer(accepted=False, iteration=0, state_digest="", reason="another one was accepted")
            for is_promised in (True, False):
                visitor.entrance.answered(low.me, refusal, memoryview(b""))
                assert visitor.entrance._is_promised() is is_promised
            visitor.entrance._unanswered.add(low.me)
            visitor.entrance.gone(low.me)
            assert not visitor.entrance._unanswered, "who is out of reach does not answer any more"

    on_loop(main())


def test_promise_that_came_to_nothing_does_not_keep_the_peer_from_founding(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 10) as (peer,):
            visitor = Visitor(peer, Shelf())
            visitor.entrance.proposed(PeerId("0" * 40), StartProposal())
            visitor.entrance._promised_until = 0.0
            assert await visitor.entrance.enter() == Entry(Iteration(1))

    on_loop(main())


@pytest.mark.parametrize("is_asked", [False, True])
def test_peer_is_in_one_swarm_only_where_a_proposal_comes_while_it_joins(on_loop, is_asked: bool) -> None:
    """Before it asked the member to state its joining, it keeps what it promised; after that it promises nothing."""

    async def main() -> None:
        async with averagers(2, 10) as (member, late):
            founder = await running(member, 6, Shelf())
            visitor = Visitor(late, Shelf(), seeds=(member,))
            proposer, answers = PeerId("0" * 40), []
            send = late.links.send

            def sending(to: PeerId, message: AnyMessage, payload: bytes = b"") -> None:
                if to == proposer and isinstance(message, StartAnswer):
                    answers.append(message.accepted)
                else:
                    send(to, message, payload)
                    if isinstance(message, JoinRequest):
                        visitor.entrance.proposed(proposer, StartProposal())

            late.links.send = sending  # type: ignore[method-assign,assignment]
            if is_asked:
                assert await visitor.entrance.enter() == Entry(Iteration(8), (member.me,))
                assert answers == [False]
            else:
                joining = asyncio.create_task(visitor.entrance._join_running())
                await asyncio.sleep(0)  # its question where the swarm is, is on its way
                visitor.entrance.proposed(proposer, StartProposal())
                assert await joining is None
                assert answers == [True]
                assert not founder.roster.membership.status(late.me)

    on_loop(main())


def test_record_of_somebody_else_is_refused(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as (peer, other):
            visitor = Visitor(peer, Shelf())
            payload = memoryview(records.encode(statements_of(Identity.ephemeral(), 1).member()))
            with pytest.raises(RemoteProtocolError):
                visitor.entrance.answered(
                    other.me, StartAnswer(accepted=True, iteration=0, state_digest="", reason=""), payload
                )
            visitor.roster.started = True
            visitor.roster.iteration = Iteration(1)
            with pytest.raises(RemoteProtocolError):
                visitor.entrance.asked_to_join(other.me, payload)
            assert visitor.roster.membership.events() == ()

    on_loop(main())


def test_peer_on_its_way_in_lets_nobody_join(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            founder, late = (Visitor(peer, Shelf()) for peer in peers)
            founder.roster.started = True  # but it has begun no iteration
            assert await late.entrance.join(peers[0].me) is None
            assert founder.roster.membership.events() == ()

    on_loop(main())


def test_member_of_nothing_lets_nobody_join(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            Visitor(peers[0], Shelf())
            late = Visitor(peers[1], Shelf())
            assert await late.entrance.join(peers[0].me) is None
            assert not late.roster.started

    on_loop(main())


@pytest.mark.parametrize("events_first", [True, False])
def test_start_and_its_events_may_come_in_either_order(on_loop, events_first: bool) -> None:
    """Of two connections to one peer the one that is replaced may deliver after the other."""

    async def main() -> None:
        shelf = Shelf()
        async with averagers(2, 10) as peers:
            low, high = sorted(peers, key=lambda peer: peer.me)
            proposer, visitor = Visitor(low, shelf), Visitor(high, shelf)
            for peer in (low, high):
                record = statements_of(peer.identity, peer.port).member()
                proposer.roster.state_joined(records.encode(record), FOUNDING)
            start = Start(
                view_digest=proposer.roster.view(Iteration(1)).digest, iteration=0, state_digest="ab", holders=()
            )
            visitor.entrance.proposed(low.me, StartProposal())
            if not events_first:
                visitor.entrance.begun(low.me, start)
                assert not visitor.roster.started
            visitor.roster.membership.add(proposer.roster.membership.events())
            visitor.entrance.view_may_be_whole()
            if events_first:
                assert not visitor.roster.started
                visitor.entrance.begun(low.me, start)
            assert await visitor.entrance.enter() == Entry(Iteration(1))
            assert visitor.roster.started

    on_loop(main())
