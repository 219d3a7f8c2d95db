from __future__ import annotations

from broken import LIAR, found, scenario
from courts import TIME, Court, ballot, held, peer, vector

from marfl_peer.facts import RemoteFault
from marfl_peer.lab.simulator.invariants.hostility import Inertness
from marfl_peer.lab.simulator.invariants.scene import Told
from marfl_peer.lab.simulator.run import run
from marfl_peer.protocol.frames import MAX_PAYLOAD_BYTES
from marfl_peer.protocol.messages import Events


def test_hostility_that_nobody_showed_is_not_to_be_accused() -> None:
    court = Court()
    checker = Inertness(court.trial)
    fault = RemoteFault(code="bad_span", remote=peer(1), detail="")
    checker.see(Told(time=TIME, life=court.lives[0], fact=fault))
    assert "kept the rules" in court.said()[0]
    court.trial.hostile.add(1)
    checker.see(Told(time=TIME, life=court.lives[0], fact=fault))
    assert len(court.charges) == 1


def test_hostility_wants_finite_results_and_bounded_payloads() -> None:
    court = Court()
    checker = Inertness(court.trial)
    checker.see(held(court, 0, court.line(), ballot(), (0, 2), 2, vector(float("inf"))))
    checker.heard(TIME, court.lives[0], peer(1), Events(), MAX_PAYLOAD_BYTES + 1)
    assert ["not finite" in court.said()[0], "payload" in court.said()[1]] == [True, True]


def test_hostility_of_a_sender_of_nan_is_inert_and_found_where_it_is_not() -> None:
    assert run(scenario(LIAR)).violations == []
    assert "I8" in found("NaN not checked", scenario(LIAR))
