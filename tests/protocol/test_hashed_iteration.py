"""Whole swarms without a view: groups by hash, sums that stay, look-ups that miss, losses, lateness, junk."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hashed_network import HashedNetwork, LookUp, everybody, hashed_peer, most, nobody

from marfl_peer.ids import Iteration, RunId
from marfl_peer.protocol.hashed import Hashing, expected_residual
from marfl_peer.protocol.hashed_iteration import HashedAggregation
from marfl_peer.protocol.messages import MARK_DIGITS, Ballot, Done, Here, LineName, Propose
from marfl_peer.protocol.seats import Holding

PATIENCE_S = 10.0
ALLOWANCE_S = 2.0


def test_everybody_meets_its_bucket_in_every_round() -> None:
    network = HashedNetwork(24, buckets=6, rounds=3)
    network.run()
    network.check()
    network.expect_totals()
    assert network.outcomes() == {"complete"}
    for node in network.nodes.values():
        assert sorted(name.round for name in node.finished) == [1, 2, 3]
        for name, finish in node.finished.items():
            assert list(finish.members) == network.bucket_of(node.me, name.round)
    assert network.now < 1.0, "nobody waited for a deadline"


def test_group_leaves_with_its_mean_and_equal_parts_of_its_weight() -> None:
    network = HashedNetwork(12, buckets=3, rounds=1)
    network.run()
    for member, node in network.nodes.items():
        mates = network.bucket_of(member, 1)
        vector, holding = node.result()
        assert np.abs(vector - network.mean_of(mates)).max() < 1e-12
        total = sum(network.initial[mate][1] for mate in mates)
        assert abs(holding.weight - total / len(mates)) < 1
        assert holding.sums == (pytest.approx(total / len(mates)),)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17, 40])
@pytest.mark.parametrize("look_up", [everybody, most, nobody])
def test_sums_stay_whatever_the_look_ups_find(count: int, look_up: LookUp) -> None:
    for seed in range(4):
        network = HashedNetwork(count, buckets=max(count // 4, 1), rounds=3, seed=seed, look_up=look_up)
        network.run()
        network.check()
        network.expect_totals()
        assert network.now < 1.0, "nobody waited for a deadline"


def test_look_ups_that_miss_some_still_make_groups() -> None:
    alone = whole = 0
    for seed in range(4):
        network = HashedNetwork(40, buckets=10, rounds=3, seed=seed, look_up=most)
        network.run()
        for node in network.nodes.values():
            for name, finish in node.finished.items():
                mates = network.bucket_of(node.me, name.round)
                alone += len(finish.members) == 1 < len(mates)
                whole += len(finish.members) == len(mates)
    assert alone < 0.2 * whole


def test_late_peer_is_awaited_and_nothing_is_lost() -> None:
    network = HashedNetwork(16, buckets=4, rounds=2, late={3: 5.0})
    network.run()
    network.check()
    network.expect_totals()
    assert network.outcomes() == {"complete"}


@pytest.mark.parametrize("look_up", [everybody, most])
@pytest.mark.parametrize("seconds", [10.5, 11.0, 11.5, 13.0, 30.0])
def test_peer_that_is_too_late_goes_alone_with_what_it_has(look_up: LookUp, seconds: float) -> None:
    for seed in range(3):
        network = HashedNetwork(16, buckets=4, rounds=2, late={3: seconds}, seed=seed, look_up=look_up)
        network.run()
        network.check()
        network.expect_totals()


def test_what_a_peer_held_at_the_start_of_a_round_is_kept() -> None:
    network = HashedNetwork(8, buckets=2, rounds=2)
    aggregation = next(iter(network.nodes.values())).aggregation
    assert aggregation.home_stand_at(1) is None, "its update is not over"
    network.run()
    first, *_, last = [aggregation.home_stand_at(round) for round in (1, 2, 3)]
    assert first is not None and first.vector is None
    assert last == aggregation.home_stand()
    assert aggregation.home_stand_at(4) is None


def test_duplicates_change_nothing() -> None:
    for seed in range(5):
        network = HashedNetwork(16, buckets=4, rounds=2, seed=seed, look_up=most, duplicates=0.3)
        network.run()
        network.check()
        network.expect_totals()


def test_killed_peer_takes_only_its_own_part_with_it() -> None:
    """Wherever in the iteration it dies, the others agree, in time, and within the range of the values."""
    victim = hashed_peer(3)
    deliveries = HashedNetwork(10, buckets=3, rounds=2)
    deliveries.run()
    for after in range(0, deliveries.delivered, 7):
        network = HashedNetwork(10, buckets=3, rounds=2)
        network.run_to(after)
        network.kill(victim, detection_s=0.5)
        network.run()
        network.check()
        values = np.array([vector for vector, _ in network.initial.values()])
        for node in network.nodes.values():
            assert (node.result()[0] <= values.max(axis=0) + 1e-9).all()
            assert (node.result()[0] >= values.min(axis=0) - 1e-9).all()
        assert network.total()[1] > 0.5 * network.total_at_first()[1]


def test_peers_that_lose_contact_and_find_each_other_again_end_in_time() -> None:
    for seed in range(20):
        network = HashedNetwork(12, buckets=3, rounds=2, seed=seed)
        network.run_to(seed * 5)
        one, other = network.rng.sample(list(network.view.members), 2)
        network.part(one, other, until=network.now + 0.01 * seed)
        network.run()
        network.check()


def test_residual_is_what_theory_says() -> None:
    """Equal weights: one round leaves (k - 1) / (N - 1) of the variance on average, k groups that are not empty."""
    peers, buckets = 32, 8
    kept = []
    for seed in range(40):
        network = HashedNetwork(peers, buckets=buckets, rounds=1, seed=seed)
        for node in network.nodes.values():
            node.weight = 1
        before = np.array([network.initial[member][0] for member in network.view.members])
        network.run()
        after = np.array([network.nodes[member].result()[0] for member in network.view.members])
        assert np.allclose(after.mean(axis=0), before.mean(axis=0))
        kept.append(after.var(axis=0).sum() / before.var(axis=0).sum())
    # The buckets are the same in each trial; the values are not.
    groups = {network.hashing.bucket(member, Iteration(1), 1) for member in network.view.members}  # type: ignore[arg-type]
    assert np.mean(kept) == pytest.approx((len(groups) - 1) / (peers - 1), rel=0.15)
    assert expected_residual(peers, buckets) == pytest.approx(7 / 31, rel=0.03)


# one machine

HASHING = Hashing(run_id=RunId("run"), buckets=1, rounds=2)


def machine(number: int = 0, hashing: Hashing = HASHING) -> HashedAggregation:
    return HashedAggregation(
        me=hashed_peer(number),
        hashing=hashing,
        iteration=Iteration(1),
        vector_bytes=0,
        slowest_link_bytes_per_s=1e9,
        update_times_s=[],
    )


HOLDING = Holding(weight=8, sums=(), maxima=())
NAME = LineName(iteration=1, round=1, line=0, view_mark=HASHING.digest[:MARK_DIGITS])


def test_peer_enters_after_its_look_up_and_its_update() -> None:
    one = machine()
    assert one.home_round() == 0
    assert one.arrive(HOLDING, update_s=0.0, now=0.0) == []
    assert one.home_round() == 1
    assert one.found(1, [], now=1.0) != []
    assert one.found(1, [], now=1.0) == [], "once"


def test_look_up_that_never_ends_is_not_awaited_for_ever() -> None:
    one = machine()
    one.arrive(HOLDING, update_s=0.0, now=0.0)
    deadline = one.next_deadline()
    assert deadline == pytest.approx(PATIENCE_S + ALLOWANCE_S / 2)
    assert one.tick(now=deadline - 0.1) == []
    assert one.tick(now=deadline) != []


def test_stranger_to_the_bucket_is_not_heard() -> None:
    hashing = Hashing(run_id=RunId("run"), buckets=2, rounds=1)
    one = machine(hashing=hashing)
    mine = hashing.bucket(one.me, Iteration(1), 1)  # type: ignore[arg-type]
    name = LineName(iteration=1, round=1, line=mine, view_mark=hashing.digest[:MARK_DIGITS])
    one.arrive(HOLDING, update_s=0.0, now=0.0)
    one.found(1, [], now=0.0)
    others = [hashed_peer(number) for number in range(1, 40)]
    stranger = next(peer for peer in others if hashing.bucket(peer, Iteration(1), 1) != mine)  # type: ignore[arg-type]
    mate = next(peer for peer in others if hashing.bucket(peer, Iteration(1), 1) == mine)  # type: ignore[arg-type]
    here = Here(name=name, view_digest=hashing.digest, seats=(), update_s=0.0, promised=None)
    assert one.heard(stranger, here, now=0.0) == []
    assert one._lines[1].peers == [one.me]
    one.heard(mate, here, now=0.0)
    assert sorted(one._lines[1].peers) == sorted([one.me, mate])
    elsewhere = msgspec.structs.replace(here, name=msgspec.structs.replace(name, iteration=2))
    assert one.heard(mate, elsewhere, now=0.0) == []


def test_result_of_a_ballot_that_does_not_name_this_peer_is_not_its_own() -> None:
    one = machine()
    other = hashed_peer(1)
    one.arrive(HOLDING, update_s=0.0, now=0.0)
    one.found(1, [other], now=0.0)
    one.heard(other, Done(name=NAME, completed=Ballot(attempt=1, leader=other)), now=0.0)
    line = one._lines[1].matchmaking
    assert line.ballots.completed is None
    assert line.ballots.holders == {}
    proposed = line.members
    assert [member.peer_id for member in proposed] == [one.me], "it goes on without the other"


def test_ballot_that_names_somebody_from_elsewhere_is_refused() -> None:
    hashing = Hashing(run_id=RunId("run"), buckets=2, rounds=1)
    network = HashedNetwork(20, buckets=2, rounds=1)
    network.run()
    proposal = next(message for _, _, message in network.log if isinstance(message, Propose))
    receiver = next(to for _, to, message in network.log if message is proposal)
    sender = next(sender for sender, _, message in network.log if message is proposal)
    one = HashedAggregation(
        me=receiver,
        hashing=network.hashing,
        iteration=Iteration(1),
        vector_bytes=0,
        slowest_link_bytes_per_s=1e9,
        update_times_s=[],
    )
    before = len(one._lines[1].peers)
    elsewhere = next(peer for peer in network.view.members if peer not in network.bucket_of(receiver, 1))
    members = (*proposal.members[:-1], proposal.members[-1].__class__(peer_id=elsewhere, seats=(), update_s=0.0))
    forged = Propose(name=proposal.name, ballot=proposal.ballot, view_digest=hashing.digest, members=members)
    assert one.heard(sender, forged, now=0.0) == []
    assert elsewhere not in one._lines[1].peers
    assert before == 1


def test_sums_stay_in_random_swarms_with_late_peers_and_repeated_messages() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        count = rng.choice([5, 9, 16, 24])
        network = HashedNetwork(
            count,
            buckets=max(1, count // rng.choice([3, 4, 6])),
            rounds=rng.choice([1, 2, 3]),
            seed=seed,
            look_up=rng.choice([everybody, most, most, nobody]),
            late={number: rng.choice([0.001, 0.01, 5, 10.4, 11, 12, 30]) for number in rng.sample(range(count), 2)},
            duplicates=rng.choice([0.0, 0.2]),
        )
        network.run()
        network.check()
        network.expect_totals()
