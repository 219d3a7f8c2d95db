from __future__ import annotations

from courts import Court

from marfl_peer.lab.simulator.invariants.checker import Checker


class Strict(Checker):
    invariant = "I0"


def test_checker_accuses_in_the_name_of_its_invariant() -> None:
    court = Court()
    Strict(court.trial).accuse("too late", iteration=3, life=court.lives[1])
    (charge,) = court.charges
    assert (charge.invariant, charge.text, charge.iteration, charge.life) == ("I0", "too late", 3, court.lives[1])
