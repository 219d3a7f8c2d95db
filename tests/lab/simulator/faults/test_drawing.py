"""Scenarios from seeds: always the same, of every kind, and survivable."""

from __future__ import annotations

import dataclasses
from collections import Counter

from marfl_peer.lab.simulator.faults.drawing import AIMED, RARE_FROM, SURVIVORS, draw
from marfl_peer.lab.simulator.faults.plan import Crash, Fault, Hold, Hostile, Hosts, Leave, Share
from marfl_peer.lab.simulator.faults.triggers import At, OnFact, OnFrame

SEEDS = range(2000)
DRAWN = [draw(seed) for seed in SEEDS]


def _faults() -> list[Fault]:
    return [fault for scenario in DRAWN for fault in scenario.plan.faults]


def test_same_seed_draws_the_same() -> None:
    assert [draw(seed) for seed in range(50)] == DRAWN[:50]
    assert len({str(scenario) for scenario in DRAWN}) == len(DRAWN)


def test_every_kind_of_fault_and_trigger_comes_up_often() -> None:
    kinds = Counter(type(fault.what).__name__ for fault in _faults())
    assert len(kinds) == 10
    assert min(kinds.values()) > len(DRAWN) / 10
    triggers = Counter(type(fault.when) for fault in _faults())
    assert min(triggers[kind] for kind in (At, OnFact, OnFrame)) > len(DRAWN) / 5
    crashes = [fault.what for fault in _faults() if isinstance(fault.what, Crash)]
    assert {crash.disk for crash in crashes} == {"kept", "damaged", "wiped"}
    assert len({fault.what.lie for fault in _faults() if isinstance(fault.what, Hostile)}) == 8


def test_swarms_are_small_as_a_rule_and_large_now_and_then() -> None:
    sizes = sorted(scenario.peers for scenario in DRAWN)
    assert (sizes[0], sizes[-1]) == (5, 40)
    assert 7 <= sizes[len(sizes) // 2] <= 10
    assert {scenario.group_size for scenario in DRAWN} == {2, 3, 4, 5}
    assert {scenario.exchange for scenario in DRAWN} == {"butterfly", "all-gather"}
    assert {len(draw(seed, aims=False).plan.faults) for seed in range(300)} == set(range(7))


def test_some_are_left_and_most_are_honest() -> None:
    for scenario in DRAWN:
        gone = 0
        for fault in scenario.plan.faults:
            is_for_good = isinstance(fault.what, Leave) or (
                isinstance(fault.what, Crash) and fault.what.restart_after_s is None
            )
            match fault.who:
                case Hosts(indices):
                    gone += is_for_good * len(indices)
                case Share():
                    gone += is_for_good * ((scenario.peers + 1) // 2)
                case _:
                    gone += is_for_good
        assert scenario.peers - gone >= SURVIVORS
        assert sum(isinstance(fault.what, Hostile) for fault in scenario.plan.faults) <= 1


def test_connection_is_held_at_a_frame_that_is_sent() -> None:
    holds = [fault.when for fault in _faults() if isinstance(fault.what, Hold)]
    assert all(isinstance(when, OnFrame) and when.direction == "sends" for when in holds)


def test_what_is_given_is_not_drawn() -> None:
    scenario = draw(5, peers=4, iterations=9)
    assert (scenario.peers, scenario.iterations) == (4, 9)
    indices = [index for fault in scenario.plan.faults if isinstance(fault.who, Hosts) for index in fault.who.indices]
    assert all(index < 4 for index in indices)


def test_aims_come_on_top_of_what_is_drawn_anyway() -> None:
    count = 0
    for scenario in DRAWN:
        plain = draw(scenario.seed, aims=False)
        assert dataclasses.replace(scenario, plan=plain.plan) == plain
        assert scenario.plan.faults[: len(plain.plan.faults)] == plain.plan.faults
        count += scenario != plain
    assert abs(count / len(DRAWN) - AIMED) < 0.05


def test_seeds_for_what_is_rare_are_all_aimed() -> None:
    for seed in range(RARE_FROM, RARE_FROM + 300):
        assert len(draw(seed).plan.faults) >= len(draw(seed, aims=False).plan.faults) + 3


def test_how_bytes_flow_is_not_drawn_where_the_scheme_says_it() -> None:
    for seed in range(40):
        assert draw(seed, aggregation="ring").exchange == "butterfly"
        draw(seed, aggregation="ring").settings()
    assert {draw(seed, aggregation="gossip").exchange for seed in range(40)} == {"butterfly", "all-gather"}
