"""Membership over real links: what is stated floods, what is not signed is not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgpack
import msgspec
import pytest
from averaging_peers import Averager, averagers, until

from marfl_peer.clock import Clock
from marfl_peer.config import Settings
from marfl_peer.errors import RemoteProtocolError
from marfl_peer.facts import MergeAgreed, PeerSeen, RemoteFault
from marfl_peer.ids import Iteration, PeerId, RunId
from marfl_peer.network.identity import Identity
from marfl_peer.peer import roster as roster_module
from marfl_peer.peer.gazette import batches
from marfl_peer.peer.roster import MEMBER_BUCKETS, Roster, bucket_key, member_key, read_member
from marfl_peer.peer.statements import Statements
from marfl_peer.protocol import records
from marfl_peer.protocol.messages import Events
from marfl_peer.protocol.view import FOUNDING, MembershipEvent

RUN = RunId("run")


def record_of(identity: Identity, port: int = 7700, run_id: str = "run") -> bytes:
    statements = Statements(
        identity=identity,
        settings=Settings(run_id=run_id),
        schema_digest="",
        clock=Clock(),
        address=lambda: ("127.0.0.1", port),
    )
    return records.encode(statements.member())


def roster_of(peer: Averager) -> Roster:
    roster = Roster(
        me=peer.me,
        run_id=RUN,
        group_size=4,
        links=peer.links,
        clock=Clock(),
        tell=peer.facts.append,
        on_news=lambda events: None,
    )
    roster.started = True
    peer.switchboard.roster = roster
    return roster


def founded(peers: list[Averager]) -> list[Roster]:
    rosters = [roster_of(peer) for peer in peers]
    for roster in rosters:
        for peer in peers:
            roster.state_joined(record_of(peer.identity, peer.port), FOUNDING)
    return rosters


def packed(*events: MembershipEvent) -> memoryview:
    return memoryview(batches(events)[0])


def test_founders_have_the_same_view_from_the_first_iteration(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as peers:
            rosters = founded(peers)
            views = [roster.view(Iteration(1)) for roster in rosters]
            assert len({view.digest for view in views}) == 1
            assert list(views[0].members) == [peer.me for peer in peers]
            assert all(roster.is_member(Iteration(1)) for roster in rosters)
            assert rosters[0].addresses() == [("127.0.0.1", peer.port) for peer in peers[1:]]

    on_loop(main())


def test_loss_floods_and_counts_two_iterations_later(on_loop) -> None:
    async def main() -> None:
        async with averagers(4, 10) as peers:
            rosters = founded(peers)
            rosters[0].iteration = Iteration(5)
            rosters[0].state_gone(peers[3].me, "lost", "silent")
            await until(lambda: all(roster.gone() == [peers[3].me] for roster in rosters[1:3]))
            for roster in rosters[:3]:
                assert len(roster.view(Iteration(6)).members) == 4
                assert len(roster.view(Iteration(7)).members) == 3
            seen = [fact for fact in peers[1].facts if isinstance(fact, PeerSeen) and fact.event == "lost"]
            assert [(fact.peer_id, fact.iteration) for fact in seen] == [(peers[3].me, 5)]
            assert "heard from" in seen[0].reason

    on_loop(main())


def test_who_was_not_connected_when_news_flooded_hears_them_as_soon_as_it_is(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as peers:
            rosters = founded(peers)
            knows, meets, lost = rosters[0], peers[1].me, peers[2].me
            knows.iteration = Iteration(5)
            knows.membership.add([MembershipEvent(peer_id=lost, incarnation=0, kind="lost", iteration=4)])
            knows.met(meets)
            await until(lambda: rosters[1].gone() == [lost])
            sent = peers[0].traffic.totals()
            knows.iteration = Iteration(6)
            knows.met(meets)
            assert peers[0].traffic.totals() == sent, "it counts already"

    on_loop(main())


def test_newcomer_that_hears_of_joinings_and_losses_in_one_message_believes_both(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as peers:
            newcomer = roster_of(peers[0])
            known = founded(peers[1:])[0]
            known.iteration = Iteration(7)
            known.state_gone(peers[2].me, "lost", "silent")
            known.state_joined(record_of(peers[0].identity, peers[0].port), Iteration(8))
            newcomer.heard(peers[1].me, Events(), packed(*known.membership.events()))
            for iteration in (8, 9, 10):
                assert newcomer.view(Iteration(iteration)).digest == known.view(Iteration(iteration)).digest
            assert newcomer.view(Iteration(10)).members == tuple(sorted((peers[0].me, peers[1].me)))

    on_loop(main())


def test_loss_that_is_known_is_not_stated_again(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            rosters = founded(peers)
            rosters[0].iteration = Iteration(1)
            rosters[0].state_gone(peers[1].me, "lost", "silent")
            count = len(rosters[0].membership.events())
            rosters[0].iteration = Iteration(9)
            rosters[0].state_gone(peers[1].me, "lost", "silent")
            rosters[0].state_gone(PeerId("f" * 40), "lost", "a stranger")
            assert len(rosters[0].membership.events()) == count

    on_loop(main())


def test_peer_on_its_way_in_states_no_loss_and_dates_its_leaving_by_its_joining(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as peers:
            rosters = founded(peers[:2])
            rosters[0].iteration = Iteration(6)
            newcomer = roster_of(peers[2])
            newcomer.started = True
            rosters[0].state_joined(record_of(peers[2].identity, peers[2].port), Iteration(6))
            newcomer.heard(peers[0].me, Events(), packed(*rosters[0].membership.events()))
            newcomer.state_gone(peers[1].me, "lost", "refused")
            assert newcomer.gone() == []
            newcomer.state_gone(peers[2].me, "left", "asked to leave")
            left = newcomer.own_status()
            assert left is not None and (left.kind, left.iteration) == ("left", 6)

    on_loop(main())


def test_member_in_a_new_life_is_known_where_the_view_has_its_old_one(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            roster = founded(peers)[0]
            roster.iteration = Iteration(5)
            assert not roster.is_reborn(peers[1].me, roster.view(Iteration(5)))
            peers[1].identity.raise_incarnation()
            roster.state_joined(record_of(peers[1].identity, peers[1].port), Iteration(5))
            assert roster.is_reborn(peers[1].me, roster.view(Iteration(6)))
            assert not roster.is_reborn(peers[1].me, roster.view(Iteration(7)))

    on_loop(main())


def test_what_one_lacks_is_sent_when_it_asks(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            one, other = [roster_of(peer) for peer in peers]
            one.state_joined(record_of(peers[0].identity), FOUNDING)
            third = Identity.ephemeral()
            peers[1].links.flood = lambda *_, **__: None  # its news was lost on the way
            other.state_joined(record_of(third), 3)
            one.send_all(peers[1].me, answer_wanted=True)
            await until(lambda: one.membership.events() == other.membership.events())
            assert {event.peer_id for event in one.membership.events()} == {peers[0].me, third.peer_id}

    on_loop(main())


def test_all_is_packed_once_for_all_who_are_sent_the_same(on_loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A founder of a thousand that packed it for each of them would say nothing to anybody for seconds."""

    async def main() -> None:
        async with averagers(3, 10) as peers:
            one, *others = founded(peers)
            packings: list[int] = []

            def counting(events: Sequence[MembershipEvent], first: Sequence[MembershipEvent] = ()) -> list[bytes]:
                packings.append(len(events))
                return batches(events, first)

            monkeypatch.setattr(roster_module, "batches", counting)
            for other in others:
                one.send_all(other.me)
            assert packings == [3]
            for other in others:
                other.started = False
                other.enter_by(one.me)
            one.started = False  # what it states does not flood
            one.state_joined(record_of(Identity.ephemeral()), FOUNDING)
            for other in others:
                one.send_all(other.me)
            assert packings == [3, 4], "what is new is in it"
            await until(lambda: all(other.membership.events() == one.membership.events() for other in others))

    on_loop(main())


