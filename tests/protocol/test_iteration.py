"""Whole swarms of machines: exact means, agreement, losses at every moment, lateness, partitions, junk."""

from __future__ import annotations

import random

import numpy as np
import pytest
from network_of_machines import Network, Node, Values, founding_view, peer

from marfl_peer.config import Exchange as ExchangeKind
from marfl_peer.ids import Iteration, PeerId
from marfl_peer.protocol import exchange, shares
from marfl_peer.protocol.instructions import Send
from marfl_peer.protocol.iteration import Aggregation
from marfl_peer.protocol.messages import (
    Ballot,
    CannotPlay,
    Culprit,
    Done,
    Have,
    Here,
    LineName,
    Member,
    Nack,
    Play,
    Propose,
    Seat,
    Take,
)
from marfl_peer.protocol.seats import Holding

SIZES = (1, 2, 3, 5, 7, 10, 17, 23)
PATIENCE_S = 10.0
ALLOWANCE_S = 2.0


def lose(network: Network, victim: PeerId, *, after: int, detection_s: float = 0.0) -> Network:
    """Kills a peer after so many deliveries and plays on."""
    network.run_to(after)
    network.kill(victim, detection_s=detection_s)
    network.run()
    network.check()
    assert not network.forked(among_the_living=True)
    if not network.forked():
        network.expect_mean(network.counted())
    return network


# nobody fails


@pytest.mark.parametrize("group_size", [3, 4, 5])
@pytest.mark.parametrize("kind", ["butterfly", "all-gather"])
def test_everybody_ends_with_the_exact_mean_of_all_for_every_size(group_size: int, kind: ExchangeKind) -> None:
    for count in SIZES:
        network = Network(count, group_size=group_size, seed=count, kind=kind)
        network.run()
        network.check()
        network.expect_mean(list(network.view.members))
        assert network.outcomes() <= {"complete"}
        assert not network.forked()
        assert network.now < 1
        assert all(node.released == set(node.finished) for node in network.nodes.values())


def test_what_the_own_cell_held_at_the_start_of_a_round_is_kept() -> None:
    network = Network(7, group_size=3, seed=1)
    aggregation = next(iter(network.nodes.values())).aggregation
    assert aggregation.home_stand_at(1) is None, "its update is not over"
    network.run()
    stands = [aggregation.home_stand_at(round) for round in range(1, aggregation.rounds + 2)]
    assert [None if stand is None else stand.vector and stand.vector.round for stand in stands] == [None, 1, 2]
    assert stands[-1] == aggregation.home_stand()
    assert aggregation.home_stand_at(aggregation.rounds + 2) is None


def test_everybody_ends_with_the_mean_when_every_message_comes_twice() -> None:
    for count in SIZES[1:]:
        network = Network(count, seed=count, duplicates=1.0)
        network.run()
        network.check()
        network.expect_mean(list(network.view.members))
        assert network.outcomes() == {"complete"}


FAST, SLOW = 100, 60


def with_slow_links(count: int, *, seed: int) -> Network:
    """One in five has a slow one; of one in seven nothing is known. Chunks can be cut anywhere."""
    speeds = {index: SLOW if index % 5 == 2 else FAST for index in range(count) if index % 7 != 6}
    return Network(count, seed=seed, speeds=speeds, length=9)


def owners_of(network: Network) -> list[dict[PeerId, int]]:
    """What the members of every ballot own of the vector."""
    plans = [transfer.plan for node in network.nodes.values() for transfer in node.transfers.values()]
    return [{peer: chunk.length for peer, chunk in plan.chunks.items()} for plan in plans]


def test_members_with_slow_links_own_nothing_and_all_have_the_exact_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "GRAIN_FLOATS", 1)
    for count in SIZES:
        network = with_slow_links(count, seed=count)
        network.run()
        network.check()
        network.expect_mean(list(network.view.members))
        assert network.outcomes() <= {"complete"}
        slow = {member for member, speed in network.speeds.items() if speed == SLOW}
        for owned in owners_of(network):
            if len(owned) > 2 and 0 < 2 * len(slow & owned.keys()) < len(owned):
                assert {peer for peer, length in owned.items() if not length} == slow & owned.keys()


