from __future__ import annotations

import pytest

from marfl_peer.lab.simulator.invariants.peace import SETTLING_S, Peace
from marfl_peer.lab.simulator.world import World


@pytest.fixture
def peace() -> Peace:
    peace = Peace()
    peace.attach(World(1))
    return peace


def test_peace_after_a_crash_holds_from_the_next_iteration_on(peace: Peace) -> None:
    peace.broken(10.0, "killed", 3)
    assert not peace.held_since(9.0)
    assert peace.held_since(10.1)


def test_peace_after_a_cut_takes_time_to_settle(peace: Peace) -> None:
    peace.broken(10.0, "cut: peers 1 from 3 others")
    assert not peace.held_since(10.1)
    assert peace.held_since(10.0 + SETTLING_S)


def test_peace_does_not_hold_while_something_lasts() -> None:
    world, peace = World(1), Peace()
    peace.attach(world)
    world.network.cut(["a"], ["b"])
    assert not peace.held_since(1000.0)
    assert not peace.is_fair()


def test_peace_of_one_player_is_broken_by_what_befalls_it_or_the_network(peace: Peace) -> None:
    peace.broken(10.0, "killed", 3)
    peace.broken(10.0, "paused", 4)
    assert [peace.touched(player, since=12.0) for player in (2, 3, 4)] == [False, False, True]
    assert peace.touched(3, since=9.0)
    peace.broken(11.0, "weather")
    assert peace.touched(2, since=12.0)


def test_peace_remembers_what_kind_of_trouble_there_was(peace: Peace) -> None:
    peace.broken(1.0, "damaged: state.safetensors")
    assert peace.was_ever("damage")
    assert not peace.was_ever("wipe")
