"""What each fault does, and that it is over again."""

from __future__ import annotations

import pytest
from swarms import four, iterations, played, remote_faults

from marfl_peer.facts import PeerStarted
from marfl_peer.lab.simulator.faults.plan import (
    Clock,
    Crash,
    Cut,
    CutDirection,
    Disk,
    Fault,
    Hostile,
    Hosts,
    Leave,
    Newcomers,
    Pause,
    Slow,
    Weather,
)
from marfl_peer.lab.simulator.faults.triggers import At

NOW = At(time_s=0.5)
ONE = Hosts((1,))


@pytest.mark.parametrize("silently", [False, True])
def test_killed_peer_comes_back_on_its_disk(silently: bool) -> None:
    what = Crash(silently=silently, restart_after_s=0.5)
    with played(four(Fault(what=what, who=ONE, when=NOW), iterations=8)) as outcome:
        starts = [fact for fact in outcome.players[1].facts if isinstance(fact, PeerStarted)]
        assert [fact.incarnation for fact in starts] == [1, 2]
        assert len({fact.peer_id for fact in starts}) == 1
        assert outcome.times("power lost" if silently else "killed") == [0.5]
        assert outcome.times("start")[-1] == 1.0
        assert outcome.finished() == [0, 1, 2, 3]
        assert outcome.failures() == []


@pytest.mark.parametrize(("disk", "identities"), [("damaged", 1), ("wiped", 2)])
def test_disk_is_damaged_or_wiped_before_the_restart(disk: Disk, identities: int) -> None:
    what = Crash(restart_after_s=0.5, disk=disk)
    with played(four(Fault(what=what, who=ONE, when=NOW), iterations=8)) as outcome:
        starts = [fact for fact in outcome.players[1].facts if isinstance(fact, PeerStarted)]
        assert len({fact.peer_id for fact in starts}) == identities
        assert outcome.finished() == [0, 1, 2, 3]
        assert outcome.failures() == []


def test_paused_peer_goes_on_afterwards() -> None:
    with played(four(Fault(what=Pause(for_s=1.5), who=ONE, when=NOW))) as outcome:
        assert (outcome.times("paused"), outcome.times("resumed")) == ([0.5], [2.0])
        assert not [noted for noted in outcome.notes if noted.host == 1 and 0.5 < noted.time < 2.0]
        assert outcome.finished() == [0, 1, 2, 3]


def test_slow_peer_takes_its_time_and_gets_better() -> None:
    with played(four(Fault(what=Slow(factor=8.0, for_s=2.0), who=ONE, when=NOW))) as outcome:
        assert outcome.players[1].host.slowness == 1.0
        assert outcome.times("no longer slow") == [2.5]
        # The local update of iteration 3 begins at about 0.6 s, takes 8 times 0.2 s, and the others wait for it.
        thirds = [noted.time for noted in outcome.notes if noted.what == "IterationFinished"][8:12]
        assert min(thirds) > 1.8
        assert outcome.finished() == [0, 1, 2, 3]


def test_clock_that_drifts_and_jumps_shows_another_time() -> None:
    with played(four(Fault(what=Clock(drift=0.01, step_s=5.0), who=ONE, when=NOW))) as outcome:
        host, right = outcome.players[1].host, outcome.players[0].host
        since = outcome.simulation.world.time - 0.5
        assert host.wall() - right.wall() == pytest.approx(5.0 + 0.01 * since, abs=2.0)
        assert outcome.finished() == [0, 1, 2, 3]


@pytest.mark.parametrize("direction", ["both", "out", "in"])
def test_cut_is_one_way_or_both_and_heals(direction: CutDirection) -> None:
    what = Cut(for_s=0.25, others=Hosts((2,)), direction=direction)
    with played(four(Fault(what=what, who=ONE, when=NOW))) as outcome:
        network, addresses = outcome.simulation.world.network, [p.host.address for p in outcome.players]
        assert not any(network.is_cut(one, other) for one in addresses for other in addresses)
        assert (outcome.times("cut: peers 1"), outcome.times("healed: peers 1")) == ([0.5], [0.75])
        assert outcome.finished() == [0, 1, 2, 3]


def test_weather_changes_what_is_named_and_clears_up() -> None:
    storm = Fault(what=Weather(for_s=0.5, loss=0.2), when=NOW)
    fog = Fault(what=Weather(for_s=0.1, latency_s=0.05), when=At(time_s=0.6))
    with played(four(storm, fog)) as outcome:
        told = [noted.what for noted in outcome.notes if noted.what.startswith("weather")]
        assert ["loss=0.2" in text for text in told] == [True, True, True, False]
        assert ["latency_s=0.05" in text for text in told] == [False, True, False, False]
        assert outcome.simulation.world.network.climate == outcome.simulation.scenario.climate
        assert outcome.finished() == [0, 1, 2, 3]


def test_peer_that_is_asked_to_leave_leaves() -> None:
    with played(four(Fault(what=Leave(), who=ONE, when=NOW))) as outcome:
        stopped = outcome.players[1].stopped
        assert stopped is not None
        assert stopped.reason == "left"
        assert outcome.finished() == [0, 2, 3]
        assert outcome.failures() == []


def test_peer_that_is_asked_to_leave_before_it_entered_is_given_up() -> None:
    with played(four(Fault(what=Leave(), who=ONE, when=At(time_s=0.001)))) as outcome:
        assert outcome.players[1].stopped is None
        assert outcome.players[1].was_asked_to_leave
        assert outcome.finished() == [0, 2, 3]
        assert outcome.failures() == []


def test_newcomers_join_with_addresses_and_data_of_their_own() -> None:
    with played(four(Fault(what=Newcomers(count=3), when=NOW), iterations=8)) as outcome:
        assert len({player.host.address for player in outcome.players}) == 7
        assert outcome.finished() == list(range(7))
        assert iterations(outcome.players[6])[-1] == 8


def test_hostile_peer_is_found_out_and_the_others_finish() -> None:
    with played(four(Fault(what=Hostile(lie="nan", for_s=0.4), who=ONE, when=NOW), iterations=5)) as outcome:
        assert "not_finite" in remote_faults(outcome)
        assert outcome.times("no longer hostile") == [pytest.approx(0.9)]
        assert {0, 2, 3} <= set(outcome.finished())
        assert outcome.failures() == []