def test_loss_among_members_with_slow_links_leaves_the_others_with_the_exact_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an owner, and of one that owns nothing: also then nobody completes without it."""
    monkeypatch.setattr(shares, "GRAIN_FLOATS", 1)
    whole = with_slow_links(7, seed=2)
    whole.run()
    for after in range(0, whole.delivered, 5):
        for victim in (0, 2, 3):
            lose(with_slow_links(7, seed=2), peer(victim), after=after)


def test_slowest_link_is_known_to_all_after_the_last_round() -> None:
    for count in SIZES:
        network = with_slow_links(count, seed=count)
        network.run()
        slowest = min(network.speeds.values(), default=0)
        known = {node.aggregation._speeds.slowest(1) for node in network.nodes.values()}
        assert known == {slowest}


def test_swarm_without_weight_keeps_every_vector_and_finishes() -> None:
    network = Network(7, weights=dict.fromkeys(range(7), 0))
    network.run()
    network.check()
    for member, node in network.nodes.items():
        assert node.result()[0] is network.nodes[member].own
        assert node.result()[1].weight == 0


def test_only_weight_of_the_swarm_reaches_everybody() -> None:
    # Its owner needs nobody's values: its digest must not come before the others' exchanges are open.
    for index in range(10):
        network = Network(10, seed=index, weights={**dict.fromkeys(range(10), 0), index: 5})
        network.run()
        network.check()
        network.expect_mean([peer(index)])


def test_sums_add_up_and_maxima_are_taken_over_the_swarm() -> None:
    network = Network(10, group_size=3)
    network.run()
    holdings = [node.result()[1] for node in network.nodes.values()]
    assert {holding.sums[0] for holding in holdings} == {float(holdings[0].weight)}
    assert {holding.maxima for holding in holdings} == {(9,)}


def test_control_messages_of_a_peer_grow_with_rounds_and_group_size_only() -> None:
    counts = {}
    for count in (16, 27):
        network = Network(count, group_size=4 if count == 16 else 3)
        network.run()
        control = [message for _, _, message in network.log if not isinstance(message, Values)]
        counts[count] = len(control) / count / network.view.grid.rounds
    # Ready, Digest and Done to each of the others, Here to the leader, Propose from it.
    assert counts[16] <= 3 * 3 + 2
    assert counts[27] <= 3 * 2 + 2


# losses


@pytest.mark.parametrize(("count", "group_size"), [(3, 2), (3, 4), (4, 4), (4, 2)])
def test_loss_at_any_message_leaves_the_others_with_the_exact_mean(count: int, group_size: int) -> None:
    whole = Network(count, group_size=group_size, seed=1)
    whole.run()
    forked = 0
    for after in range(whole.delivered + 1):
        for victim in range(count):
            network = lose(Network(count, group_size=group_size, seed=1), peer(victim), after=after)
            forked += network.forked()
            assert network.outcomes() <= {"complete", "partial", "alone", "taken", "skipped"}
            assert network.now < ALLOWANCE_S
    # Only the dead may have completed what the others then did without it: a small window.
    assert forked <= 0.1 * count * whole.delivered


def test_loss_at_any_third_message_of_five_leaves_the_others_with_the_exact_mean() -> None:
    whole = Network(5, seed=2)
    whole.run()
    for after in range(0, whole.delivered + 1, 3):
        for victim in (after % 5, (after + 2) % 5):
            lose(Network(5, seed=2), peer(victim), after=after)


@pytest.mark.parametrize("kind", ["butterfly", "all-gather"])
def test_loss_at_sampled_messages_of_larger_swarms(kind: ExchangeKind) -> None:
    taken_over = exact = 0
    for seed in range(15):
        rng = random.Random(seed)
        count = rng.choice([7, 10, 16, 17])
        network = Network(count, group_size=rng.choice([3, 4]), seed=seed, kind=kind)
        lose(network, peer(rng.randrange(count)), after=rng.randrange(count * 30), detection_s=rng.choice([0, 4]))
        taken_over += bool(network.taken_over())
        exact += not network.forked()
        assert network.now < 4 + ALLOWANCE_S
    assert taken_over >= 3
    assert exact >= 13


@pytest.mark.parametrize("count", [2, 3, 5, 7, 10, 17, 23])
def test_one_peer_lost_before_each_round_costs_only_what_it_had_not_yet_given(count: int) -> None:
    rounds = founding_view(count, 4).grid.rounds
    for round in range(1, rounds + 1):
        network = Network(count, seed=count + round)
        victim = peer(random.Random(round).randrange(count))
        node = network.nodes[victim]
        network.run(until=lambda node=node, round=round: node.aggregation.home_round() >= round)  # type: ignore[misc]
        network.kill(victim)
        network.run()
        network.check()
        assert not network.forked(among_the_living=True)
        if round > 1 and not network.forked():
            network.expect_mean(list(network.view.members))


def test_loss_of_several_peers_leaves_everybody_alive_through_in_time() -> None:
    exact = 0
    for seed in range(12):
        rng = random.Random(seed)
        network = Network(16, seed=seed)
        for after in sorted(rng.randrange(500) for _ in range(3)):
            network.run_to(after)
            network.kill(rng.choice(sorted(network.nodes)), detection_s=rng.choice([0, 3]))
        network.run()
        network.check()
        assert len(network.nodes) == 13
        assert not network.forked(among_the_living=True)
        if not network.forked() and "skipped" not in network.outcomes():
            network.expect_mean(network.counted())
            exact += 1
    assert exact >= 9


def test_loss_of_an_owner_between_its_segments_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SEGMENT_FLOATS", 2)
    between = 0
    for after in range(0, 120, 2):
        network = Network(4, length=24, seed=after)
        network.run_to(after)
        owner = peer(1)
        sent = [message for sender, _, message in network.log if sender == owner and isinstance(message, Values)]
        results = [message.span for message in sent if message.stage == "gather"]
        between += 0 < len(results) < 9
        lose(network, owner, after=after)
    assert between >= 3


# lateness and lost contact


def test_slow_peer_is_awaited_and_nobody_else_is_lost() -> None:
    network = Network(7, late={3: 5.0})
    network.run()
    network.check()
    network.expect_mean(list(network.view.members))
    assert 5 < network.now < 5.1


def test_peer_later_than_patience_takes_the_result_and_costs_only_its_own_weight() -> None:
    for count, late in ((5, 4), (10, 5), (16, 12), (16, 0)):
        network = Network(count, late={late: 25.0})
        network.run()
        network.check()
        others = [member for member in network.view.members if member != peer(late)]
        network.expect_mean(others)
        finish = network.nodes[peer(late)].finished
        assert "taken" in {one.outcome for one in finish.values()}
        # Its line waited for it once; the lines of later rounds had somebody else play its cell.
        waits = [one.seconds for node in network.nodes.values() for one in node.finished.values()]
        assert max(waits) < PATIENCE_S + 0.5 * ALLOWANCE_S + 0.01


def test_leader_later_than_patience_leads_for_the_others() -> None:
    network = Network(4, late={0: 30.0})
    network.run()
    network.check()
    assert network.nodes[peer(1)].finished.popitem()[1].outcome == "partial"
    network.expect_mean([peer(1), peer(2), peer(3)])


def test_peer_that_hears_nobody_is_alone_at_the_deadline() -> None:
    network = Network(3, group_size=3, late={1: 1e6, 2: 1e6})
    network.run(until=lambda: network.nodes[peer(0)].aggregation.through())
    assert network.outcomes() == {"alone"}
    assert network.now == pytest.approx(PATIENCE_S + 0.5 * ALLOWANCE_S, abs=0.01)
    assert np.array_equal(network.nodes[peer(0)].result()[0], network.initial[peer(0)][0])


def test_member_whose_leader_answers_nothing_skips_at_the_deadline() -> None:
    network = Network(2, late={0: 1e6})
    network.cut |= {(peer(1), peer(0)), (peer(0), peer(1))}
    network.run(until=lambda: network.nodes[peer(1)].aggregation.through())
    assert network.outcomes() == {"skipped"}
    assert network.now == pytest.approx(PATIENCE_S + ALLOWANCE_S, abs=0.01)


def test_two_parts_of_a_torn_swarm_finish_without_each_other() -> None:
    network = Network(4)
    for one in (0, 1):
        for other in (2, 3):
            network.part(peer(one), peer(other), until=None)
    network.run()
    network.check()
    assert network.forked()
    assert network.outcomes() == {"partial"}
    for pair in ((0, 1), (2, 3)):
        mean = network.mean_of([peer(number) for number in pair])
        for number in pair:
            assert np.abs(network.nodes[peer(number)].result()[0] - mean).max() < 1e-9


@pytest.mark.parametrize("count", [3, 4, 7])
def test_contact_lost_for_a_moment_at_any_message_costs_no_more_than_the_deadline(count: int) -> None:
    whole = Network(count, seed=3)
    whole.run()
    exact = runs = 0
    for after in range(0, whole.delivered, 1 if count < 7 else 9):
        network = Network(count, seed=3)
        network.run_to(after)
        one, other = random.Random(after).sample(sorted(network.nodes), 2)
        network.part(one, other, until=network.now + 0.001)
        network.run()
        network.check()
        runs += 1
        if not network.forked():
            network.expect_mean(network.counted())
            exact += 1
    assert exact >= 0.8 * runs


def test_storms_of_losses_lateness_and_lost_contact_end_for_everybody() -> None:
    exact = 0
    for seed in range(300):
        rng = random.Random(seed)
        count = rng.choice([2, 3, 4, 5, 7])
        late = {index: rng.choice([0.5, 3, 8, 20]) for index in range(count) if rng.random() < 0.2}
        network = Network(
            count, group_size=rng.choice([2, 3, 4]), seed=seed, late=late, duplicates=rng.choice([0, 0.5])
        )
        for after in sorted(rng.randrange(count * 30) for _ in range(rng.randrange(4))):
            network.run_to(after)
            alive = sorted(network.nodes)
            if len(alive) < 2:
                break
            if rng.random() < 0.5:
                network.kill(rng.choice(alive), detection_s=rng.choice([0, 3]))
            else:
                until = rng.choice([None, network.now + 0.001, network.now + 5])
                network.part(*rng.sample(alive, 2), until=until)
        network.run()
        network.check()
        if not network.forked() and "skipped" not in network.outcomes():
            mean = network.mean_of(network.counted())
            exact += all(np.abs(result - mean).max() < 1e-9 for result in network.results())
    assert exact >= 260


# values that cannot be averaged


@pytest.mark.parametrize("count", [3, 4, 7, 10])
def test_member_with_values_that_are_not_finite_is_left_out_and_given_the_result(count: int) -> None:
    for bad in range(count):
        network = Network(count, seed=bad)
        network.nodes[peer(bad)].own[1] = np.nan
        network.run()
        network.check()
        network.expect_mean([member for member in network.view.members if member != peer(bad)])
        assert np.isfinite(network.nodes[peer(bad)].result()[0]).all()
        assert network.now < PATIENCE_S


def test_line_of_nothing_but_bad_values_is_skipped_at_the_deadline() -> None:
    network = Network(2)
    for node in network.nodes.values():
        node.own[:] = np.inf
    network.run()
    network.check()
    assert network.outcomes() == {"skipped"}


# junk


def junk(line: LineName, sender: PeerId, rng: random.Random) -> list[object]:
    ballot = Ballot(attempt=rng.choice([1, 2, 3, 10_001, 2**31]), leader=rng.choice([sender, peer(0), peer(77)]))
    cell = rng.choice([0, 1, 2, 15, 16, 2**31])
    seat = Seat(cell=cell, weight=2**62, sums=(float("nan"),), maxima=())
    member = Member(peer_id=sender, seats=(seat,), update_s=1e9)
    return [
        Here(name=line, view_digest="ab", seats=(seat,), update_s=float("inf"), promised=ballot),
        Propose(name=line, ballot=ballot, view_digest="", members=(member,)),
        Nack(name=line, ballot=ballot, promised=ballot),
        Play(name=line, cell=cell),
        CannotPlay(name=line, cell=2**31),
        Culprit(name=line, ballot=ballot, peer_id=peer(2)),
    ]


def test_junk_about_any_line_changes_nothing() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        network = Network(5, seed=seed)
        lines = [
            LineName(iteration=iteration, round=round, line=line, view_mark=network.view.mark)
            for iteration in (0, 1, 2)
            for round in (0, 1, 2, 3, 2**31)
            for line in (0, 1, 5, 6, 2**31)
        ]
        for _ in range(60):
            network.step()
            sender = rng.choice([*network.view.members, peer(77)])
            to = rng.choice(network.view.members)
            if to != sender:
                message = rng.choice(junk(rng.choice(lines), sender, rng))
                network.nodes[to].receive(sender, message)
        network.run()
        network.check()
        network.expect_mean(list(network.view.members))


@pytest.mark.parametrize(("round", "line"), [(0, 0), (3, 0), (1, 16), (1, 4), (2, 1), (2**31, 2**31)])
def test_line_that_the_grid_does_not_have_is_ignored(round: int, line: int) -> None:
    network = Network(16)
    node = network.nodes[peer(0)]
    name = LineName(iteration=1, round=round, line=line, view_mark=network.view.mark)
    done = Done(name=name, completed=Ballot(attempt=1, leader=peer(1)))
    assert node.aggregation.heard(peer(1), done, now=0.0) == []
    assert node.aggregation.next_deadline() is None


def test_replay_of_everything_at_the_end_changes_nothing() -> None:
    network = Network(7)
    network.run()
    before = [result.tobytes() for result in network.results()]
    for sender, to, message in list(network.log):
        if isinstance(message, Here | Propose | Nack | Have | Take | Done | Play | CannotPlay | Culprit):
            network.nodes[to].receive(sender, message)
    network.run()
    network.check()
    assert [result.tobytes() for result in network.results()] == before


# the machine alone


def machine(me: int, count: int) -> Aggregation:
    return Aggregation(
        me=peer(me),
        view=founding_view(count, 4),
        iteration=Iteration(1),
        vector_bytes=28,
        slowest_link_bytes_per_s=1e9,
        update_times_s=[],
        gone=[],
    )


def test_peer_that_is_the_whole_swarm_is_through_at_once() -> None:
    alone = machine(0, 1)
    assert not alone.through()
    assert alone.arrive(Holding(weight=3, sums=(), maxima=()), update_s=0.1, now=5.0) == []
    assert alone.through()
    assert alone.home_stand().vector is None
    assert alone.next_deadline() is None
    assert alone.last_deadline() == pytest.approx(5 + PATIENCE_S + ALLOWANCE_S)


def test_slow_updates_of_the_view_make_everybody_patient() -> None:
    slow = Aggregation(
        me=peer(1),
        view=founding_view(2, 4),
        iteration=Iteration(1),
        vector_bytes=1000,
        slowest_link_bytes_per_s=8000.0,
        update_times_s=[20.0, 30.0, 40.0],
        gone=[],
    )
    steps = slow.arrive(Holding(weight=1, sums=(), maxima=()), update_s=20.0, now=0.0)
    assert [step.to for step in steps if isinstance(step, Send)] == [peer(0)]
    assert slow.last_deadline() == pytest.approx(60 + 2 + 1)
    slow.tick(now=62.9)
    assert not slow.through()
    slow.tick(now=63.1)
    assert slow.through()


def test_result_of_a_ballot_that_is_no_longer_awaited_is_not_named() -> None:
    network = Network(3)
    node: Node = network.nodes[peer(0)]
    network.run()
    [(name, finish)] = node.finished.items()
    assert finish.ballot is not None
    held = node.aggregation.result_of(name)
    stale = Ballot(attempt=9, leader=peer(1))
    assert not node.aggregation.awaits(name, stale)
    assert not node.aggregation.awaits(name, finish.ballot)
    assert node.aggregation.exchanged(name, stale, now=1.0) == []
    assert node.aggregation.fetched(name, stale, (), Holding(weight=1, sums=(), maxima=()), now=1.0) == []
    assert node.aggregation.result_of(name) is held
    assert node.aggregation.completed(name) == finish.ballot


# who calls for full values


def full_values(network: Network) -> dict[PeerId, bool]:
    return {one: 3 in node.aggregation._base.full for one, node in network.nodes.items() if one not in network.dead}


def test_nobody_calls_for_full_values_where_nobody_fails_or_only_before_round_1() -> None:
    """Lines of round 1 have no parallel ones; later on the lost peer's cells are played by others of the same place."""
    for count in (4, 7, 10, 16):
        network = Network(count, group_size=4, seed=count)
        network.run()
        assert not any(full_values(network).values())
    network = Network(16, group_size=4, seed=1)
    network.kill(peer(5), detection_s=0.0)
    network.run()
    network.check()
    assert not any(full_values(network).values())


def test_who_takes_a_result_calls_for_full_values() -> None:
    network = Network(8, group_size=2, late={3: PATIENCE_S + 5})
    network.run()
    network.check()
    assert full_values(network)[peer(3)]
