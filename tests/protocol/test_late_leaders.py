"""Leaders that are alive and do not come, in whole groups: who is there exchanges before D_g all the same."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from hashed_network import HashedNetwork, everybody, most
from network_of_machines import Network, peer

from marfl_peer.ids import PeerId
from marfl_peer.protocol.messages import Here

D_S = 12.0
"""D_1 of those who arrive at 0. They call late at 11.25; a step is 0.25."""
LONG = 30.0


def slow_sets(count: int) -> list[tuple[int, ...]]:
    """Every set of slow peers that has the lowest in it, and leaves two to exchange."""
    others = range(1, count)
    return [(0, *more) for size in range(count - 2) for more in itertools.combinations(others, size)]


def punctual(network: Network) -> list[PeerId]:
    return [member for member in network.view.members if not network.opens[member]]


def expect_group_of_the_punctual(network: Network) -> None:
    """Those who were there, and nobody else, made one group before D_1."""
    network.check()
    assert not network.forked()
    there = punctual(network)
    assert {one.peer for one in network.completions if one.cells is not None} == set(there)
    for member in there:
        [finish] = network.nodes[member].finished.values()
        assert finish.outcome in {"partial", "complete"}
        assert finish.seconds < D_S - 0.4


# every set of slow peers, in groups of 2 to 5


@pytest.mark.parametrize("count", [3, 4, 5])
def test_those_who_are_there_exchange_whoever_else_is_slow(count: int) -> None:
    for slow in slow_sets(count):
        for seed in range(6):
            network = Network(count, group_size=count, seed=seed, behind=dict.fromkeys(slow, LONG))
            network.run()
            expect_group_of_the_punctual(network)
            network.expect_mean(punctual(network))


def test_one_alone_waits_for_its_leader_as_ever() -> None:
    network = Network(2, behind={0: LONG})
    network.run(until=lambda: network.nodes[peer(1)].aggregation.through())
    assert network.outcomes() == {"skipped"}
    assert network.now == pytest.approx(D_S, abs=0.01)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_slow_peer_that_comes_at_any_moment_is_in_the_group_or_takes_its_result(count: int) -> None:
    alone = set()
    for moment in (10.9, 11.1, 11.2499, 11.25, 11.2501, 11.3, 11.4, 11.4999, 11.5, 11.5001, 11.6, 11.9, 12.1):
        for slow in [(0,), *slow_sets(count)]:
            for seed in range(3):
                network = Network(count, group_size=count, seed=seed, behind=dict.fromkeys(slow, moment))
                network.run()
                network.check()
                assert not network.forked(), (moment, slow, seed)
                there = punctual(network)
                if len(there) > 1:
                    outcomes = {network.nodes[member].finished.popitem()[1].outcome for member in there}
                    # Taken, where the leader proposed as it was called late: who let go of that ballot was in it.
                    assert outcomes <= {"partial", "complete", "taken"}, (moment, slow, seed)
                    assert set(there) <= set(network.counted())
                else:
                    alone |= network.outcomes()
    assert "complete" in alone or count > 2


@pytest.mark.parametrize("count", [3, 4, 5])
def test_late_leader_may_die_at_any_message(count: int) -> None:
    for seed in range(4):
        whole = Network(count, group_size=count, seed=seed, behind={0: 11.4})
        whole.run()
        for after in range(whole.delivered + 1):
            network = Network(count, group_size=count, seed=seed, behind={0: 11.4})
            network.run_to(after)
            network.kill(peer(0), detection_s=random.Random(after).choice([0.0, 3.0]))
            network.run()
            network.check()
            assert not network.forked(among_the_living=True)


@pytest.mark.parametrize("victim", [1, 2])
def test_deputy_or_member_may_die_at_any_message(victim: int) -> None:
    for seed in range(3):
        whole = Network(4, seed=seed, behind={0: LONG})
        whole.run()
        for after in range(whole.delivered + 1):
            network = Network(4, seed=seed, behind={0: LONG})
            network.run_to(after)
            network.kill(peer(victim))
            network.run()
            network.check()
            assert not network.forked(among_the_living=True)
            if not network.forked():
                there = [member for member in network.nodes if not network.opens[member]]
                assert "skipped" not in {network.nodes[member].finished.popitem()[1].outcome for member in there}


# who arrives when


def test_deputy_that_arrived_later_helps_who_waits_longest() -> None:
    network = Network(3, late={1: 5.0}, behind={0: LONG})
    network.run()
    expect_group_of_the_punctual(network)


def test_peer_that_trains_does_not_lead_instead_of_who_is_late() -> None:
    """Peer 1 is not here, but hears: the next one that is here leads in its place."""
    network = Network(4, late={1: LONG}, behind={0: LONG})
    network.run()
    network.check()
    assert not network.forked()
    network.expect_mean([peer(2), peer(3)])


def test_leader_that_gathers_for_somebody_slow_is_not_called_late() -> None:
    network = Network(4, late={3: LONG})
    network.run()
    network.check()
    network.expect_mean([peer(0), peer(1), peer(2)])
    assert not any(isinstance(message, Here) and message.late for _, _, message in network.log)


def test_false_calls_take_nobodys_seat() -> None:
    """Peer 3 tells everybody that all the others are late, before any of them could be."""
    lies = 0
    for seed in range(20):
        network = Network(4, seed=seed, late={2: 0.01})
        liar = network.nodes[peer(3)]
        network.run_to(2)
        lies += len(liar.aggregation._lines.all())
        for member in (0, 1, 2):
            named = tuple(peer(number) for number in range(4) if number != member)
            for line in liar.aggregation._lines.all():
                network.send(peer(3), peer(member), msgspec.structs.replace(line.here(), late=named))
        network.run()
        network.check()
        assert not network.forked()
        assert network.now < D_S
        assert len(network.counted()) == 4
    assert lies > 10


# grids, later rounds, buckets


@pytest.mark.parametrize("kind", ["butterfly", "all-gather"])
def test_slow_leaders_of_a_grid_cost_their_own_weight_only(kind: str) -> None:
    for slow in ((0,), (0, 5), (0, 1), (1, 4, 8)):
        network = Network(16, group_size=4, seed=len(slow), kind=kind, behind=dict.fromkeys(slow, LONG))  # type: ignore[arg-type]
        network.run()
        network.check()
        assert not network.forked()
        network.expect_mean(punctual(network))


def test_slow_leader_is_replaced_in_every_round_and_its_cell_played_from_the_second_on() -> None:
    for seed in range(5):
        network = Network(9, group_size=3, seed=seed, behind={0: LONG})
        network.run()
        network.check()
        network.expect_mean(punctual(network))
        led = {(one.name.round, one.ballot.leader) for one in network.completions if one.name.line == 0}
        assert led == {(1, peer(3)), (2, peer(1))}
        assert {len(one.members) for one in network.completions if one.name.round == 2} == {3}


def test_deaf_peer_calls_in_vain_those_late_who_proposed() -> None:
    """Peer 0 hears nothing in round 2, and calls those late who lead the lines where it plays for others."""
    network = Network(9, group_size=3, seed=0)
    network.opens[peer(0)] = LONG
    network.run()
    network.check()
    calls = [message for _, _, message in network.log if isinstance(message, Here) and peer(3) in message.late]
    assert calls
    assert not any(
        message.late for sender, _, message in network.log if isinstance(message, Here) and sender != peer(0)
    )


@pytest.mark.parametrize("look_up", [everybody, most])
def test_slow_peers_of_buckets_leave_nothing_uncounted(look_up: object) -> None:
    for seed in range(10):
        network = HashedNetwork(12, buckets=3, rounds=2, seed=seed, look_up=look_up)  # type: ignore[arg-type]
        for member in sorted(network.view.members)[:3]:
            network.opens[member] = LONG
            network.arrivals = [(LONG if who == member else at, who) for at, who in network.arrivals]
        network.run()
        network.expect_totals()


def test_storms_of_slow_leaders_losses_and_lost_contact_end_for_everybody() -> None:
    for seed in range(150):
        rng = random.Random(seed)
        count = rng.choice([3, 4, 5, 7, 10])
        moments = [3.0, 10.99, 11.2, 11.3, 11.45, 11.6, 13.0, 20.0]
        behind = {index: rng.choice(moments) for index in range(count) if rng.random() < 0.4}
        late = {index: rng.choice([0.5, 3.0, 8.0]) for index in range(count) if rng.random() < 0.2}
        network = Network(
            count,
            group_size=rng.choice([2, 3, 4, 5]),
            seed=seed,
            late=late,
            behind=behind,
            duplicates=rng.choice([0, 0.5]),
        )
        if rng.random() < 0.5:
            network.run_to(rng.randrange(count * 20))
            network.kill(rng.choice(sorted(network.nodes)), detection_s=rng.choice([0.0, 2.0]))
        elif rng.random() < 0.5:
            one, other = rng.sample(sorted(network.nodes), 2)
            network.part(one, other, until=rng.choice([None, 5.0, 11.3, 11.5]))
        network.run()
        network.check()


@pytest.mark.parametrize("count", [2, 4, 6, 8])
def test_late_one_does_not_wait_for_those_who_have_given_up(count: int) -> None:
    """In groups of two the other one skipped alone: it does not lead in place of who comes then."""
    for slow in range(count):
        network = Network(count, group_size=2, behind={slow: 40.0})
        network.run()
        network.check()
        for finish in network.nodes[peer(slow)].finished.values():
            assert finish.seconds < 5.0
