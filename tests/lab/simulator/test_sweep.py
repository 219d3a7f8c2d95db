"""Many runs, added up."""

from __future__ import annotations

from collections import Counter

from marfl_peer.lab.simulator.report import Report, Violation
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.sweep import Sweep, sweep


def _play(scenario: Scenario) -> Report:
    report = Report(seed=scenario.seed, peers=scenario.peers, cpu_s=0.5, virtual_s=10.0, coverage=Counter(crash=1))
    if scenario.seed % 2:
        report.violations.append(Violation(seed=scenario.seed, invariant="I1", message="odd"))
    return report


def _scenarios(count: int) -> list[Scenario]:
    return [Scenario(seed=seed) for seed in range(count)]


def test_runs_are_told_in_order_and_added_up() -> None:
    told: list[tuple[int, int]] = []
    result = sweep(
        _scenarios(4),
        after=lambda so_far, report: told.append((so_far.seeds_run, report.seed)),
        is_stopped=lambda: False,
        play=_play,
    )
    assert told == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert [violation.seed for violation in result.violations] == [1, 3]
    assert (result.cpu_s, result.virtual_s, result.coverage["crash"]) == (2.0, 40.0, 4)
    assert not result.was_interrupted


def test_sweep_ends_between_two_runs_when_asked_to() -> None:
    told: list[Report] = []
    result = sweep(
        _scenarios(9),
        after=lambda _, report: told.append(report),
        is_stopped=lambda: len(told) == 3,
        play=_play,
    )
    assert (result.seeds_run, result.was_interrupted) == (3, True)


def test_real_runs_are_swept() -> None:
    scenarios = [Scenario(seed=seed, peers=2, iterations=1) for seed in (1, 2)]
    seen: list[Sweep] = []
    result = sweep(scenarios, after=lambda so_far, _: seen.append(so_far), is_stopped=lambda: False)
    assert (result.seeds_run, result.violations, len(seen)) == (2, [], 2)