def test_on_its_way_in_a_peer_believes_the_relay_of_him_who_lets_it_in(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as peers:
            founder, relay, late = [roster_of(peer) for peer in peers]
            relay.state_joined(record_of(peers[0].identity), FOUNDING)
            late.started = False
            late.enter_by(founder.me)
            heard = Events(), packed(*relay.membership.events())
            late.heard(relay.me, *heard)
            assert late.membership.events() == (), "nobody spoke of it"
            late.hear_also(relay.me)
            late.heard(relay.me, *heard)
            assert late.membership.events() == relay.membership.events()
            late.enter_by(founder.me)
            late.heard(relay.me, *heard)
            assert late.membership.events() == (), "it was the relay of what is forgotten"

    on_loop(main())


def joined(identity: Identity, record: bytes, **changes: object) -> MembershipEvent:
    event = MembershipEvent(
        peer_id=identity.peer_id, incarnation=identity.incarnation, kind="joined", iteration=3, record=record
    )
    return msgspec.structs.replace(event, **changes)


def test_joining_without_the_peers_own_signed_record_is_not_believed(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            (roster, _) = founded(peers)
            identity, stranger = Identity.ephemeral(), Identity.ephemeral()
            record = record_of(identity)
            damaged = bytearray(record)
            damaged[-1] ^= 1
            lies = [
                joined(identity, b""),
                joined(identity, bytes(damaged)),
                joined(identity, record_of(identity, run_id="another")),
                joined(identity, record_of(stranger)),
                joined(identity, record, incarnation=7),
            ]
            before = roster.membership.events()
            for lie in lies:
                roster.heard(peers[1].me, Events(), packed(lie))
            assert roster.membership.events() == before
            assert len(peers[0].faults()) == len(lies)
            roster.heard(peers[1].me, Events(), packed(joined(identity, record)))
            assert roster.membership.status(identity.peer_id) is not None
            assert roster.bodies[identity.peer_id].port == 7700

    on_loop(main())


def test_loss_of_somebody_who_never_joined_is_not_believed(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            (roster, _) = founded(peers)
            lie = MembershipEvent(peer_id=PeerId("f" * 40), incarnation=1, kind="lost", iteration=1)
            roster.heard(peers[1].me, Events(), packed(lie))
            assert roster.membership.status(PeerId("f" * 40)) is None

    on_loop(main())


def test_founder_that_nobody_knew_is_not_believed_later(on_loop) -> None:
    """It would change views that are past."""

    async def main() -> None:
        async with averagers(2, 10) as peers:
            (roster, _) = founded(peers)
            roster.iteration = Iteration(4)
            identity = Identity.ephemeral()
            roster.heard(peers[1].me, Events(), packed(joined(identity, record_of(identity), iteration=FOUNDING)))
            assert roster.membership.status(identity.peer_id) is None

    on_loop(main())


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", msgpack.packb({}), msgpack.packb([1]), msgpack.packb([["x", 0, "joined", 1, b""]])]
)
def test_events_that_are_none_are_refused(on_loop, payload: bytes) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            (roster, _) = founded(peers)
            with pytest.raises(RemoteProtocolError) as caught:
                roster.heard(peers[1].me, Events(), memoryview(payload))
            assert caught.value.code == "bad_events"

    on_loop(main())


def test_member_record_lies_in_the_bucket_of_its_peer() -> None:
    identity = Identity.ephemeral()
    assert member_key(RUN, identity.peer_id) in {bucket_key(RUN, bucket) for bucket in range(MEMBER_BUCKETS)}
    record, body = read_member(RUN, record_of(identity))
    assert record.peer_id == identity.peer_id
    assert body.host == "127.0.0.1"
    with pytest.raises(RemoteProtocolError):
        read_member(RunId("another"), record_of(identity))


def test_rows_say_who_is_there_and_who_is_connected(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            (roster, _) = founded(peers)
            roster.iteration = Iteration(1)
            roster.state_gone(peers[1].me, "lost", "silent")
            rows = roster.rows(roster.view(Iteration(1)))
            assert [row["status"] for row in rows] == ["joined", "lost"]
            assert [row["connected"] for row in rows] == [True, True]
            assert rows[1]["address"] == f"127.0.0.1:{peers[1].port}"

    on_loop(main())


def test_peer_of_a_later_incarnation_is_reborn_in_views_that_count_the_earlier_one(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            (roster, _) = founded(peers)
            other = peers[1]
            assert not roster.is_reborn(other.me, roster.view(Iteration(1)))
            roster.iteration = Iteration(4)
            other.identity.raise_incarnation()
            roster.state_joined(record_of(other.identity), 4)
            assert roster.is_there(other.me)
            assert roster.is_reborn(other.me, roster.view(Iteration(5)))
            assert not roster.is_reborn(other.me, roster.view(Iteration(6))), "there it counts"
            stranger = PeerId("0" * 40)
            assert not roster.is_reborn(stranger, roster.view(Iteration(5)))
            assert not roster.is_there(stranger)
            roster.state_gone(other.me, "lost", "silent")
            assert not roster.is_there(other.me)


# parts of a swarm


def apart(peers: list[Averager]) -> list[Roster]:
    """Swarms of one peer each, in iterations 5, 6 ..."""
    rosters = [roster_of(peer) for peer in peers]
    for number, (peer, roster) in enumerate(zip(peers, rosters, strict=True)):
        roster.state_joined(record_of(peer.identity, peer.port), FOUNDING)
        roster.iteration = Iteration(5 + number)
    return rosters


def test_stranger_is_believed_only_about_itself_and_what_is_to_come(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            one, other = apart(peers)
            assert one.is_stranger(peers[1].me)
            third = Identity.ephemeral()
            other.state_joined(record_of(third), 3)
            one.heard(peers[1].me, Events(iteration=6), packed(*other.membership.events()))
            assert one.ever_known() == [peers[0].me]
            late = joined(peers[1].identity, record_of(peers[1].identity, peers[1].port))
            one.heard(peers[1].me, Events(iteration=6), packed(late))
            assert one.membership.status(peers[1].me) is None, "it would change what is past"
            timely = msgspec.structs.replace(late, iteration=6)
            one.heard(peers[1].me, Events(iteration=6), packed(timely))
            assert one.membership.status(peers[1].me) == timely

    on_loop(main())


def test_seat_of_an_earlier_life_is_not_this_one_s(on_loop) -> None:
    async def main() -> None:
        async with averagers(1, 10) as peers:
            roster = roster_of(peers[0])
            roster.state_joined(record_of(peers[0].identity), FOUNDING)
            assert roster.is_member(Iteration(1))
            roster._born = 1
            assert not roster.is_member(Iteration(1))


def test_merge_brings_all_events_from_its_first_common_iteration_on(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            one, other = apart(peers)
            before = [roster.view(Iteration(8)).digest for roster in (one, other)]
            one.state_merge(peers[1].me, int(other.iteration))
            await until(lambda: one.membership.events() == other.membership.events())
            assert [roster.view(Iteration(8)).digest for roster in (one, other)] == before
            views = [roster.view(Iteration(9)) for roster in (one, other)]
            assert views[0].digest == views[1].digest
            assert views[0].members == tuple(peer.me for peer in peers)
            told = [fact for peer in peers for fact in peer.facts if isinstance(fact, MergeAgreed)]
            assert told == [
                MergeAgreed(iteration=9, own_iteration=5, other_iteration=6),
                MergeAgreed(iteration=9, own_iteration=6, other_iteration=5),
            ]
            assert [roster.side() for roster in (one, other)] == [5, 6]
            assert not one.is_stranger(peers[1].me)
            assert [roster.is_merging() for roster in (one, other)] == [True, True]
            one.iteration = Iteration(10)
            assert not one.is_merging()

    on_loop(main())


def test_merge_that_comes_too_early_for_the_other_part_becomes_a_later_one(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            one, other = apart(peers)
            one.state_merge(peers[1].me, int(other.iteration))
            other.iteration = Iteration(50)
            await until(lambda: one.membership.events() == other.membership.events())
            firsts = [merge.first for roster in (one, other) if (merge := roster.merge_ahead()) is not None]
            assert firsts == [53, 53]
            assert other.view(Iteration(52)).members == (peers[1].me,)
            assert one.view(Iteration(53)).digest == other.view(Iteration(53)).digest

    on_loop(main())


def test_merge_of_two_is_nothing_to_a_third_part_before_it_is_over(on_loop) -> None:
    """The third may come to their first common iteration too late: it would wait there for nobody, or be waited for."""

    async def main() -> None:
        async with averagers(3, 10) as peers:
            rosters = apart(peers)
            one, other, third = rosters
            third.iteration = Iteration(3)
            known = third.membership.events()
            one.state_merge(peers[1].me, int(other.iteration))
            await until(lambda: one.membership.events() == other.membership.events())
            for roster, peer in ((one, peers[0]), (other, peers[1])):
                come_back(roster, peer)
            await until(lambda: one.membership.events() == other.membership.events())
            await asyncio.sleep(0.05)
            assert third.membership.events() == known
            assert not third.is_merging()
            third.iteration, one.iteration, other.iteration = Iteration(7), Iteration(10), Iteration(10)
            one.send_all(peers[2].me)
            await asyncio.sleep(0.05)
            assert third.membership.events() == known, "what is over is no merge of the third's, either"
            third.state_merge(peers[0].me, int(one.iteration))
            await until(lambda: len({roster.membership.events() for roster in rosters}) == 1)
            views = {roster.view(Iteration(13)) for roster in rosters}
            assert [len(view.members) for view in views] == [3]

    on_loop(main())


def test_merges_that_are_stated_at_once_become_one_of_all(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as peers:
            rosters = apart(peers)
            rosters[0].state_merge(peers[1].me, int(rosters[1].iteration))
            rosters[1].state_merge(peers[2].me, int(rosters[2].iteration))
            await until(lambda: len({roster.membership.events() for roster in rosters}) == 1)
            views = {roster.view(Iteration(10)) for roster in rosters}
            assert [len(view.members) for view in views] == [3]
            assert [len(roster.view(Iteration(9)).members) for roster in rosters] == [1, 1, 1]

    on_loop(main())


def test_news_during_a_merge_count_from_its_first_common_iteration(on_loop) -> None:
    async def main() -> None:
        async with averagers(3, 10) as peers:
            rosters = founded(peers[:2])
            for roster in rosters:
                roster.iteration = Iteration(4)
            rosters[0].state_merge(PeerId("f" * 40), 30)
            assert rosters[0].dating() == 31
            rosters[0].state_gone(peers[1].me, "lost", "silent")
            assert len(rosters[0].view(Iteration(32)).members) == 2
            assert len(rosters[0].view(Iteration(33)).members) == 1

    on_loop(main())


def test_merge_beyond_the_end_of_the_run_is_not_believed(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            one, other = apart(peers)
            one._parts._last_iteration = 8
            other.state_merge(peers[0].me, 5)
            one.state_merge(peers[1].me, 6)
            await asyncio.sleep(0.05)
            assert one.merge_ahead() is None
            assert one.ever_known() == [peers[0].me]

    on_loop(main())


def test_merge_that_is_none_is_a_remote_fault(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            one, _ = apart(peers)
            lie = MembershipEvent(peer_id=peers[1].me, incarnation=1, kind="merged", iteration=9)
            one.heard(peers[1].me, Events(), packed(lie))
            assert [fact.code for fact in peers[0].facts if isinstance(fact, RemoteFault)] == ["bad_merge"]
            assert one.merge_ahead() is None

    on_loop(main())


def come_back(roster: Roster, peer: Averager) -> None:
    """`peer` denies its loss."""
    peer.identity.raise_incarnation()
    roster.state_joined(record_of(peer.identity, peer.port), 5)


def test_peer_that_came_back_is_not_called_lost_again_at_once(on_loop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            roster, _ = founded(peers)
            roster.iteration = Iteration(5)

            roster.state_gone(peers[1].me, "lost", "silent")
            assert roster.lost() == [peers[1].me]
            come_back(roster, peers[1])
            roster.state_gone(peers[1].me, "lost", "silent")
            assert roster.lost() == []
            monkeypatch.setattr(roster_module, "ACCUSED_AGAIN_S", 0.0)
            roster.state_gone(peers[1].me, "lost", "silent")
            assert roster.lost() == [peers[1].me]

    on_loop(main())


def test_peer_that_denied_its_loss_while_it_was_dialled_is_not_called_lost_for_it(on_loop) -> None:
    """Of all who cannot hear a peer that stands still the first calls it lost. It wakes up and denies that; the others'
    time is up later."""

    async def main() -> None:
        async with averagers(2, 10) as peers:
            roster, _ = founded(peers)
            roster.iteration = Iteration(5)
            roster.silent(peers[1].me)
            come_back(roster, peers[1])
            roster.state_gone(peers[1].me, "lost", "does not answer")
            assert roster.lost() == []
            roster.state_gone(peers[1].me, "lost", "does not answer")
            assert roster.lost() == [peers[1].me], "it did not answer as the one that it is now, either"

    on_loop(main())


def test_peer_that_is_heard_again_and_then_silent_is_lost(on_loop) -> None:
    async def main() -> None:
        async with averagers(2, 10) as peers:
            roster, _ = founded(peers)
            roster.iteration = Iteration(5)
            roster.silent(peers[1].me)
            come_back(roster, peers[1])
            roster.met(peers[1].me)
            roster.silent(peers[1].me)
            roster.state_gone(peers[1].me, "lost", "does not answer")
            assert roster.lost() == [peers[1].me]

    on_loop(main())
