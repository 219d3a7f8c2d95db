from __future__ import annotations

from broken import scenario

from marfl_peer.lab.simulator.planted.catalogue import CATALOGUE
from marfl_peer.lab.simulator.planted.planting import Planted
from marfl_peer.lab.simulator.scenario import Scenario
from marfl_peer.lab.simulator.selftest import hunt

WEIGHT = next(bug for bug in CATALOGUE if bug.name == "weight not summed")
NOTHING = Planted(name="nothing", description="no bug at all", breaks=("I2",), patches=())


def small(seed: int) -> Scenario:
    return scenario(peers=4, group_size=2, iterations=1)


def test_hunt_finds_a_bug_and_says_where() -> None:
    finding = hunt(WEIGHT, range(7, 10), draw=small)
    assert (finding.bug, finding.invariant, finding.seed, finding.seeds) == ("weight not summed", "I2", 7, 1)
    assert "the sum of its members'" in finding.message


def test_hunt_for_a_bug_that_is_not_there_ends_with_the_seeds() -> None:
    finding = hunt(NOTHING, range(1, 3), draw=small)
    assert (finding.invariant, finding.seed, finding.seeds) == (None, None, 2)


def test_hunt_does_not_count_what_breaks_without_the_bug() -> None:
    with WEIGHT.planted():
        finding = hunt(NOTHING, range(1, 3), draw=small)
    assert finding.invariant is None
